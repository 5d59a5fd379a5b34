"""The package as a whole: rooms, lazy imports, public names, what the command answers without TensorFlow."""

import ast
import importlib
import pathlib
import subprocess
import sys

import pytest

import keras_a2i
from keras_a2i import serialization

PACKAGE = pathlib.Path(keras_a2i.__file__).parent
FREE = {"cache_folder", "config", "counts", "durations", "errors", "memory", "serialization", "spread", "version"}
ROOMS = [
    {"media"},
    {"remote"},
    {"features"},
    {"sources", "datasets"},
    {"records"},
    {"layers"},
    {"models"},
    {"losses", "metrics"},
    {"objectives"},
    {"optimizers"},
    {"recipes"},
    {"training"},
    {"exporters"},
    {"serving"},
    {"evaluation"},
    {"cli"},
]


def room_of(module):
    return module.split(".")[1] if "." in module else ""


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("keras_a2i"):
            yield node.module
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("keras_a2i"))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_from_rooms_above_it(path):
    own = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if own == "__init__":
        return
    level = {room: i for i, rooms in enumerate(ROOMS) for room in rooms}
    for module in imports_of(path):
        room = room_of(module)
        if not room:
            assert own == "cli", f"{own} imports the package itself"
            continue
        if own in FREE:
            assert room in FREE, f"{own} imports {module}"
        elif room not in FREE:
            assert level[room] <= level[own], f"{own} imports {module}, which is below it"
            assert room != "cli" or own == "cli"


def modules_imported_by(path, modules):
    """Names of the package's modules that a file imports anywhere in it, in functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("keras_a2i"):
            # `from keras_a2i.room import module` imports the module; of a package without it, the package.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in modules else node.module for name in names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name for name in names if name in modules)


def import_circles(graph):
    """Groups of modules that import each other, directly or through others (strongly connected components)."""
    reachable = {}
    for module in graph:
        found, waiting = set(), list(graph[module])
        while waiting:
            other = waiting.pop()
            if other not in found:
                found.add(other)
                waiting += graph[other]
        reachable[module] = found
    circles = {frozenset({a, *(b for b in reachable[a] if a in reachable[b])}) for a in graph if a in reachable[a]}
    return sorted(sorted(circle) for circle in circles)


def test_import_circles_of_a_graph_are_found():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a", "d"}, "e": set()}
    assert import_circles(graph) == [["b", "c"], ["d"]]


@pytest.mark.training
def test_no_module_imports_itself_through_others():
    paths = {}
    for path in PACKAGE.rglob("*.py"):
        parts = ("keras_a2i", *path.relative_to(PACKAGE).with_suffix("").parts)
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    # The package's own __init__ imports its public names on first use: that isn't a circle.
    graph = {
        name: set(modules_imported_by(path, paths)) - {"keras_a2i"} if name != "keras_a2i" else set()
        for name, path in paths.items()
    }
    assert len(graph) > 100 and import_circles(graph) == []


def imported_at_once(path):
    """Names of the package's modules that a file imports when it is imported itself."""
    return {
        node.module
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("keras_a2i.")
    }


@pytest.mark.parametrize("name", serialization._MODULES)
def test_rooms_that_register_classes_import_no_network_that_imports_them(name):
    """Else the first import of such a network would find itself half imported."""
    rooms = {f"keras_a2i.{room}" for room in serialization._MODULES}
    for path in (PACKAGE / name).glob("*.py"):
        waiting, seen = {module for module in imported_at_once(path) if module.startswith("keras_a2i.models.")}, set()
        while waiting:
            module = waiting.pop()
            seen.add(module)
            found = imported_at_once(PACKAGE.parent / f"{module.replace('.', '/')}.py")
            assert not {each for each in found if each in rooms}, f"{path.name} imports {module}"
            waiting |= {each for each in found if each.startswith("keras_a2i.models.")} - seen


@pytest.mark.training
def test_network_with_exemplars_can_be_the_first_import():
    code = "from keras_a2i.models import ExemplarGenerator; print(ExemplarGenerator.__name__)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "ExemplarGenerator\n"), result.stderr


def test_every_public_name_resolves_and_is_listed():
    for name in keras_a2i.__all__:
        assert getattr(keras_a2i, name) is not None
    assert set(keras_a2i.__all__) <= set(dir(keras_a2i))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        keras_a2i.nothing  # noqa: B018


@pytest.mark.parametrize("name", ["losses", "metrics", "models", "sources"])
def test_every_name_of_the_keras_rooms_resolves(name):
    module = importlib.import_module(f"keras_a2i.{name}")
    for public in getattr(module, "__all__", []):
        assert getattr(module, public).__doc__, public


def loaded_after(code):
    code += "; import sys; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


@pytest.mark.training
@pytest.mark.parametrize(
    "code",
    [
        "import keras_a2i",
        "import keras_a2i.cli.main",
        "from keras_a2i.cli import build_records, fit, sweep, inspect, export, generate, quickstart",
        "import keras_a2i.records.build, keras_a2i.sources, keras_a2i.sources.open_sources, keras_a2i.sources.video",
        "from keras_a2i.recipes import describe_recipe, recipe_names",
        "import keras_a2i.evaluation.compare, keras_a2i.evaluation.run_overview, keras_a2i.evaluation.report_html",
    ],
)
def test_importing_doesn_t_load_tensorflow(code):
    assert not loaded_after(code) & {"tensorflow", "keras", "pandas", "av", "jax", "torch", "distributed"}


def test_every_module_says_what_it_is_for():
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        assert not tree.body or ast.get_docstring(tree), path
