"""Draws the animated sample of the README: held-out seconds of every recording, real beside generated.

    keras-a2i build-records synthetic:surf:1600 --image-size 64 --out records
    python tools/animate_held_out.py surf records docs/held_out.webp --frames 8

Frames are enlarged and written as those of `generate --video --side-by-side --codec webp`.
"""

import pathlib
from fractions import Fraction

import click
import numpy as np

import keras_a2i as a2i
from keras_a2i.media.conversion import to_uint8
from keras_a2i.serving.animation import ANIMATIONS
from keras_a2i.serving.composition import Panel


@click.command()
@click.argument("model")
@click.argument("records", type=click.Path(path_type=pathlib.Path, exists=True))
@click.argument("out", type=click.Path(path_type=pathlib.Path))
@click.option("--frames", default=12, show_default=True, help="Seconds of each recording, one a frame.")
@click.option("--fps", default=5, show_default=True, help="Frames per second: how much faster than the recording.")
@click.option("--side", default=256, show_default=True, help="Pixels a side to which images are enlarged.")
def main(model: str, records: pathlib.Path, out: pathlib.Path, frames: int, fps: int, side: int) -> None:
    """Write held-out seconds of RECORDS, real beside those that MODEL generates, as an animated WebP file."""
    predictor = a2i.load(model)
    held_out = a2i.Records(records).decoded("val", predictor.metadata.input)
    sources, times = np.asarray(held_out.sources), np.asarray(held_out.times)
    members = [np.flatnonzero(sources == name) for name in np.unique(sources)]
    rows = np.concatenate([rows[times[rows].argsort()][:frames] for rows in members])
    generated = to_uint8(predictor.predict_inputs(np.asarray(held_out.inputs)[rows]))
    panel, rate = Panel((side, side), "black"), Fraction(fps)
    writer = ANIMATIONS["webp"].open(out, (2 * side, side), rate, out)
    for pair in zip(np.asarray(held_out.images)[rows], generated, strict=True):
        writer.write([np.concatenate([panel(image) for image in pair], axis=1)])
    writer.close()
    print(f"{out}: {len(rows)} frames, {out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
