"""What stands in a section whose members only its kind knows."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel


def leaves(value: Any, place: str, *, tables: bool = True) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - a kind's own
    """Yield place and value of every member of a section, of sections and lists in it too.

    ``tables``: of free tables as well, such as the parameters of a template, where anything may stand.
    """
    match value:
        case BaseModel():
            fields = type(value).model_fields.items()
            below: Any = ((field.alias or name, getattr(value, name)) for name, field in fields)
        case Mapping():
            below = value.items() if tables else ()
        case list() | tuple():
            below = enumerate(value)
        case _:
            yield place, value
            return
    for step, member in below:
        yield from leaves(member, f"{place}.{step}", tables=tables)
