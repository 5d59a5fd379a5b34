"""The metadata at the head of a model card, as the Hugging Face hub reads it."""

import json
import pathlib
import re
from typing import Any

from keras_a2i.evaluation.report import Report
from keras_a2i.evaluation.report_format import printable
from keras_a2i.models.model_file import ModelMetadata

_KNOWN_LICENSES = (
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "cc0-1.0"),
    *("cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "unlicense"),
)
"""Identifiers that the hub knows, of those that models and their data commonly have."""
_TASK = "audio-to-image"


def card_metadata(config: dict[str, Any], report: Report, metadata: ModelMetadata | None) -> str:
    """YAML between two lines of three dashes: licence, library, tags and the scores on held-out pairs.

    Every value is JSON, which is YAML, too: so text of others needs no escaping of its own.

    Args:
        config: the run's configuration.
        report: its evaluation.
        metadata: of its model, or None.
    """
    fields = {
        **_license(metadata.license if metadata is not None else ""),
        "library_name": "keras",
        "tags": [_TASK, "keras-a2i", "tflite"],
        "model-index": [{"name": str(config["recipe"]["name"]), "results": [_result(report)]}],
    }
    # Not in ASCII: YAML reads JSON's escapes of characters beyond 16 bits as two characters.
    lines = [f"{name}: {printable(json.dumps(value, ensure_ascii=False))}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _license(license: str) -> dict[str, str]:
    name = license.lower()
    if not name or name in _KNOWN_LICENSES:
        return {"license": name or "unknown"}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9.]+", "-", name).strip("-") or "other"}


def _result(report: Report) -> dict[str, Any]:
    means = report.contenders[0].means
    values = [
        {"type": metric.id, "name": metric.title, "value": round(float(means[metric.id]), 4)}
        for metric in report.metrics
        if metric.brief and not metric.degenerate and metric.id in means
    ]
    if report.labels is not None:
        accuracy = round(float(report.labels.generated), 4)
        values.append({"type": "accuracy", "name": "label accuracy of a probe of real images", "value": accuracy})
    return {
        "task": {"type": _TASK},
        "dataset": {"type": "keras-a2i-records", "name": pathlib.Path(report.records).name, "split": report.split},
        "metrics": values,
    }
