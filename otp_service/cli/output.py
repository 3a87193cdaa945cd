"""What commands print: rich in a terminal, plain text in a pipe."""

import os
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_NAME = "otp-service"
_GAP = "  "
"""Between cells that stand beside each other."""


def is_terminal() -> bool:
    """Tell whether a person reads standard output."""
    return sys.stdout.isatty()


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under headings; in a pipe with tabs between, for ``cut``.

    No cell is broken or cut off, so that it can be copied: where a terminal is too narrow for that, each row is told in
    as many lines as it needs, with the headings before the cells.
    """
    rows = list(rows)
    if not is_terminal():
        for row in rows:
            click.echo("\t".join(row))
    elif widths := _widths(headings, rows):
        _print_table(headings, rows, widths)
    else:
        for row in rows:
            first, *others = (f"{name}: {cell}" for name, cell in zip(headings, row, strict=True) if cell != "-")
            click.echo(in_lines([click.style(first, bold=True), *others]))


def _columns() -> int:
    return shutil.get_terminal_size().columns


def _widths(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the widths of the columns, none when they do not fit; headings are broken between words where need be."""
    columns = list(zip(headings, *rows, strict=True))
    widths = [max(map(cell_len, (*heading.split(), *cells))) for heading, *cells in columns]
    spare = _columns() - sum(widths) - len(_GAP) * (len(widths) - 1)
    if spare < 0:
        return []
    for place, (heading, *_) in enumerate(columns):
        wish = max(0, cell_len(heading) - widths[place])
        if wish <= spare:
            widths[place] += wish
            spare -= wish
    return widths


def _print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> None:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for heading, width in zip(headings, widths, strict=True):
        shown.add_column(heading, width=width)
    for row in rows:
        shown.add_row(*map(Text, row))
    Console(width=_columns()).print(shown)


def in_lines(parts: Sequence[str]) -> str:
    """Return parts beside each other, in a terminal in as many lines as they need; no part is broken."""
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]}{_GAP}{part}"
        if is_terminal() and cell_len(click.unstyle(longer)) > _columns():
            lines.append(f"{_GAP}{part}")
        else:
            lines[-1] = longer
    return "\n".join(lines)


def wrapped(text: str, indent: int = 0) -> str:
    """Return a text with line breaks between words where a terminal needs them, the lines after the first indented."""
    if not is_terminal():
        return text
    return textwrap.fill(
        text, _columns(), subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )


def done(sentence: str) -> None:
    """Print that something went well."""
    click.secho(sentence, fg="green")


def note(sentence: str) -> None:
    """Print an explanation, beside what a script would read."""
    click.secho(sentence, dim=True, err=True)


def warn(sentence: str) -> None:
    """Print what should not be overlooked, on standard error."""
    click.secho(f"Warning: {sentence}", fg="yellow", err=True)


def program() -> str:
    """Return how a shell finds this command: by its name, or by the path that it was started with."""
    started_as, found = Path(sys.argv[0]), shutil.which(_NAME)
    is_path = started_as.name == _NAME and started_as.parent != Path() and os.access(started_as, os.X_OK)
    if not is_path or (found and Path(found).samefile(started_as)):
        return _NAME
    return shlex.quote(sys.argv[0])


def counted(count: int, thing: str) -> str:
    """Return how many things there are: ``1 line``, ``2 lines``."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


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
