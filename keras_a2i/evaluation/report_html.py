"""A report as one HTML page that needs nothing from the network: Jinja2 templates that escape every text."""

import base64
import io
from collections.abc import Iterable
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from keras_a2i.evaluation.report_blocks import Figure, Gallery, Section
from keras_a2i.evaluation.report_data import ReportData
from keras_a2i.evaluation.report_format import percent, printable
from keras_a2i.evaluation.report_sections import sections_of
from keras_a2i.evaluation.verdict import LEVELS
from keras_a2i.media.image import to_pillow

# Images are embedded at the first of these sizes at which all of them together stay below the limit.
IMAGE_SIDES = (160, 128, 96, 64, 48)
IMAGE_BYTES = 3_000_000


def render_html(report: ReportData) -> str:
    """The page as text: styles, plots (SVG) and images (PNG) are all inside; the same report gives the same bytes."""
    sections = sections_of(report)
    facts = {
        "Records": report.records,
        "Split": report.split,
        "Held-out pairs": f"{report.n_pairs:,}",
        "Sources": f"{report.n_sources:,}",
    }
    return render_template(
        "report.html.j2",
        images=_embedded(sections),
        title=f"Evaluation of {report.model}",
        report=report,
        level=LEVELS[report.level],
        sections=sections,
        facts=facts,
    )


def render_template(name: str, images: dict[int, str] | None = None, **values: Any) -> str:
    """Renders a template of this room.

    Args:
        name: of the file in `templates/`.
        images: `id` of an array -> data URI, for the filter `image_uri`.
        values: what the template uses.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("keras_a2i.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=printable,
    )
    environment.filters |= {
        "percent": percent,
        "plot_uri": _plot_uri,
        "sheet_uri": _sheet_uri,
        "image_uri": lambda image: (images or {})[id(image)],
    }
    return environment.get_template(name).render(**values) + "\n"


def _plot_uri(figure: Figure) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(figure.draw().encode()).decode()


def _sheet_uri(sheet: Image.Image) -> str:
    buffer = io.BytesIO()
    sheet.save(buffer, "WEBP", quality=88)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _embedded(sections: Iterable[Section]) -> dict[int, str]:
    """The images of all galleries as data URIs, all at the largest side that keeps the page small."""
    images = [
        image
        for section in sections
        for block in section.blocks
        if isinstance(block, Gallery)
        for _, examples in block.groups
        for example in examples
        for image in example.images.values()
    ]
    encoded: dict[int, str] = {}
    for side in IMAGE_SIDES:
        encoded = {id(image): _image_uri(image, side) for image in images}
        if sum(map(len, encoded.values())) <= IMAGE_BYTES:
            break
    return encoded


def _image_uri(image: np.ndarray, side: int) -> str:
    shown = to_pillow(image)
    shown.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    shown.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
