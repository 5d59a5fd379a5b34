"""Writing JSON files."""

import json
import pathlib
from typing import Any

from keras_a2i.media.durable import replace_durably


def write_json(path: pathlib.Path, values: Any) -> None:
    """Writes a JSON file, whole or not at all, durably."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    replace_durably(temporary, path)
