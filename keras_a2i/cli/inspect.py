"""`keras-a2i inspect`: what a records folder holds."""

import pathlib

import click

from keras_a2i.config import FeatureConfig
from keras_a2i.records.manifest import Manifest


@click.command("inspect")
@click.argument("records", type=click.Path(path_type=pathlib.Path))
@click.option("--sheet", type=click.Path(path_type=pathlib.Path), help="Draw a contact sheet into this PNG.")
@click.option("--top", default=20, show_default=True, help="Sources and labels listed.")
def command(records, sheet, top):
    """Show counts, statistics, leaks, duplicates and silent clips of RECORDS, and draw a contact sheet."""
    manifest = Manifest.read(records)
    from keras_a2i.media.image import save_png
    from keras_a2i.media.sheet import draw_sheet
    from keras_a2i.records.inspection import inspect_records

    found = inspect_records(records)
    if sheet:
        save_png(draw_sheet([found.sheet_images], captions=found.sheet_captions), sheet)
    click.echo(f"pairs             {_counts(found.counts)}   (split: {manifest.split['kind']})")
    click.echo(f"picture           {manifest.image.size} x {manifest.image.size}, {manifest.image.channels} channels")
    click.echo(f"pixels            mean {_numbers(found.pixel_mean)}  std {_numbers(found.pixel_std)}  (0 to 255)")
    config = manifest.features
    click.echo(f"features          {_features(config)}")
    click.echo(
        f"feature values    mean {found.feature_mean:.2f}  std {found.feature_std:.2f}  "
        f"from {found.feature_min:.2f} to {found.feature_max:.2f}; not finite in {found.non_finite} pairs"
    )
    unknown = "none: no sound belongs to embeddings" if config.embedding else "unknown: no sound is stored"
    silent = unknown if found.silent is None else f"{found.silent} (below -60 dBFS)"
    click.echo(f"silent clips      {silent}")
    click.echo(
        f"near-duplicates   {found.near_duplicates} pictures; {found.leaked_duplicates} held out, with one in train"
    )
    click.echo(f"still frames      {found.still_frames} (like the picture before)")
    click.echo(f"in two splits     {len(found.shared_sources)} sources{_some(found.shared_sources)} (fine for blocks)")
    click.echo(
        f"skipped           {len(manifest.dropped)} inputs; {manifest.left_out} pairs are in no split (guard gaps)"
    )
    _table("source", manifest.source_counts, top)
    if set(manifest.label_counts) != {""}:
        _table("label", manifest.label_counts, top)
    for problem in found.damaged:
        click.secho(f"damaged: {problem}", fg="red")
    if sheet:
        click.echo(f"contact sheet     {sheet}")
    if found.damaged:
        raise SystemExit(1)


def _features(config: FeatureConfig) -> str:
    if config.embedding:
        return config.description
    return (
        f"{config.n_features} = {config.n_frames} windows x {config.n_mfcc} MFCC of {config.duration:g} s at "
        f"{config.sample_rate} Hz"
    )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {split}" for split, count in counts.items())


def _numbers(values: list[float]) -> str:
    return " ".join(f"{value:.1f}" for value in values)


def _some(names: list[str]) -> str:
    if not names:
        return ""
    return ": " + ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")


def _table(title: str, counts: dict[str, dict[str, int]], top: int) -> None:
    click.echo(f"\n{title}s: {len(counts)}")
    for name, splits in sorted(counts.items(), key=lambda item: -sum(item[1].values()))[:top]:
        click.echo(f"  {name or '(none)'}: {_counts(splits)}")
    if len(counts) > top:
        click.echo(f"  ... and {len(counts) - top} more (--top {len(counts)})")
