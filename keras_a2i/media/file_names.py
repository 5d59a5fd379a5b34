"""Names of files: bytes that aren't UTF-8, and the two forms in which systems compose letters."""

import pathlib
import unicodedata


def printable_name(name: str) -> str:
    """Returns a file name as text that can be stored: bytes that aren't UTF-8 and control characters are escaped.

    Different names stay different, as a backslash that the name holds is doubled where anything is escaped.
    """
    return name if name.isprintable() else escape(name.replace("\\", "\\\\"))


def escape(text: str, kept: str = "") -> str:
    """Returns text in which characters that can't be printed are backslash escapes, apart from those of `kept`."""
    return "".join(c if c.isprintable() or c in kept else _escape(c) for c in text)


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        # How Python stands for the byte of a file name that isn't UTF-8.
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def existing_form(path: pathlib.Path) -> pathlib.Path:
    """Returns the form of a path that exists: as given, composed (NFC) or decomposed (NFD); the given one if none does.

    A table that was written on one system and read on another may name its files in the other form.
    """
    for form in (None, "NFC", "NFD"):
        candidate = path if form is None else pathlib.Path(unicodedata.normalize(form, str(path)))
        if candidate.exists():
            return candidate
    return path
