"""The documentation names only what exists: names, arguments, commands, options, pages."""

import functools
import inspect
import json
import re

import pytest
from support.documentation import (
    GUIDES,
    NOTEBOOKS,
    PAGES,
    README,
    ROOT,
    commands,
    dotted_names,
    library_calls,
    python_blocks,
)

import keras_a2i
from keras_a2i.cli import main

_GLOBAL_OPTIONS = {"--help", "--debug", "--version"}


def _resolve(name):
    """The object of a dotted name; an attribute of an instance ends the search at its class."""
    return functools.reduce(getattr, name.split("."), keras_a2i)


def _names():
    return sorted({name for path in [*GUIDES, *NOTEBOOKS] for name in dotted_names(path)})


def _calls():
    found = {}
    for path in [*GUIDES, *NOTEBOOKS]:
        for code in python_blocks(path):
            for name, n_positional, keywords in library_calls(code):
                found.setdefault((name, n_positional, *keywords), path.name)
    return [pytest.param(*call, id=f"{page}-{call[0]}") for call, page in _grouped(found)]


def _grouped(found):
    return [((name, n, tuple(keywords)), page) for (name, n, *keywords), page in sorted(found.items())]


@pytest.mark.parametrize("path", [*GUIDES, *NOTEBOOKS], ids=lambda path: path.name)
def test_python_of_page_compiles(path):
    for code in python_blocks(path):
        assert compile(code, path.name, "exec").co_filename == path.name


@pytest.mark.parametrize("name", _names())
def test_documented_name_resolves(name):
    assert _resolve(name) is not None


@pytest.mark.parametrize(("name", "n_positional", "keywords"), _calls())
def test_documented_call_fits_signature(name, n_positional, keywords):
    signature = inspect.signature(_resolve(name))
    bound = signature.bind_partial(*[None] * n_positional, **dict.fromkeys(keywords))
    assert len(bound.args) + len(bound.kwargs) >= n_positional + len(keywords)


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_documented_commands_and_options_exist(path):
    for name, words in commands(path):
        assert name in main._COMMANDS, f"{path.name}: keras-a2i {name}"
        command = main.cli.get_command(None, name)
        known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
        used = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert used <= known | _GLOBAL_OPTIONS, f"{path.name}: keras-a2i {name} {' '.join(words)}"


def test_options_named_in_pages_exist():
    known = set(_GLOBAL_OPTIONS)
    for name in main._COMMANDS:
        for parameter in main.cli.get_command(None, name).params:
            known |= {*parameter.opts, *parameter.secondary_opts}
    # Options of the benchmarks, of pip and of other tools are named in lines that begin with those.
    for path in [README, *PAGES]:
        if path.name in ("changelog.md", "contributing.md", "results.md"):
            continue
        text = path.read_text(encoding="utf-8")
        named = set(re.findall(r"`(--[a-z][a-z-]+)", text))
        assert named <= known, f"{path.name}: {sorted(named - known)}"


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    listed = re.findall(r"[\w/]+\.md", navigation)
    assert sorted(listed) == sorted(page.relative_to(ROOT / "docs").as_posix() for page in PAGES)


@pytest.mark.parametrize("path", [README, ROOT / "CONTRIBUTING.md"], ids=lambda path: path.name)
def test_links_to_files_resolve(path):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]
    assert not missing


def test_options_of_fit_in_python_and_on_the_command_line_agree():
    """The table of docs/recipes.md pairs each option with its argument."""
    table = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8").partition("## Other options")[2]
    arguments = re.findall(r"(\w+)=", "".join(row.split("|")[2] for row in table.splitlines() if row.startswith("| `")))
    assert arguments
    assert set(arguments) <= set(inspect.signature(keras_a2i.fit).parameters)


def test_objectives_of_recipes_page_are_the_registered_ones():
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", text, re.MULTILINE)
    registered = keras_a2i.objectives.OBJECTIVES
    assert dict(rows) == {id_: objective.__name__ for id_, objective in registered.items()}


def test_recipes_of_recipes_page_are_all_recipes():
    from keras_a2i.recipes import recipe_names

    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8").partition("## Settings")[0]
    assert sorted(re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE)) == recipe_names()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_has_no_outputs(path):
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs") and cell.get("execution_count") is None
