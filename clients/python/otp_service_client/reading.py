"""Answers of the service, read into dataclasses."""

import types
from collections.abc import Mapping
from dataclasses import is_dataclass
from datetime import datetime
from functools import cache
from typing import Any, NoReturn, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


class Result:
    """The result of a check: read `valid`. `NoReturn` makes type checkers flag a test of the result itself."""

    def __bool__(self) -> NoReturn:
        raise TypeError("a result is neither true nor false: look at its member valid (of a page: at status and id)")


def read_answer(kind: type[T], value: Any) -> T:  # noqa: ANN401 - whatever JSON holds
    """Return JSON as an object of a type; unknown members are ignored, a missing one is `None`.

    Raises `ValueError` or `TypeError` where it does not fit.
    """
    read: T = _read(kind, value)
    return read


def _read(kind: Any, value: Any) -> Any:  # noqa: ANN401
    if isinstance(kind, type) and is_dataclass(kind) and isinstance(value, dict):
        return kind(**{name: _read(hint, value.get(name)) for name, hint in _members(kind).items()})
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is types.UnionType:  # with None
        return None if value is None else _read(arguments[0], value)
    if origin is tuple and isinstance(value, list):
        return tuple(_read(arguments[0], element) for element in value)
    if kind is datetime:
        return datetime.fromisoformat(value)
    expected = kind if kind in {str, int, bool} else dict
    if not isinstance(value, expected):
        raise TypeError("another type than expected")
    return value


@cache
def _members(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)
