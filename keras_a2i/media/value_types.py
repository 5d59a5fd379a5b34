"""Checks that values which were read from a file have the types that a dataclass declares."""

import dataclasses
import types
import typing
from typing import Any


def check_types(instance: Any) -> None:
    """Checks every field of a dataclass against its declared type, lists and dictionaries down to their elements.

    Raises:
        TypeError: names the field and its value.
    """
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        if not _is_of(value, field.type):
            raise TypeError(f"{field.name} is {str(value)[:80]!r}")


def _is_of(value: Any, declared: Any) -> bool:
    if declared is Any:
        return True
    origin, parts = typing.get_origin(declared) or declared, typing.get_args(declared)
    if origin in (types.UnionType, typing.Union):
        return any(_is_of(value, part) for part in parts)
    if origin is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(value, origin) or (isinstance(value, bool) and origin is not bool):
        return False
    if origin is list:
        return all(_is_of(element, parts[0]) for element in value)
    if origin is dict:
        return all(_is_of(key, parts[0]) and _is_of(element, parts[1]) for key, element in value.items())
    return True
