"""`keras-a2i build-records`: builds a records folder from sources."""

import dataclasses
import pathlib
import shlex
import sys
from typing import Any

import click

from keras_a2i.cli.flag_names import flag_names
from keras_a2i.cli.locations import LocationType
from keras_a2i.cli.progress import ProgressLine
from keras_a2i.cli.terminal import echo
from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.counts import counted
from keras_a2i.errors import UsageError
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.splits import SplitSpec
from keras_a2i.sources.grey_images import are_grey
from keras_a2i.sources.open_sources import UnusedOptionError, all_options, open_sources
from keras_a2i.sources.pair import Dropped
from keras_a2i.sources.registry import SOURCE_TYPES, Option

_SKIPPED_SHOWN = 20
# --seed is the seed of the split too.
_SOURCE_OPTIONS = {name: option for name, (option, _) in all_options().items() if name != "seed"}
_USUAL = FeatureConfig()
_SPLIT_FLAGS = {"kind": "--split", "file": "--split-file"}
_AUDIO_FLAGS = {"sample_rate": "sample-rate", "n_mfcc": "n-mfcc"}


def _add_source_options(command: Any) -> Any:
    """Adds the options that the source types declare."""
    for option in reversed(_SOURCE_OPTIONS.values()):
        command = click.option(f"--{option.flag}", option.name, **_click_settings(option))(command)
    return command


def _click_settings(option: Option) -> dict[str, Any]:
    settings: dict[str, Any] = {"help": option.help, "metavar": option.metavar or None, "multiple": option.multiple}
    if option.choices:
        settings |= {"type": click.Choice(option.choices), "show_default": True}
    elif option.type is bool:
        settings["is_flag"] = True
    else:
        settings["type"] = option.type
    return settings | {"default": option.default}


_HELP = """Build training records from SOURCEs: a folder of TFRecord files with a manifest.

\b
A SOURCE is one of
{details}

Videos, a pairs.csv, a .npz file and --out may be in an object store, such as s3://bucket/videos (extra remote).

Run the same command again to resume an interrupted build.

\b
The paper's subset and its 360/120 split:
  keras-a2i build-records kaggle:scenes --class BEACH --exclude 'GLOB of the clips with people' \\
      --split random --val-fraction 0.25 --out records
"""


def _help() -> str:
    details = [source_type.details for source_type in SOURCE_TYPES.values() if source_type.details]
    return _HELP.format(details="\n".join("  " + each.replace("\n", "\n    ") for each in details))


