"""The settings of a recipe by name, read without Keras from the files that define them.

Importing a recipe imports Keras and TensorFlow, which takes seconds; a mistyped setting is to be refused at once. What
can only be checked by the classes themselves, such as values that don't fit together, they still check.
"""

import ast
import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from keras_a2i.config import check_field, choice, flag, number, whole, wholes
from keras_a2i.errors import ConfigError, UsageError, did_you_mean
from keras_a2i.models.network_part import check_size
from keras_a2i.records.augmentation import Augmentation

PARTS = ("encoder", "generator", "augmentation")
FIXED = ("name", "task")
WEIGHT: Any = number(0.0, 0, 1e6)
"""The field of the weight of an objective, which is the setting of its id."""
NO_SETTINGS = ("weight", "name", "kwargs", "batch_size", "seed")
"""Arguments of an objective that aren't settings of their own."""
_MAKERS: dict[str, Callable[..., Any]] = {each.__name__: each for each in (number, whole, wholes, flag, choice)}
_PACKAGE = pathlib.Path(__file__).parents[1]


def check_settings(recipe: str, settings: Mapping[str, Any]) -> None:
    """Checks the names of settings of a recipe, and those values that a rule of their own holds for.

    These are the settings of the training, the network and the augmentation, and the weights of objectives. Other
    arguments of an objective, and whether settings fit together, are left to `get_recipe`, which raises the same errors
    for what is refused here.

    Args:
        recipe: its name.
        settings: name of a setting -> value, as for `get_recipe`.

    Raises:
        UsageError: if there is no such setting, or a value is out of range.
    """
    known = setting_fields(recipe)
    for given, value in settings.items():
        if given == "size":
            check_size(value)
        elif given not in (*PARTS, "objectives"):
            name = full_name(given, list(known))
            if isinstance(known[name].default, tuple):
                value = tuple(value) if isinstance(value, list | tuple) else (value,)
            part, _, own = name.rpartition(".")
            if known[name] is WEIGHT:
                check_weight(name, value)
            elif part == "augmentation":
                # Its class needs no Keras.
                Augmentation(**{own: value})
            else:
                check_field(known[name], own, value)


def check_weight(id_: str, weight: Any) -> None:
    """Raises a ConfigError unless the weight of the objective of an id is in range."""
    if not WEIGHT.metadata["check"](weight):
        raise ConfigError(f"The weight of {id_} must {WEIGHT.metadata['rule']}. Received: {id_}={weight!r}")


def takes_list(recipe: str, name: str) -> bool:
    """Whether a value of a setting of a recipe is a list of numbers, such as the channels of each layer.

    Raises:
        UsageError: if there is no such setting.
    """
    known = setting_fields(recipe)
    return name != "size" and isinstance(known[full_name(name, list(known))].default, tuple)


def full_name(given: str, names: list[str]) -> str:
    """Returns the full name of a setting that may be given without its part.

    Args:
        given: the name, such as "encoder.channels" or "channels".
        names: the full names of all settings, as of `list_settings`.

    Raises:
        UsageError: if there is no such setting, or several share the name.
    """
    if given in names:
        return given
    matches = [name for name in names if name.rpartition(".")[2] == given]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise UsageError(
            f"A setting must be given in full where several share its name. Received: {given!r}. "
            f"Choose between {', '.join(matches)}"
        )
    short = {name.rpartition(".")[2]: name for name in names}
    hint = did_you_mean(given, [*names, *short], "keras-a2i recipes NAME lists them")
    raise UsageError(f"A recipe has no such setting. Received: {given!r}. {hint}")


def setting_fields(recipe: str) -> dict[str, Any]:
    """Returns the settings of a recipe: full name -> `dataclasses.Field` with its default, and its rule if it has one.

    Args:
        recipe: its name. The names are those of `list_settings`, in its order.
    """
    module = f"keras_a2i.recipes.{recipe.replace('-', '_')}"
    own = _fields("keras_a2i.recipes.recipe", "Recipe")
    found = {name: own[name] for name in own if name not in (*FIXED, *PARTS, "objectives")}
    for part in ("encoder", "generator"):
        found |= {f"{part}.{name}": field for name, field in _fields(*_class_of(module, part)).items()}
    found |= {f"augmentation.{field.name}": field for field in dataclasses.fields(Augmentation)}
    for defining, name, _ in _imports("keras_a2i.objectives"):
        # Beside classes the package imports functions and the registry.
        if re.match("[A-Z].*[a-z]", name):
            found |= _objective(defining, name)
    return found


