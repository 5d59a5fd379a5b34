"""`keras-a2i generate`: audio into images or videos."""

import contextlib
import pathlib
import time
import warnings
from collections.abc import Iterator

import click

from keras_a2i.cli.flag_names import flag_names
from keras_a2i.cli.progress import ProgressLine, format_seconds
from keras_a2i.cli.terminal import echo
from keras_a2i.errors import KerasA2IError, SourceError, UsageError

_MIN_FOR_PROGRESS = 64
_FPS = 25.0
_CODEC = "h264"


@click.command("generate")
@click.argument("model", type=click.Path(path_type=pathlib.Path))
@click.argument("audio", nargs=-1, required=True, type=click.Path(path_type=pathlib.Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=pathlib.Path), help="The folder for the images or videos."
)
@click.option("--sheet/--no-sheet", default=None, help="Write a contact sheet of a file's images too (default: yes).")
@click.option("--video", is_flag=True, help="Write a video of each file, with its audio, in place of images.")
@click.option("--fps", type=float, help=f"Frames per second of a video, 1 to 60 (default: {_FPS:g}).")
@click.option(
    "--codec",
    type=click.Choice(["h264", "vp9"]),
    help=f"h264: mp4 with AAC audio; vp9: webm with Opus audio (default: {_CODEC}).",
)
@click.option(
    "--smooth",
    type=float,
    metavar="SECONDS",
    help="Reduce a video's flicker by a Gaussian of this standard deviation over neighbouring frames' latent vectors, "
    "0 to 10 (default: 0, off).",
)
@click.option(
    "--samples",
    type=click.IntRange(1, 64),
    help="Generate N different images of each clip, by a model with a style, such as the recipes exemplars train, or "
    "its exported file.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(0, 4),
    help="With --samples: how far the images are from the usual one (default: 1).",
)
@click.option("--seed", type=int, help="With --samples: random seed (default: 0).")
@click.option("--overwrite", is_flag=True, help="Replace what an earlier call wrote.")
@click.option("--strict", is_flag=True, help="Stop at the first file that can't be read or is damaged.")
def command(model, audio, out, sheet, video, fps, codec, smooth, samples, temperature, seed, overwrite, strict):
    """Turn AUDIO files (wav, flac, ogg, mp3; any rate and length) into PNG images, one for each clip (a second unless
    configured otherwise). The audio of videos and m4a files can be used too, which needs pip install
    "keras-a2i[video]".

    MODEL is a run folder, a .keras file, a SavedModel folder, or a .tflite or .onnx file. The last clip of a file is
    padded with silence. The images of sound.wav are OUT/sound/0000.png and so on, and the contact sheet OUT/sound.png.

    With --video, OUT/sound.mp4 (or .webm) shows an image for each frame, generated from the audio around that frame's
    middle, and plays the file's own audio. It needs pip install "keras-a2i[video]"; --smooth needs a run folder, a
    .keras file or a .tflite file that was exported with --latents.

    For a model of embeddings, AUDIO are .npy or .npz files of vectors, and there is an image for each vector.

    With --samples 8, the images of a clip are 0000-1.png to 0000-8.png.
    """
    _check_options(video, "--video", fps=fps, codec=codec, smooth=smooth)
    _check_options(samples is not None, "--samples", temperature=temperature, seed=seed)
    if video and sheet is not None:
        flag = "--sheet" if sheet else "--no-sheet"
        raise UsageError(f"{flag} must be left out with --video, which writes no images. Received: --video and {flag}")
    if video and samples is not None:
        raise UsageError("--samples must be left out with --video. Received: both")
    if out.is_file():
        raise UsageError(f"--out must be a folder. Received: the file {out}")
    names = _folder_names(audio)
    with flag_names(folder="--out", path="--out"):
        if video:
            options = {"fps": _FPS if fps is None else fps, "codec": codec or _CODEC, "smooth": smooth or 0.0}
            targets = _check_videos(audio, out, names, overwrite, **options)
        else:
            options = {"samples": samples, "sheet": sheet is not False}
            options |= {"temperature": 1.0 if temperature is None else temperature, "seed": seed or 0}
            targets = _check_folders(out, names, overwrite, sheet is not False)

        from keras_a2i.serving.predictor import load

        predictor = load(model)
        if video:
            predictor.metadata.require_audio("--video")
        failed = 0
        for path, target in zip(audio, targets, strict=True):
            try:
                with _damage_shown(strict):
                    done = (_generate_video if video else _generate_images)(predictor, path, target, overwrite, options)
            except SourceError as error:
                if strict:
                    raise
                failed += 1
                echo(f"skipped: {error}", err=True)
                continue
            echo(f"{target}: {done}")
    kind = "embedding files" if predictor.metadata.features.embedding else "audio files"
    if failed:
        echo(f"{failed} of {len(audio)} {kind} skipped", err=True)
    if failed == len(audio):
        raise KerasA2IError(f"None of the {len(audio)} {kind} could be read")


