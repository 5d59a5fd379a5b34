"""Settings of a recipe as they are typed: NAME=VALUE, and for several values NAME=VALUE,VALUE."""

import contextlib
import re
from collections.abc import Sequence

from keras_a2i.errors import UsageError
from keras_a2i.recipes.ranges import Range

_RANGE = re.compile(r"(?P<low>[-+\d.eE]+?)\.\.(?P<high>[-+\d.eE]+?)(?P<log>:log)?")


def parse_settings(settings: Sequence[str]) -> dict[str, object]:
    """Reads NAME=VALUE texts: whole numbers, numbers, true and false, lists of numbers separated by commas, or text.

    Raises:
        UsageError: if a text has no equals sign.
    """
    return {name: values[0] if len(values) == 1 else values for name, values in map(_parse, settings)}


def parse_grid(settings: Sequence[str], takes_list) -> dict[str, list[object]]:
    """Reads NAME=VALUE,VALUE texts into the values of each setting; those of a name that is repeated are joined.

    Args:
        settings: the texts. LOW..HIGH is a range of numbers, LOW..HIGH:log one of their logarithms.
        takes_list: whether a value of the setting of a name is itself a list; then a text holds one value.

    Raises:
        UsageError: if a text has no equals sign, or the ends of a range aren't in order.
    """
    found: dict[str, list[object]] = {}
    for name, values in map(_parse, settings):
        if takes_list(name):
            found.setdefault(name, []).append(values)
        else:
            found.setdefault(name, []).extend(_parse_range(value) for value in values)
    return found


def as_typed(value: object) -> str:
    """A value in the form that --set accepts."""
    if isinstance(value, tuple | list):
        return ",".join(map(as_typed, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse(setting: str) -> tuple[str, tuple[object, ...]]:
    name, equals, text = setting.partition("=")
    if not equals:
        raise UsageError(f"--set must be given NAME=VALUE. Received: {setting!r}")
    return name, tuple(_parse_value(part) for part in text.split(","))


def _parse_value(text: str) -> object:
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return {"true": True, "false": False}.get(text.lower(), text)


def _parse_range(value: object) -> object:
    match = _RANGE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    low, high = _parse_value(match["low"]), _parse_value(match["high"])
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return value
    return Range(low, high, log=bool(match["log"]))
