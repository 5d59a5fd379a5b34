"""Writing JSON files."""

import json
import pathlib
from typing import Any

from keras_a2i.media.durable import replace_durably


def write_json(path: pathlib.Path, values: Any) -> None:
    """Writes a JSON file, whole or not at all, durably."""
    temporary = path.with_name(path.name + ".tmp")
    # A file name that isn't UTF-8 becomes an escape, which is JSON too.
    text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
    temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
    replace_durably(temporary, path)