@click.command("build-records", help=_help())
@click.argument("source", nargs=-1, required=True)
@click.option("--out", required=True, type=LocationType(), help="The records folder to create.")
@click.option("--image-size", default=256, show_default=True, help="Pixels per side: a power of two from 16 to 512.")
@click.option(
    "--channels",
    type=click.Choice(["auto", "1", "3"]),
    default="auto",
    show_default=True,
    help="3 for RGB, 1 for grey; auto is 1 if 64 images, sampled over the whole of each source, are all grey.",
)
@click.option(
    "--jpeg-quality",
    type=int,
    help="Store JPEG of this quality, 1 to 100, in place of exact images; JPEG files that already have --image-size "
    "are copied.",
)
@click.option(
    "--raw-images/--no-raw-images",
    default=None,
    help="Store pixels in place of PNG: larger files, which are faster to read if they don't fit into memory (default: "
    "for images of up to 64 pixels).",
)
@click.option(
    "--duration",
    default=1.0,
    show_default=True,
    help=f"Seconds of audio per image, 0.05 to 60. Analysis frames are {_USUAL.frame:g} s long, or as long as the clip "
    "if it is shorter.",
)
@click.option("--sample-rate", default=16_000, show_default=True, help="Audio is resampled to this rate, Hz.")
@click.option("--n-mfcc", default=13, show_default=True, help="MFCC per analysis frame.")
@click.option(
    "--split",
    type=click.Choice(["block", "source", "random"]),
    help=(
        "What is held out. block: the last part of every source that is long enough; source: whole sources; random: "
        "random pairs, which leaks. Default: the split column of the csv if it has one, else block, or source if every "
        "pair is its own source or all sources are AVSpeech, VGGSound or AudioSet."
    ),
)
@click.option("--holdout", multiple=True, metavar="ID", help="Hold this source out (with --split source); repeatable.")
@click.option("--split-file", metavar="CSV", help="Use the splits of a csv with the columns id,split.")
@click.option(
    "--val-fraction",
    type=float,
    help="Fraction of the pairs to hold out; 0 for none (default: 0.25). If the csv or --split-file defines splits "
    "without val: the fraction of its training sources that become val (default: 0).",
)
@click.option("--guard", type=float, help="Seconds left out before a held-out block (default: 2).")
@click.option("--seed", type=int, help="Random seed of the random split and of rendered data (default: 0).")
@_add_source_options
@click.option("--waveform/--no-waveform", default=True, help="Store the waveform beside its features (default: yes).")
@click.option("--workers", type=click.IntRange(min=1), help="Number of processes (default: one per core).")
@click.option(
    "--scheduler",
    metavar="ADDRESS",
    help="Build on the workers of the Dask scheduler at this address, such as tcp://host:8786. All machines must share "
    "the folders (extra cluster).",
)
@click.option("--strict", is_flag=True, help="Stop at the first input that can't become a pair or is damaged.")
@click.option(
    "--overwrite",
    is_flag=True,
    help="Replace records in --out that were built from other or changed input or options, or that are damaged.",
)
def command(
    source: tuple[str, ...],
    out: pathlib.Path,
    image_size: int,
    channels: str,
    jpeg_quality: int | None,
    raw_images: bool | None,
    duration: float,
    sample_rate: int,
    n_mfcc: int,
    split: str | None,
    holdout: tuple[str, ...],
    split_file: str | None,
    val_fraction: float | None,
    guard: float | None,
    seed: int | None,
    **options: Any,
) -> None:
    # A clip that is shorter than the usual frame is one frame; frames overlap by half, as they usually do.
    frame = min(_USUAL.frame, duration)
    hop = frame * _USUAL.hop / _USUAL.frame
    with flag_names(size="--image-size", raw="--raw-images"):
        features = FeatureConfig(duration=duration, sample_rate=sample_rate, n_mfcc=n_mfcc, frame=frame, hop=hop)
        n_channels = 1 if channels == "1" else 3
        image = ImageConfig(size=image_size, channels=n_channels, jpeg_quality=jpeg_quality, raw=raw_images)
    with flag_names(**_SPLIT_FLAGS):
        spec = SplitSpec(
            kind=split,
            val_fraction=val_fraction,
            guard=guard,
            holdout=tuple(holdout),
            file=split_file,
            seed=seed if split == "random" else None,
        )
    source_options = {name: options.pop(name) for name in _SOURCE_OPTIONS}
    source_options["seed"] = 0 if seed is None else seed
    try:
        sources = open_sources(source, features=features, image=image, **source_options)
        if channels == "auto" and are_grey(sources):
            image = dataclasses.replace(image, channels=1)
            sources = open_sources(source, features=features, image=image, **source_options)
    except UnusedOptionError as error:
        flags = {name: option.flag for name, option in _SOURCE_OPTIONS.items()} | _AUDIO_FLAGS
        raise UsageError(f"{' and '.join(f'--{flags[name]}' for name in error.names)} {error.usage}") from error
    if seed is not None and split != "random" and not any("seed" in each.describe() for each in sources):
        raise UsageError(
            "--seed can only be used with --split random, or with rendered data. No given source is rendered"
        )
    _build(sources, out, features=features, image=image, split=spec, **options)
    if channels == "auto" and image.channels == 1:
        echo("The images are grey and stored with one channel. For three, pass --channels 3")


def _build(sources: list, out: pathlib.Path, **options: Any) -> None:
    from keras_a2i.records.build import build_records

    progress = ProgressLine("pair")
    try:
        typed = shlex.join(["keras-a2i", *sys.argv[1:]])
        with flag_names(**_SPLIT_FLAGS):
            manifest = build_records(sources, out, command=typed, progress=progress, **options)
    finally:
        progress.close()
    if not progress.used:
        echo("The records are complete already; nothing was rebuilt.")
    _summarise(manifest, out)


def _summarise(manifest: Manifest, out: pathlib.Path) -> None:
    counts = ", ".join(f"{count:,} {split}" for split, count in manifest.counts.items())
    size = sum(shard.size for shard in manifest.shards)
    pairs, sources = sum(manifest.counts.values()), len(manifest.source_counts)
    echo(f"{out}: {counted(pairs, 'pair')} ({counts}) from {counted(sources, 'source')}, {size / 1e6:.1f} MB")
    if manifest.features.embedding:
        echo(f"features: {manifest.features.description}")
    chosen = {name: value for name, value in manifest.split.items() if value != ()}
    words = (f"{name} {' and '.join(value) if isinstance(value, tuple) else value}" for name, value in chosen.items())
    echo(f"split: {', '.join(words)}")
    if manifest.split_warning:
        echo(manifest.split_warning, fg="yellow")
    for _, sentence in manifest.lost_splits:
        echo(f"Warning: {sentence}", fg="yellow")
    has_val = "val" in {*manifest.counts, *dict(manifest.lost_splits)}
    if manifest.split["kind"] in ("column", "file") and not has_val:
        echo("There is no split val, on which fit scores epochs. --val-fraction 0.05 makes one from training sources")
    if manifest.left_out:
        echo(f"omitted, in no split: {counted(manifest.left_out, 'pair')}")
    _list_troubles("skipped", manifest.dropped, out)
    _list_troubles("damaged, but used", manifest.notes, out)


def _list_troubles(title: str, troubles: list[list[str]], out: pathlib.Path) -> None:
    if not troubles:
        return
    echo(f"{title}: {len(troubles)}")
    for name, reason in troubles[:_SKIPPED_SHOWN]:
        echo(f"  {Dropped(name, reason).message}")
    if len(troubles) > _SKIPPED_SHOWN:
        echo(f"  ... and {len(troubles) - _SKIPPED_SHOWN} more, all listed in {out / 'records.json'}")
