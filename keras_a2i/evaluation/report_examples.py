"""Pictures of the HTML report: the best, median and worst pairs, and what swapped sounds change."""

import base64
import io
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image

from keras_a2i.evaluation.report_data import Example
from keras_a2i.evaluation.report_format import escaped, number
from keras_a2i.media.image import to_pillow

# Pictures are embedded at the first of these sizes at which all of them together stay below the limit.
IMAGE_SIDES = (160, 128, 96, 64, 48)
IMAGE_BYTES = 3_000_000
_GROUPS = {"best": "Best", "median": "Median", "worst": "Worst"}


def example_sections(examples: Sequence[Example]) -> dict[str, str]:
    """The two sections with pictures; empty where there are none."""
    images = iter(_embed([picture for example in examples for picture in example.pictures.values()]))
    figures = [(example, _example(example, images)) for example in examples]
    groups = ""
    for group, title in _GROUPS.items():
        members = "".join(figure for example, figure in figures if example.group == group)
        groups += f'<h3>{title}</h3><div class="examples">{members}</div>' if members else ""
    swapped = "".join(figure for example, figure in figures if example.group == "swapped")
    if swapped:
        swapped = (
            "<p>The same model hears another pair's sound. Pictures that stay the same don't follow the sound.</p>"
            f'<div class="examples">{swapped}</div>'
        )
    return {"Examples": groups, "What changes when the sound is swapped": swapped}


def _example(example: Example, images: Iterable[str]) -> str:
    shown = ""
    # The titles come first: zip then takes no picture of the next example.
    for title, image in zip(example.pictures, images, strict=False):
        alt = escaped(f"{title}, pair {example.id}")
        shown += f"<figure>{image.format(alt=alt)}<figcaption>{escaped(title)}</figcaption></figure>"
    caption = f"<b>{escaped(example.id)}</b> · SSIM {number(example.score, 3)}"
    return f'<figure class="example"><figcaption>{caption}</figcaption><div class="pictures">{shown}</div></figure>'


def _embed(pictures: Sequence[np.ndarray]) -> list[str]:
    """An img element with a gap `{alt}` for each picture, all at the largest side that keeps the page small."""
    encoded: list[str] = []
    for side in IMAGE_SIDES:
        encoded = [_data_uri(picture, side) for picture in pictures]
        if sum(map(len, encoded)) <= IMAGE_BYTES:
            break
    styles = [' class="small"' if picture.shape[0] < IMAGE_SIDES[-2] else "" for picture in pictures]
    return [f'<img src="{uri}" alt="{{alt}}"{style}>' for uri, style in zip(encoded, styles, strict=True)]


def _data_uri(picture: np.ndarray, side: int) -> str:
    image = to_pillow(picture)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
