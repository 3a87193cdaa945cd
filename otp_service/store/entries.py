"""Entries of streams that each bucket has its own of: their names tell the bucket, for entries may share a time."""

from collections.abc import Collection

_END = 2**64
"""What Redis keeps the parts of an entry in."""


def name_of(bucket: str, entry: str) -> str:
    """Return how an operator names an entry: bucket, a colon, the entry."""
    return f"{bucket}:{entry}"


def entry_of(name: str, buckets: Collection[str]) -> tuple[str, str] | None:
    """Return bucket and entry of a name; ``None`` when it is none of these buckets."""
    bucket, _, entry = name.partition(":")
    return (bucket, entry) if bucket in buckets and _is_entry(entry) else None


def _is_entry(text: str) -> bool:
    milliseconds, _, sequence = text.partition("-")
    return all(part.isdecimal() and part.isascii() and int(part) < _END for part in (milliseconds, sequence))
