"""`keras-a2i generate`: audio into images or videos."""

import pathlib
from collections import Counter
from typing import Any

import click

from keras_a2i.cli.damaged_audio import damage_shown
from keras_a2i.cli.film_options import (
    check_film_options,
    check_films,
    check_options,
    film_arguments,
    film_options,
    generate_film,
)
from keras_a2i.cli.flag_names import flag_names
from keras_a2i.cli.guide_options import GUIDE_FLAGS, Distances, guide_options, load_guided, split_guide_options
from keras_a2i.cli.locations import LocalPath, ModelPath
from keras_a2i.cli.progress import ProgressLine
from keras_a2i.cli.terminal import echo
from keras_a2i.counts import counted
from keras_a2i.errors import KerasA2IError, SourceError, UsageError
from keras_a2i.models.label_prediction import UNKNOWN
from keras_a2i.models.model_file import is_audio_token
from keras_a2i.models.shipped import prefer_keras

_MIN_FOR_PROGRESS = 64
_LABELS_SHOWN = 4


@click.command("generate")
@click.argument("model", type=ModelPath())
@click.argument("audio", nargs=-1, required=True, type=LocalPath())
@click.option("--out", required=True, type=LocalPath(), help="The folder for the images or videos.")
@click.option("--sheet/--no-sheet", default=None, help="Write a contact sheet of a file's images too (default: yes).")
@film_options
@click.option(
    "--samples",
    type=click.IntRange(1, 64),
    help="Generate N different images of each clip. The model must have a style, as those of the recipe exemplars, or "
    "be the exported file of such a model.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(0, 4),
    help="With --samples or --style-walk: standard deviation of the style; at 0 every image is the usual one (default: "
    "1).",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="With --samples, --style-walk or --guide, and for a run of fit-audio-token: random seed (default: 0).",
)
@click.option(
    "--steps",
    type=click.IntRange(1, 1000),
    metavar="N",
    help="For a run of fit-audio-token: number of steps from noise to image (default: 28).",
)
@click.option(
    "--guidance-scale",
    type=click.FloatRange(0, 100),
    help="For a run of fit-audio-token: scale of the classifier-free guidance away from the empty prompt; values up to "
    "1 turn it off, which takes half the time (default: 7).",
)
@click.option(
    "--reference",
    type=LocalPath(),
    help="The PNG or JPEG image to animate with the audio; required for a model of the recipe talking.",
)
@guide_options
@click.option("--overwrite", is_flag=True, help="Replace what an earlier call wrote.")
@click.option("--strict", is_flag=True, help="Stop at the first file that can't be read or is damaged.")
def command(
    model,
    audio,
    out,
    sheet,
    video,
    samples,
    temperature,
    seed,
    steps,
    guidance_scale,
    reference,
    overwrite,
    strict,
    **options,
):
    """Turn AUDIO files (wav, flac, ogg, mp3; any rate and length) into PNG images, one for each clip (one second,
    unless the model was trained on another duration). Videos and m4a files are accepted, too, with pip install
    "keras-a2i[video]".

    MODEL is a run folder, a .keras file, a SavedModel folder, a .tflite or .onnx file, or the name of a shipped model.
    The last clip of a file is padded with silence. The images of sound.wav are OUT/sound/0000.png and so on, and the
    contact sheet OUT/sound.png.

    With --video, the output is a video with the file's own audio, OUT/sound.mp4 (or .webm, .gif, .webp). Every frame is
    generated from the audio around its middle. This needs pip install "keras-a2i[video]"; --smooth also needs a model
    with latent vectors: a run folder, a .keras file or a .tflite file that was exported with --latents.

    For a model of embeddings, the AUDIO arguments are .npy or .npz files of vectors, and each vector yields one image.

    With --samples 8, the images of a clip are 0000-1.png to 0000-8.png.

    With --reference face.png, a model of the recipe talking animates that image with each file's audio, for images and
    for videos.

    With --guide 20, each image, sample or frame is improved by 20 gradient steps, which change its style, within the
    norm of its distribution, so that the generated image becomes more similar to the audio in the embeddings of
    --guide-by.

    A run of fit-audio-token generates every image from noise in --steps steps, with the Stable Diffusion 3 model that
    it was trained for; with --samples 8, each sample starts from different noise.
    """
    guide, film = split_guide_options(options)
    drawing = {"steps": steps, "guidance_scale": guidance_scale}
    if is_audio_token(model):
        _refuse_guidance(guide)
        drawing |= {"seed": seed}
    if guide["guide"] is not None and reference is not None:
        raise UsageError(
            "--reference must be left out with --guide, which needs a model without a reference image. Received: both"
        )
    _check_together(guide, film, drawing, video=video, sheet=sheet, samples=samples, temperature=temperature, seed=seed)
    if out.is_file():
        raise UsageError(f"--out must be a folder. Received: the file {out}")
    names = _folder_names(audio)
    if missing := [str(path) for path in audio if not path.exists()]:
        raise SourceError(f"Every AUDIO must exist. Received: {', '.join(missing)}, which can't be found")
    seed = seed or 0
    draws = {"temperature": 1.0 if temperature is None else temperature, "seed": seed}
    labels: Counter[str] = Counter()
    with flag_names(folder="--out", path="--out", size="--video-size", **GUIDE_FLAGS):
        if video:
            arguments = film_arguments(film) | draws
            targets = check_films(audio, out, names, overwrite, arguments)
        else:
            arguments = {"samples": samples, "sheet": sheet is not False, "on_labels": labels.update} | draws
            targets = _check_folders(out, names, overwrite, sheet is not False)

        distances = Distances()
        predictor = _load(
            pathlib.Path(prefer_keras(model)) if film["smooth"] else model, guide, drawing, seed, distances
        )
        if guide["guide"] is None:
            predictor = predictor.with_reference(reference)
        if video:
            predictor.metadata.require_audio("--video")
        failed = 0
        for path, target in zip(audio, targets, strict=True):
            distances.clear()
            labels.clear()
            try:
                with damage_shown(strict):
                    done = (generate_film if video else _generate_images)(predictor, path, target, overwrite, arguments)
            except SourceError as error:
                if strict:
                    raise
                failed += 1
                echo(f"skipped: {error}", err=True)
                continue
            echo(f"{target}: {done}{distances}{_describe_labels(labels)}")
    kind = "embedding file" if predictor.metadata.features.embedding else "audio file"
    if failed:
        echo(f"{failed} of {counted(len(audio), kind)} skipped", err=True)
    if failed == len(audio):
        raise KerasA2IError(f"No {kind} could be read ({len(audio):,} given)")


