"""Writing JSON files."""

import json
import pathlib
from typing import Any

from keras_a2i.media.durable import written_whole


def write_json(path: pathlib.Path, values: Any) -> None:
    """Writes a JSON file, whole or not at all, durably."""
    # A file name that isn't UTF-8 becomes an escape, which is JSON too.
    text = json.dumps(values, indent=1, ensure_ascii=False) + "\n"
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")
