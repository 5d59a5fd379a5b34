"""`keras-a2i generate`: sound into pictures or videos."""

import functools
import math
import pathlib
import time

import click

from keras_a2i.cli.progress import ProgressLine, format_seconds
from keras_a2i.errors import KerasA2IError, SourceError, UsageError

_MOST_ON_SHEET = 64
_LEAST_FOR_PROGRESS = 64
_FPS = 25.0
_CODEC = "h264"


@click.command("generate")
@click.argument("model", type=click.Path(path_type=pathlib.Path))
@click.argument("audio", nargs=-1, required=True, type=click.Path(path_type=pathlib.Path))
@click.option(
    "--out", required=True, type=click.Path(path_type=pathlib.Path), help="The folder that pictures or videos go to."
)
@click.option("--sheet/--no-sheet", default=None, help="Draw a sheet of a file's pictures too (default: yes).")
@click.option("--video", is_flag=True, help="Write a video of each file, with its sound, instead of pictures.")
@click.option("--fps", type=float, help=f"Frames a second of a video, 1 to 60 (default: {_FPS:g}).")
@click.option(
    "--codec",
    type=click.Choice(["h264", "vp9"]),
    help=f"h264: mp4 with AAC sound; vp9: webm with Opus sound (default: {_CODEC}).",
)
@click.option(
    "--smooth",
    type=float,
    metavar="SECONDS",
    help="Calm a video's flicker by a Gaussian of this standard deviation over neighbouring frames' latent vectors, "
    "0 to 10 (default: 0, off).",
)
@click.option(
    "--samples",
    type=click.IntRange(1, 64),
    help="Draw so many different pictures of each second, by a model that learnt a style (words-adversarial, "
    "words-variational).",
)
@click.option(
    "--temperature",
    type=click.FloatRange(0, 4),
    help="With --samples: how far they go from the usual picture (default: 1).",
)
@click.option("--seed", type=int, help="With --samples: of the draws (default: 0).")
@click.option("--overwrite", is_flag=True, help="Replace what an earlier call wrote.")
@click.option("--strict", is_flag=True, help="Stop at the first sound file that can't be read.")
def command(model, audio, out, sheet, video, fps, codec, smooth, samples, temperature, seed, overwrite, strict):
    """Turn AUDIO files (wav, flac, ogg, mp3; any rate and length) into PNG pictures, one for each second of sound. Of a
    video its sound is heard, which needs pip install "keras-a2i[video]".

    MODEL is a run folder, a .keras file, a SavedModel folder or a .tflite file. The last second of a file is filled
    with silence. Pictures of sound.wav go to OUT/sound/0000.png and so on, and to the sheet OUT/sound.png.

    With --video, OUT/sound.mp4 (or .webm) shows a picture for each frame, drawn from the sound around that frame's
    middle, and plays the file's own sound. It needs pip install "keras-a2i[video]"; --smooth needs a run folder or a
    .keras file.

    For a model of embeddings AUDIO are .npy or .npz files of vectors, one or many each: a picture for each vector.

    With --samples 8, pictures of a second go to 0000-1.png to 0000-8.png.
    """
    _check_options(video, sheet, fps=fps, codec=codec, smooth=smooth)
    _check_sampling(video, samples, temperature=temperature, seed=seed)
    if out.is_file():
        what = "Videos" if video else "Pictures"
        raise UsageError(f"{what} must go into a folder. Received: the file {out}")
    names = _folder_names(audio)
    if video:
        make, targets = _prepare_videos(audio, out, names, fps, codec, smooth, overwrite)
    else:
        styles = None if samples is None else {"n_samples": samples, "seed": seed or 0}
        if temperature is not None:
            styles["temperature"] = temperature
        make = functools.partial(_generate, sheet=sheet is not False, styles=styles)
        targets = [out / name for name in names]
        _clear(targets, overwrite)

    from keras_a2i.serving.predictor import load

    predictor = load(model)
    if video:
        predictor.metadata.require_audio("--video")
    failed = []
    for path, target in zip(audio, targets, strict=True):
        try:
            made = make(predictor, path, target)
        except SourceError as error:
            if strict:
                raise
            failed.append(error)
            click.echo(f"skipped: {error}", err=True)
            continue
        click.echo(f"{target}: {made}")
    if failed:
        click.echo(f"{len(failed)} of {len(audio)} {_files(predictor)} skipped", err=True)
    if len(failed) == len(audio):
        raise KerasA2IError(f"None of the {len(audio)} {_files(predictor)} could be read")


def _files(predictor) -> str:
    return "files of embeddings" if predictor.metadata.features.embedding else "sound files"


def _check_options(video: bool, sheet: bool | None, **of_video) -> None:
    given = [f"--{name}" for name, value in of_video.items() if value is not None]
    if given and not video:
        raise UsageError(f"{given[0]} goes with --video. Received: {given[0]} without it")
    if video and sheet is not None:
        raise UsageError(
            f"A sheet is drawn of pictures, not of a video. Received: --video and --{'' if sheet else 'no-'}sheet"
        )


def _check_sampling(video: bool, samples: int | None, **of_samples) -> None:
    given = [f"--{name}" for name, value in of_samples.items() if value is not None]
    if given and samples is None:
        raise UsageError(f"{given[0]} goes with --samples. Received: {given[0]} without it")
    if video and samples is not None:
        raise UsageError("A video shows one picture a frame. Received: --video and --samples")