def _class_of(module: str, part: str) -> tuple[str, str]:
    """The module and the name of the class of a recipe's part, or of that of the recipe that it changes."""
    call = _assigned(_tree(module))["RECIPE"]
    assert isinstance(call, ast.Call)
    for keyword in call.keywords:
        if keyword.arg == part and isinstance(keyword.value, ast.Call):
            return _defined(module, ast.unparse(keyword.value.func))
    # dataclasses.replace(ANOTHER, ...)
    return _class_of(_defined(module, ast.unparse(call.args[0]))[0], part)


def _objective(module: str, name: str) -> dict[str, Any]:
    """The settings of an objective; {} for another class."""
    definition = _definition(module, name)
    if definition is None or "register_objective" not in map(ast.unparse, definition.decorator_list):
        return {}
    id_ = ast.literal_eval(_assigned(definition)["id"])
    found = {id_: WEIGHT}
    for argument, default in _defaults(module, name):
        if argument not in NO_SETTINGS:
            found[f"{id_}.{argument}"] = _field(default)
    return found


def _defaults(module: str, name: str) -> list[tuple[str, ast.expr | None]]:
    """The arguments of a class that have a default, by its `__init__` or that of its first base class with one."""
    definition = _definition(module, name)
    for each in definition.body if definition else ():
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            given, positional = each.args, [*each.args.posonlyargs, *each.args.args]
            with_default = positional[len(positional) - len(given.defaults) :]
            arguments = [*with_default, *given.kwonlyargs]
            defaults = [*given.defaults, *given.kw_defaults]
            return [(argument.arg, default) for argument, default in zip(arguments, defaults, strict=True)]
    for base in definition.bases if definition else ():
        if found := _defaults(*_defined(module, ast.unparse(base))):
            return found
    return []


def _fields(module: str, name: str) -> dict[str, Any]:
    """The fields of a dataclass of the package, those of its base classes first; {} for a class of another one."""
    definition = _definition(module, name)
    found: dict[str, Any] = {}
    for base in definition.bases if definition else ():
        found |= _fields(*_defined(module, ast.unparse(base)))
    for each in definition.body if definition else ():
        if isinstance(each, ast.AnnAssign) and "ClassVar" not in ast.unparse(each.annotation):
            found[ast.unparse(each.target)] = _field(each.value)
    return found


def _field(value: ast.expr | None) -> Any:
    """The field of a literal, or of a call such as `whole(64)`; one without default and rule of anything else."""
    try:
        if isinstance(value, ast.Call):
            named = {keyword.arg or "": ast.literal_eval(keyword.value) for keyword in value.keywords}
            return _MAKERS[ast.unparse(value.func)](*map(ast.literal_eval, value.args), **named)
        return dataclasses.field(default=ast.literal_eval(value or ast.Constant(None)))
    except (KeyError, ValueError):
        return dataclasses.field(default=None)


def _assigned(node: ast.Module | ast.ClassDef) -> dict[str, ast.expr]:
    """The values of the names that a module or a class assigns."""
    found = {ast.unparse(each.targets[0]): each.value for each in node.body if isinstance(each, ast.Assign)}
    annotated = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    return found | {ast.unparse(each.target): each.value for each in annotated if each.value is not None}


def _definition(module: str, name: str) -> ast.ClassDef | None:
    """The definition of a class of the package; None for one of Keras or of Python.

    Raises:
        LookupError: if the module doesn't define a class of this package.
    """
    for each in _tree(module).body:
        if isinstance(each, ast.ClassDef) and each.name == name:
            return each
    if module.partition(".")[0] == _PACKAGE.name and name.isidentifier():
        raise LookupError(
            f"The class {name} must be defined in {module.replace('.', '/')}.py, where its settings are read without "
            "Keras. Received: no such class there. docs/contributing.md states where each kind of class lies"
        )
    return None


def _defined(module: str, name: str) -> tuple[str, str]:
    """The module that defines a name of a module, and the name there."""
    return next(((place, own) for place, own, here in _imports(module) if here == name), (module, name))


def _imports(module: str) -> Iterator[tuple[str, str, str]]:
    """The names that a module imports: the module of each, the name there, and the one here."""
    for node in _tree(module).body:
        for alias in node.names if isinstance(node, ast.ImportFrom) else ():
            place = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
            if place == "keras_a2i.models":
                # The package imports WordEncoder from word_encoder.py.
                place += "." + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", alias.name).lower()
            yield place, alias.name, alias.asname or alias.name


@functools.cache
def _tree(module: str) -> ast.Module:
    path = _PACKAGE.joinpath(*module.split(".")[1:])
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    # Classes of Keras and of Python have no settings.
    return ast.parse(path.read_text(encoding="utf-8") if path.is_file() else "")