@contextlib.contextmanager
def _damage_shown(strict: bool) -> Iterator[None]:
    """Shows a sentence for a file that breaks off or is damaged; with `strict` raises it as a SourceError."""
    from keras_a2i.media.audio import DamagedAudioWarning

    def show(message, category, *_):
        if issubclass(category, DamagedAudioWarning):
            echo(f"damaged, but used: {message}", err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("error" if strict else "always", DamagedAudioWarning)
        warnings.showwarning = show
        try:
            yield
        except DamagedAudioWarning as error:
            raise SourceError(f"{error}. The command stops at it (--strict)") from None


def _check_options(is_used: bool, flag: str, **options) -> None:
    given = [f"--{name}" for name, value in options.items() if value is not None]
    if given and not is_used:
        raise UsageError(f"{given[0]} must be left out without {flag}. Received: {given[0]} without it")


def _folder_names(audio: tuple[pathlib.Path, ...]) -> list[str]:
    """Returns a name for each file: its stem, with its suffix too where stems repeat or are dots alone."""
    stems = [path.stem if path.stem.strip(". ") else path.name for path in audio]
    names = [stem if stems.count(stem) == 1 else path.name for stem, path in zip(stems, audio, strict=True)]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise UsageError(f"AUDIO files must have different names. Received: {min(repeated)} twice. Use several calls")
    return names


def _check_folders(out: pathlib.Path, names: list[str], overwrite: bool, sheet: bool) -> list[pathlib.Path]:
    """Returns the folders of the images; errors show before the model takes seconds to load."""
    from keras_a2i.serving.staged_folder import StagedFolder

    folders = [out / name for name in names]
    for folder in folders:
        StagedFolder(folder, overwrite, (f"{folder.name}.png",) if sheet else ())
    return folders


def _check_videos(audio, out: pathlib.Path, names: list[str], overwrite: bool, fps, codec, smooth):
    """Returns the paths of the videos; errors show before the model takes seconds to load."""
    from keras_a2i.serving.video import check_fps, check_smooth, check_video_path, find_codec

    check_fps(fps)
    check_smooth(smooth)
    suffix = find_codec(codec).container
    targets = [out / f"{name}.{suffix}" for name in names]
    for target in targets:
        for path in audio:
            check_video_path(target, path, overwrite)
    return targets


def _generate_images(predictor, path: pathlib.Path, folder: pathlib.Path, overwrite: bool, options: dict) -> str:
    from keras_a2i.serving.images import generate_images

    line = ProgressLine("clips")

    def progress(done: int, total: int) -> None:
        if total > _MIN_FOR_PROGRESS:
            line(done, 0, total)

    try:
        paths = generate_images(predictor, path, folder, overwrite=overwrite, progress=progress, **options)
    finally:
        line.close()
    return f"{len(paths)} {'image' if len(paths) == 1 else 'images'}"


def _generate_video(predictor, path: pathlib.Path, target: pathlib.Path, overwrite: bool, options: dict) -> str:
    from keras_a2i.serving.model_inputs import count_inputs
    from keras_a2i.serving.video import generate_video

    line, start = ProgressLine("frames"), time.monotonic()
    total = count_inputs(path, predictor.metadata, 1 / options["fps"])
    try:
        summary = generate_video(
            *(predictor, path, target),
            overwrite=overwrite,
            progress=lambda done: line(done, 0, max(done, total)),
            **options,
        )
    finally:
        line.close()
    took = time.monotonic() - start
    return (
        f"{summary.frames} {'frame' if summary.frames == 1 else 'frames'}, {format_seconds(summary.seconds)} in "
        f"{took:.1f} s ({summary.seconds / took:.1f} times real time), flicker {100 * summary.flicker:.2f} %"
    )
