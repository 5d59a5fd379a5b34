"""`keras-a2i build-records`: sources into a records folder."""

import pathlib
import shlex
import sys

import click

from keras_a2i.cli.progress import ProgressLine
from keras_a2i.config import FeatureConfig, ImageConfig
from keras_a2i.records.manifest import Manifest
from keras_a2i.records.splits import SplitSpec

_SKIPPED_SHOWN = 20


@click.command("build-records")
@click.argument("source", nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(path_type=pathlib.Path), help="The records folder to make.")
@click.option("--image-size", default=256, show_default=True, help="Pixels per side: a power of two from 16 to 512.")
@click.option("--channels", default=3, show_default=True, help="3 for RGB, 1 for grey.")
@click.option("--jpeg-quality", type=int, help="Store JPEG of this quality, 1 to 100, instead of lossless PNG.")
@click.option("--duration", default=1.0, show_default=True, help="Seconds of sound a picture belongs to.")
@click.option("--sample-rate", default=16_000, show_default=True, help="Hz that sound is resampled to.")
@click.option("--n-mfcc", default=13, show_default=True, help="Coefficients a window of sound.")
@click.option(
    "--split",
    type=click.Choice(["block", "source", "random"]),
    help=(
        "What is held out: the last part of every source, whole sources, or pairs at random (leaks). "
        "By default the split column of pairs.csv where there is one, else block, "
        "or source where every pair is its own source."
    ),
)
@click.option("--holdout", multiple=True, metavar="ID", help="Hold this source out (with --split source); repeatable.")
@click.option("--split-file", metavar="CSV", help="Follow a csv with the columns id,split.")
@click.option("--val-fraction", default=0.25, show_default=True, help="Share held out; 0 trains on everything.")
@click.option("--guard", default=2.0, show_default=True, help="Seconds left out before a held-out block.")
@click.option("--seed", default=0, show_default=True, help="Of the random split and of synthetic data.")
@click.option("--class", "classes", multiple=True, metavar="NAME", help="Keep this class of a scenes csv; repeatable.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these images of a scenes csv out; repeatable.")
@click.option(
    "--short",
    "short",
    type=click.Choice(["pad", "skip"]),
    default="pad",
    show_default=True,
    help=("Sound of a csv that is shorter than the window: fill it with silence, or skip the pair."),
)
@click.option(
    "--long",
    "long",
    type=click.Choice(["start", "skip"]),
    default="start",
    show_default=True,
    help=("Sound of a csv that is longer than the window: take its start, or skip the pair."),
)
@click.option("--embedding-name", default="", metavar="NAME", help="What made the embeddings, such as CLAP.")
@click.option("--waveform/--no-waveform", default=True, help="Store the sound beside its features (default: yes).")
@click.option("--workers", type=click.IntRange(min=1), help="Processes; by default one a core.")
@click.option("--strict", is_flag=True, help="Stop at the first input that gives no pair.")
@click.option("--overwrite", is_flag=True, help="Replace records made of other input or options.")
def command(
    source,
    out,
    split,
    holdout,
    split_file,
    val_fraction,
    guard,
    seed,
    classes,
    exclude,
    short,
    long,
    embedding_name,
    waveform,
    workers,
    strict,
    overwrite,
    image_size,
    channels,
    jpeg_quality,
    duration,
    sample_rate,
    n_mfcc,
):
    """Turn SOURCEs into training records: a folder of TFRecord files with a manifest.

    \b
    A SOURCE is one of
      a video file, or a folder of videos (one picture and its sound for each second)
      a pairs.csv with the columns audio,image and optionally label,source,time,split
      a pairs.csv with embedding,image: vectors of your own (one.npy, many.npy:ROW, some.npz:KEY, some.npz:KEY:ROW),
        or with image and the numbers in embedding_1, embedding_2 and so on
      a .npz file with the arrays embeddings and images, and optionally labels,sources,times,splits
      a folder of the Kaggle set "Scene classification: images and audio", or kaggle:scenes to fetch it
      synthetic:surf or synthetic:surf:N, rendered here, N pairs (480)

    An interrupted build goes on when the same command is given again.

    \b
    The paper's subset and its 360/120 split:
      keras-a2i build-records kaggle:scenes --class BEACH --exclude 'GLOB of the clips with people' \\
          --split random --val-fraction 0.25 --out records
    """
    from keras_a2i.records.build import build_records
    from keras_a2i.sources.open_sources import open_sources

    features = FeatureConfig(duration=duration, sample_rate=sample_rate, n_mfcc=n_mfcc)
    image = ImageConfig(size=image_size, channels=channels, jpeg_quality=jpeg_quality)
    spec = SplitSpec(
        kind=split, val_fraction=val_fraction, guard=guard, holdout=tuple(holdout), file=split_file, seed=seed
    )
    sources = open_sources(
        source,
        features=features,
        image=image,
        classes=classes,
        exclude=exclude,
        pad=short == "pad",
        long="start" if long == "start" else "drop",
        seed=seed,
        embedding_name=embedding_name,
    )
    progress = ProgressLine("pairs")
    try:
        manifest = build_records(
            sources,
            out,
            features=features,
            image=image,
            split=spec,
            waveform=waveform,
            workers=workers,
            strict=strict,
            overwrite=overwrite,
            command=shlex.join(["keras-a2i", *sys.argv[1:]]),
            progress=progress,
        )
    finally:
        progress.close()
    if not progress.used:
        click.echo("complete already: nothing was built anew")
    _summarise(manifest, out)


def _summarise(manifest: Manifest, out: pathlib.Path) -> None:
    counts = ", ".join(f"{count} {split}" for split, count in manifest.counts.items())
    size = sum(shard.size for shard in manifest.shards)
    click.echo(f"{out}: {counts} pairs from {len(manifest.source_counts)} sources, {size / 1e6:.1f} MB")
    if manifest.features.embedding:
        click.echo(f"features: {manifest.features.description}")
    click.echo(f"split: {', '.join(f'{name} {value}' for name, value in manifest.split.items() if value != ())}")
    if manifest.left_out:
        click.echo(f"left out between or beside the splits: {manifest.left_out} pairs")
    if manifest.dropped:
        click.echo(f"skipped: {len(manifest.dropped)}")
        for name, reason in manifest.dropped[:_SKIPPED_SHOWN]:
            click.echo(f"  {name}: {reason}")
        if len(manifest.dropped) > _SKIPPED_SHOWN:
            click.echo(f"  ... and {len(manifest.dropped) - _SKIPPED_SHOWN} more, all named in {out / 'records.json'}")
