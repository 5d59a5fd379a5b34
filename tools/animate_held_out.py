"""Draws the animated sample of the README: held-out seconds of every recording, real beside generated.

keras-a2i build-records synthetic:surf:720 --image-size 64 --out records
python tools/animate_held_out.py surf records docs/held_out.webp
"""

import pathlib

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import keras_a2i as a2i
from keras_a2i.media.conversion import to_uint8

_GAP, _HEAD = 8, 26
_BACKGROUND, _INK = (24, 24, 27), (228, 228, 231)


@click.command()
@click.argument("model")
@click.argument("records", type=click.Path(path_type=pathlib.Path, exists=True))
@click.argument("out", type=click.Path(path_type=pathlib.Path))
@click.option("--frames", default=16, show_default=True, help="Seconds of each recording, one a frame.")
@click.option("--fps", default=5.0, show_default=True, help="Frames per second: how much faster than the recording.")
@click.option("--side", default=256, show_default=True, help="Pixels a side to which images are enlarged.")
def main(model: str, records: pathlib.Path, out: pathlib.Path, frames: int, fps: float, side: int) -> None:
    """Write held-out seconds of RECORDS, real beside those that MODEL generates, as an animated WebP file."""
    predictor = a2i.load(model)
    held_out = a2i.Records(records).decoded("val", predictor.metadata.input)
    sources, times = np.asarray(held_out.sources), np.asarray(held_out.times)
    members = [np.flatnonzero(sources == name) for name in np.unique(sources)]
    rows = np.concatenate([rows[times[rows].argsort()][:frames] for rows in members])
    generated = to_uint8(predictor.predict_inputs(np.asarray(held_out.inputs)[rows]))
    shown = [_frame(*pair, side) for pair in zip(np.asarray(held_out.images)[rows], generated, strict=True)]
    shown[0].save(out, save_all=True, append_images=shown[1:], duration=round(1000 / fps), loop=0, quality=75, method=6)
    print(f"{out}: {len(shown)} frames, {out.stat().st_size / 1e3:.0f} kB")


def _frame(real: np.ndarray, generated: np.ndarray, side: int) -> Image.Image:
    frame = Image.new("RGB", (2 * side + _GAP, side + _HEAD), _BACKGROUND)
    draw = ImageDraw.Draw(frame)
    for i, (title, image) in enumerate((("real", real), ("generated from its audio", generated))):
        x = i * (side + _GAP)
        draw.text((x + 6, 5), title, _INK, ImageFont.load_default(14))
        frame.paste(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC), (x, _HEAD))
    return frame


if __name__ == "__main__":
    main()