def _refuse_guidance(guide: dict[str, Any]) -> None:
    if guide["guide"] is not None:
        raise UsageError(
            "--guide must be left out for a run of fit-audio-token, whose images have no style to optimise. Received: "
            f"--guide {guide['guide']}. --guidance-scale sets the weight of the audio"
        )


def _check_together(
    guide: dict[str, Any],
    film: dict[str, Any],
    drawing: dict[str, Any],
    *,
    video: bool,
    sheet: bool | None,
    samples: int | None,
    **draws: Any,
) -> None:
    """Raises a UsageError if options are given without another that they go with, or with one that they don't."""
    check_film_options(video, film)
    styled = samples is not None or film["style_walk"] is not None
    check_options(styled, "--samples or --style-walk", temperature=draws["temperature"])
    draws_from_noise = "seed" in drawing
    is_random = styled or guide["guide"] is not None or draws_from_noise
    check_options(is_random, "--samples, --style-walk or --guide, or a run of fit-audio-token", seed=draws["seed"])
    check_options(
        draws_from_noise,
        "a run of fit-audio-token",
        steps=drawing["steps"],
        guidance_scale=drawing["guidance_scale"],
    )
    if styled and guide["guide_starts"] is not None:
        flag = "--samples" if samples is not None else "--style-walk"
        raise UsageError(
            f"--guide-starts must be left out with {flag}, whose images start at their own styles. Received: both"
        )
    if video and sheet is not None:
        flag = "--sheet" if sheet else "--no-sheet"
        raise UsageError(f"{flag} must be left out with --video, which writes no images. Received: --video and {flag}")
    if video and samples is not None:
        raise UsageError("--samples must be left out with --video. Received: both")


def _load(model: pathlib.Path, guide: dict[str, Any], drawing: dict[str, Any], seed: int, distances: Distances) -> Any:
    if guide["guide"] is not None:
        return load_guided(model, guide, seed, distances)
    from keras_a2i.serving.predictor import load

    return load(model, **{name: value for name, value in drawing.items() if value is not None})


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


def _generate_images(predictor, path: pathlib.Path, folder: pathlib.Path, overwrite: bool, options: dict) -> str:
    from keras_a2i.serving.images import generate_images

    line = ProgressLine("clip")

    def progress(done: int, total: int) -> None:
        if total > _MIN_FOR_PROGRESS:
            line(done, 0, total)

    try:
        paths = generate_images(predictor, path, folder, overwrite=overwrite, progress=progress, **options)
    finally:
        line.close()
    return counted(len(paths), "image")


def _describe_labels(labels: Counter[str]) -> str:
    """How many clips have which predicted label, the most frequent ones first, with a semicolon before them."""
    shown = [
        f"{name if name == UNKNOWN else repr(name)} ({count})" for name, count in labels.most_common(_LABELS_SHOWN)
    ]
    more = [f"{counted(len(labels) - _LABELS_SHOWN, 'other label')}"] if len(labels) > _LABELS_SHOWN else []
    return f"; predicted labels: {', '.join(shown + more)}" if labels else ""
