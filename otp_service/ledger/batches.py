"""Work in pieces that a statement takes."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

MOST = 500
"""Values of one statement."""

Item = TypeVar("Item")


def batches(items: Sequence[Item], size: int = MOST) -> Iterator[Sequence[Item]]:
    """Yield the items in pieces of at most ``size``."""
    for begin in range(0, len(items), size):
        yield items[begin : begin + size]
