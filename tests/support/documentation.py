"""The documentation's files, their code blocks, and the commands and names in them."""

import ast
import json
import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).parents[2]
README = ROOT / "README.md"
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
PAGES = sorted((ROOT / "docs").rglob("*.md"))
GUIDES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "saved_models").glob("*/card.md")), *PAGES]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"\b(?:a2i|keras_a2i)((?:\.[A-Za-z_]\w*)+)")


def python_blocks(path: pathlib.Path) -> list[str]:
    """Returns the Python of a page, or of a notebook, one text per block or cell."""
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return [code for language, code in _FENCE.findall(path.read_text(encoding="utf-8")) if language == "python"]


def dotted_names(path: pathlib.Path) -> set[str]:
    """Returns every name behind `a2i.` or `keras_a2i.` in a page or notebook, such as "layers.LogMel"."""
    text = path.read_text(encoding="utf-8") if path.suffix == ".md" else "\n".join(python_blocks(path))
    # References of the API pages are checked by mkdocstrings; files such as keras_a2i.json are no names.
    text = re.sub(r"^::: .*$", "", text, flags=re.MULTILINE)
    return {match[1:] for match in _NAME.findall(text) if match != ".json"}


def commands(path: pathlib.Path) -> list[tuple[str, list[str]]]:
    """Returns the command lines of a page: the command's name and its words."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = re.findall(r"keras-a2i ([a-z][a-z-]+(?: [^`\n]*)?)", text)
    found = []
    for line in lines:
        words = line.split("#")[0].split("&&")[0]
        try:
            name, *rest = shlex.split(words)
        except ValueError:
            name, *rest = words.split()
        found.append((name, rest))
    return found


def library_calls(code: str) -> list[tuple[str, int, list[str]]]:
    """Returns the calls of `a2i.NAME(...)` in a piece of Python: the name, positional arguments, keywords."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if re.fullmatch(r"(a2i|keras_a2i)(\.\w+)+", name):
                keywords = [keyword.arg for keyword in node.keywords if keyword.arg is not None]
                found.append((name.partition(".")[2], len(node.args), keywords))
    return found
