"""What commands print: rich in a terminal, plain text in a pipe."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text


def is_terminal() -> bool:
    """Tell whether a person reads standard output."""
    return sys.stdout.isatty()


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under headings; in a pipe with tabs between, for ``cut``."""
    if not is_terminal():
        for row in rows:
            click.echo("\t".join(row))
        return
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        shown.add_column(heading, overflow="fold")
    for row in rows:
        shown.add_row(*map(Text, row))
    Console().print(shown)


def done(sentence: str) -> None:
    """Print that something went well."""
    click.secho(sentence, fg="green")


def note(sentence: str) -> None:
    """Print an explanation, beside what a script would read."""
    click.secho(sentence, dim=True, err=True)


def warn(sentence: str) -> None:
    """Print what should not be overlooked, on standard error."""
    click.secho(f"Warning: {sentence}", fg="yellow", err=True)


def duration(seconds: int) -> str:
    """Return seconds in the two largest units that they have: ``10 min``, ``1 d``, ``23 h 59 min``."""
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        amount, seconds = divmod(seconds, length)
        if amount:
            parts.append(f"{amount} {unit}")
    return " ".join(parts[:2]) or "0 s"


def moment(milliseconds: int) -> str:
    """Return a time since the epoch as people read it, in UTC: ``2026-11-24 22:00:05``."""
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def toml(value: Any) -> str:  # noqa: ANN401 - a tree of plain values
    """Return a plain value in TOML's notation: strings, numbers, booleans, lists and inline tables."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(name)} = {toml(member)}' for name, member in value.items())} }}"
    return str(value)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'


def _key(name: str) -> str:
    plain = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return name if plain else _quoted(name)


def toml_document(tree: dict[str, Any], prefix: str = "") -> Iterable[str]:
    """Yield the lines of a TOML document: plain members first, then each table under its heading."""
    for name, value in tree.items():
        if not isinstance(value, dict) and not _is_tables(value):
            yield f"{_key(name)} = {toml(value)}"
    for name, value in tree.items():
        path = f"{prefix}{_key(name)}"
        if isinstance(value, dict):
            yield from ("", f"[{path}]", *toml_document(value, f"{path}."))
        elif _is_tables(value):
            for row in value:
                yield from ("", f"[[{path}]]", *toml_document(row, f"{path}."))


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)
