"""The options of `keras-a2i generate` that make films, and the films that they make."""

import pathlib
import re
import time
from collections.abc import Callable
from typing import Any

import click

from keras_a2i.cli.progress import ProgressLine
from keras_a2i.counts import counted
from keras_a2i.durations import format_seconds
from keras_a2i.errors import UsageError

_DEFAULTS = {"fps": 25.0, "codec": "h264", "smooth": 0.0, "fill": "blur"}


class _Size(click.ParamType):
    """WIDTHxHEIGHT in pixels, such as 1280x720."""

    name = "WIDTHxHEIGHT"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        sides = re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(value))
        if sides is None:
            raise UsageError(f"--video-size must be WIDTHxHEIGHT in pixels, such as 1280x720. Received: {value}")
        return int(sides[1]), int(sides[2])


_OPTIONS = (
    click.option("--video", is_flag=True, help="Write a video of each file, with its audio, in place of images."),
    click.option("--fps", type=float, help=f"Frames per second of a video, 1 to 60 (default: {_DEFAULTS['fps']:g})."),
    click.option(
        "--codec",
        type=click.Choice(["h264", "vp9", "gif", "webp"]),
        help="h264: mp4 with AAC audio; vp9: webm with Opus audio; gif, webp: animated images without sound, of a "
        f"minute at most (default: {_DEFAULTS['codec']}).",
    ),
    click.option(
        "--video-size",
        type=_Size(),
        metavar="WIDTHxHEIGHT",
        help="Size of a video in pixels, such as 1280x720, even sides of 32 to 4096 (default: the size of the model's "
        "images).",
    ),
    click.option(
        "--fill",
        type=click.Choice(["blur", "mirror", "tile", "black"]),
        help="What a video shows beside the square image: the image blurred and darkened, mirrored at its edges or "
        f"repeated, or black (default: {_DEFAULTS['fill']}).",
    ),
    click.option(
        "--side-by-side",
        is_flag=True,
        help="If the input is a video file, show its own frames in the left half and the images in the right.",
    ),
    click.option(
        "--smooth",
        type=float,
        metavar="SECONDS",
        help="Reduce a video's flicker: smooth the latent vectors over time with a Gaussian of this standard "
        "deviation, 0 to 10 (default: 0, off).",
    ),
    click.option(
        "--style-walk",
        type=float,
        metavar="RATE",
        help="Vary the style over time, with RATE new styles per second, above 0 to 10. The model must have a style.",
    ),
    click.option(
        "--react",
        type=click.Choice(["loudness", "onsets"]),
        multiple=True,
        help="Zoom into the image with the loudness or the onsets of the audio, by up to 16 %; with --style-walk, also "
        "raise the temperature, up to twofold. Repeatable.",
    ),
)


def film_options(function: Callable) -> Callable:
    """Decorates a command with the options of films."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def check_options(is_used: bool, flag: str, **options: Any) -> None:
    """Raises a UsageError if options are given that only go with a flag that isn't."""
    given = [
        f"--{name.replace('_', '-')}"
        for name, value in options.items()
        if not (value is None or value is False or value == ())
    ]
    if given and not is_used:
        raise UsageError(f"{given[0]} must be left out without {flag}. Received: {given[0]} without it")


def check_film_options(video: bool, film: dict[str, Any]) -> None:
    """Raises a UsageError if options of films are given without `--video`, or without another that they go with."""
    check_options(video, "--video", **film)
    framed = film["video_size"] is not None or film["side_by_side"]
    check_options(framed, "--video-size or --side-by-side", fill=film["fill"])


def film_arguments(film: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of `generate_video` for the options of the command."""
    given = {name: value for name, value in film.items() if value is not None}
    size = given.pop("video_size", None)
    return _DEFAULTS | given | {"size": size}


def check_films(
    audio: tuple[pathlib.Path, ...], out: pathlib.Path, names: list[str], overwrite: bool, options: dict[str, Any]
) -> list[pathlib.Path]:
    """Returns the paths of the films; errors show before the model takes seconds to load."""
    from keras_a2i.serving.film_settings import FilmSettings
    from keras_a2i.serving.video import check_film

    settings = FilmSettings(**options)
    suffix = settings.find_codec().suffix
    targets = [out / f"{name}.{suffix}" for name in names]
    sources = {path.resolve() for path in audio}
    for path, target in zip(audio, targets, strict=True):
        settings.check_source(path)
        check_film(target, sources, overwrite)
    return targets


def generate_film(
    predictor: Any, path: pathlib.Path, target: pathlib.Path, overwrite: bool, options: dict[str, Any]
) -> str:
    """Writes a film with a progress line; returns a sentence about it."""
    from keras_a2i.serving.film_codecs import find_codec
    from keras_a2i.serving.model_inputs import count_inputs
    from keras_a2i.serving.video import generate_video

    line, start = ProgressLine("frame"), time.monotonic()
    total = count_inputs(path, predictor.metadata, 1 / options["fps"])
    try:
        summary = generate_video(
            *(predictor, path, target),
            overwrite=overwrite,
            progress=lambda done: line(done, 0, max(done, total)),
            **options,
        )
        # How many frames there are turns out only at the end.
        line(summary.frames, 0, summary.frames)
    finally:
        line.close()
    took = time.monotonic() - start
    length = f"{summary.seconds:.1f} s" if summary.seconds < 10 else format_seconds(summary.seconds)
    sound = "" if find_codec(options["codec"]).has_sound else ", without sound"
    return (
        f"{counted(summary.frames, 'frame')}, {length}{sound} in "
        f"{took:.1f} s ({summary.seconds / took:.1f} times real time), flicker {100 * summary.flicker:.2f} %"
    )
