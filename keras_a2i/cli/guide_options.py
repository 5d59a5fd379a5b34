"""The options of `keras-a2i generate` that guide images."""

import pathlib
from collections.abc import Callable
from typing import Any

import click
import numpy as np

from keras_a2i.cli.film_options import check_options
from keras_a2i.cli.locations import LocalPath
from keras_a2i.errors import UsageError

GUIDE_FLAGS = {"by": "--guide-by", "latent": "--guide-latent", "starts": "--guide-starts"}
"""Flags of the arguments of `keras_a2i.guide` that have other names."""
_OPTIONS = (
    click.option(
        "--guide",
        type=click.IntRange(0, 1000),
        metavar="STEPS",
        help="Improve each image by STEPS gradient steps on its style, so that it becomes more similar to the audio in "
        "a common embedding space (20 are usual; 0 changes nothing). Needs a run folder, a .keras file or a shipped "
        "model.",
    ),
    click.option(
        "--guide-by",
        type=LocalPath(),
        metavar="RUN",
        help="The run whose training aligned audio and images, such as a run of the recipe words-aligned on the same "
        "records (default: MODEL, if its training did).",
    ),
    click.option(
        "--guide-latent",
        is_flag=True,
        help="Also change the latent vector, which the audio determines. For a model without a style, this is the "
        "default.",
    ),
    click.option(
        "--guide-starts",
        type=click.IntRange(1, 64),
        metavar="N",
        help="Start at the nearest of N styles: the usual one and random ones, by --seed (default: 8 for a model with "
        "exemplars, else 1). Not with --samples and --style-walk, which start at their own styles.",
    ),
    click.option(
        "--towards",
        type=LocalPath(),
        metavar="IMAGE",
        help="Make the images more similar to this png or jpg file instead of the audio. Without a run that aligned "
        "images, thumbnails of 8 x 8 pixels are compared.",
    ),
)


def guide_options(function: Callable) -> Callable:
    """Decorates a command with the options of guidance."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def split_guide_options(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Splits the options of the command into those of guidance and those of films.

    Raises:
        UsageError: if some are given without `--guide`, or with one that it doesn't go with.
    """
    guide = {name: options[name] for name in ("guide", "guide_by", "guide_latent", "guide_starts", "towards")}
    film = {name: value for name, value in options.items() if name not in guide}
    is_used = guide["guide"] is not None
    check_options(is_used, "--guide", **{name: value for name, value in guide.items() if name != "guide"})
    if is_used and film["smooth"] is not None:
        raise UsageError(
            "--smooth must be left out with --guide, which optimises the latent vector of every frame. Received: both"
        )
    return guide, film


class Distances:
    """Sums the distances of guided images from their targets: a `report` for `keras_a2i.guide`."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forgets the images so far."""
        self._before, self._after, self._count = 0.0, 0.0, 0

    def __call__(self, before: np.ndarray, after: np.ndarray) -> None:
        self._before += float(before.sum())
        self._after += float(after.sum())
        self._count += len(before)

    def __str__(self) -> str:
        """The means as a phrase; "" before the first image."""
        if not self._count:
            return ""
        return f", distance from the target {self._before / self._count:.3f} to {self._after / self._count:.3f}"


def load_guided(model: pathlib.Path, guide: dict[str, Any], seed: int, distances: Distances) -> Any:
    """Loads a model whose images are guided, from the options of the command."""
    from keras_a2i.serving.guidance import guide as load

    return load(
        model,
        steps=guide["guide"],
        by=guide["guide_by"],
        towards=guide["towards"],
        latent=guide["guide_latent"] or None,
        starts=guide["guide_starts"],
        seed=seed,
        report=distances,
    )
