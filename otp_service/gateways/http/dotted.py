"""Values in JSON by dotted paths: ``messages.0.status``."""

import json
from typing import Any

Scalar = str | int | float | bool | None


def value_at(document: str | bytes, path: str) -> str | None:
    """Return a value of a document as text; ``None`` when there is none, or the document is not JSON."""
    try:
        value: Any = json.loads(document)
        for step in path.split("."):
            value = value[int(step)] if isinstance(value, list) else value[step]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return as_text(value)


def as_text(value: Any) -> str:  # noqa: ANN401 - whatever JSON is
    """Return a value as it is compared: ``0`` and ``"0"`` are equal."""
    return value if isinstance(value, str) else json.dumps(value)


def leaves(value: Any, path: str = "") -> list[tuple[str, str]]:  # noqa: ANN401 - whatever JSON is
    """Return the strings in a JSON value with their paths."""
    if isinstance(value, str):
        return [(path, value)]
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    return [leaf for name, member in members for leaf in leaves(member, f"{path}.{name}".lstrip("."))]