def _folder_names(audio: tuple[pathlib.Path, ...]) -> list[str]:
    """A name for each file: its stem, with its suffix too where stems repeat."""
    stems = [path.stem for path in audio]
    names = [stem if stems.count(stem) == 1 else path.name for stem, path in zip(stems, audio, strict=True)]
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise UsageError(f"Sound files must have different names. Received {min(repeated)!r} twice: use several calls")
    return names


def _clear(folders: list[pathlib.Path], overwrite: bool) -> None:
    """Removes pictures that an earlier call numbered, or refuses to mix new ones with them."""
    for folder in folders:
        old = list(folder.glob("[0-9][0-9][0-9][0-9]*.png"))
        if old and not overwrite:
            raise UsageError(f"{folder} holds pictures of an earlier call. Choose another --out, or --overwrite them")
        for path in old:
            path.unlink()


def _prepare_videos(audio, out: pathlib.Path, names: list[str], fps, codec, smooth, overwrite: bool):
    """What makes a video of a file, and the videos' paths; mistakes show before the model takes seconds to load."""
    from keras_a2i.serving.video import check_fps, check_smooth, find_codec

    codec, fps, smooth = codec or _CODEC, _FPS if fps is None else fps, smooth or 0.0
    check_fps(fps)
    check_smooth(smooth)
    suffix = find_codec(codec).container
    targets = [out / f"{name}.{suffix}" for name in names]
    sounds = {path.resolve() for path in audio}
    for target in targets:
        if target.resolve() in sounds or target.is_dir():
            raise UsageError(
                f"A video can't replace a folder or its own sound. Received: {target}. Choose another --out"
            )
        if target.exists() and not overwrite:
            raise UsageError(f"{target} exists already. Choose another --out, or --overwrite it")
    return functools.partial(_generate_video, fps=fps, codec=codec, smooth=smooth), targets


def _generate_video(
    predictor, path: pathlib.Path, target: pathlib.Path, *, fps: float, codec: str, smooth: float
) -> str:
    from keras_a2i.serving.video import write_video

    progress, start = ProgressLine("frames"), time.monotonic()
    total = _count(path, 1 / fps)
    try:
        summary = write_video(
            *(predictor, path, target),
            fps=fps,
            codec=codec,
            smooth=smooth,
            progress=lambda done: progress(done, 0, max(done, total)),
        )
    finally:
        progress.close()
    took = time.monotonic() - start
    return (
        f"{summary.frames} {'frame' if summary.frames == 1 else 'frames'}, {format_seconds(summary.seconds)} in "
        f"{took:.1f} s ({summary.seconds / took:.1f} times real time), flicker {100 * summary.flicker:.2f} %"
    )


def _generate(predictor, path: pathlib.Path, folder: pathlib.Path, sheet: bool, styles: dict | None) -> str:
    """Pictures of one file; with styles, several for each window, numbered from 1."""
    import numpy as np

    from keras_a2i.media.conversion import to_uint8
    from keras_a2i.media.image import save_png, to_pillow
    from keras_a2i.media.sheet import draw_sheet
    from keras_a2i.serving.predictor import BATCH
    from keras_a2i.sources.vectors import checked_parts

    config = predictor.metadata.features
    progress = ProgressLine("pictures")
    if config.embedding:
        vectors = predictor.open_vectors(path)
        inputs, total = checked_parts(vectors, path.name, BATCH), len(vectors)
    else:
        inputs, total = predictor.stream_clips(path), _count(path, config.duration)
    shown, captions, count = [], [], 0
    try:
        for part in inputs:
            folder.mkdir(parents=True, exist_ok=True)
            for pictures in to_uint8(_draw(predictor, part, styles)):
                for number, picture in enumerate(pictures, 1):
                    name = f"{count:04d}-{number}.png" if styles else f"{count:04d}.png"
                    save_png(to_pillow(picture), folder / name)
                if count % max(1, -(-total // _MOST_ON_SHEET)) == 0:
                    shown.append(pictures)
                    captions.append(f"{count}" if config.embedding else f"{count * config.duration:g} s")
                count += 1
            if total > _LEAST_FOR_PROGRESS:
                progress(count, 0, total)
    finally:
        progress.close()
    if sheet:
        rows = list(np.stack(shown, axis=1))
        labels = [f"sample {number}" for number in range(1, len(rows) + 1)] if styles else []
        save_png(draw_sheet(rows, labels, captions), folder.with_name(folder.name + ".png"))
    drawn = count * (styles["n_samples"] if styles else 1)
    return f"{drawn} {'picture' if drawn == 1 else 'pictures'}"


def _draw(predictor, part, styles: dict | None):
    """Pictures (n, samples, size, size, channels); a single one of each window or vector where there are no styles."""
    vectors = predictor.metadata.features.embedding > 0
    if styles is None:
        return (predictor.predict_inputs if vectors else predictor.predict_clips)(part)[:, None]
    latents = (predictor.encode_inputs if vectors else predictor.encode_clips)(part)
    return predictor.sample_latents(latents, **styles)


def _count(path: pathlib.Path, seconds: float) -> int:
    """How many pieces of so many seconds a file's sound has, the last one not full; 1 where that can't be told."""
    from keras_a2i.media.audio import open_audio

    try:
        with open_audio(path) as file:
            return max(1, math.ceil(file.frames / (file.samplerate * seconds)))
    except (SourceError, OSError):
        return 1
