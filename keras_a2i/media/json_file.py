"""Writing JSON files."""

import json
import pathlib
from typing import Any


def write_json(path: pathlib.Path, values: Any) -> None:
    """Writes a JSON file, whole or not at all: to a temporary file beside `path`, which is then renamed."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)
