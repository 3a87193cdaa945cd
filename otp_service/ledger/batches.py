"""Work in pieces that a statement takes."""

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

MOST: Final = 512
"""Values of one statement: a power of two."""

Item = TypeVar("Item")


def batches(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """Yield the items in order, in pieces whose lengths are powers of two, at most `MOST`.

    A statement with a parameter for each item has one text for each length, and drivers keep what they prepared by its
    text, in each connection: for 500 events that is 430 KB. Of all lengths they would keep a hundred, of these ten.
    """
    begin = 0
    while left := len(items) - begin:
        size = min(MOST, 1 << (left.bit_length() - 1))
        yield items[begin : begin + size]
        begin += size
