"""Tables, notes, warnings, progress and JSON on the terminal."""

import json
import os
import shlex
import shutil
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import click
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from otp_service.domain import phrases
from otp_service.domain.phrases import duration, plain_text
from otp_service.settings import Settings, load_settings
from otp_service.settings.loader import CONFIG_VARIABLE
from otp_service.telemetry.logging import has_colours

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


config_option = click.option("--config", "path", type=FILE, help=f"Configuration file; default: ${CONFIG_VARIABLE}.")


def settings_for_children(path: Path | None, *, root_keys: bool = True) -> Settings:
    """Return the settings, and name their file in the environment of later child processes."""
    settings = load_settings(path, root_keys=root_keys)
    if path:
        os.environ[CONFIG_VARIABLE] = str(path.resolve())
    return settings


_NAME = "otp-service"
_GAP = "  "
"""Between the cells of a line."""
_DOCUMENT = "otp_service.document"
"""Names the document of ``--json`` in click's context; absent without ``--json``."""
_POLL_INTERVAL: Final = 0.1
"""Seconds between two updates of a bar; shorter work shows none."""
_FIRST_REPORT_AFTER: Final = 5.0
_REPORT_EVERY: Final = 60.0


class Labelled(NamedTuple):
    """A value, and the text that people read in its place."""

    value: Any
    text: str


_T = TypeVar("_T")
Cell = str | int | datetime | timedelta | Sequence[str] | Labelled | None
Row = tuple[Cell, ...]


def is_terminal() -> bool:
    return sys.stdout.isatty()


@contextmanager
def json_document() -> Iterator[None]:
    """Collect the members of `in_json`, and print them as a document.

    A foreseen error leaves standard output empty, unless the document reports it (`doctor`).
    """
    document = click.get_current_context().meta[_DOCUMENT] = {}
    try:
        yield
    finally:
        if document and isinstance(sys.exception(), SystemExit | click.ClickException | None):
            print_json(document)


def in_json(**members: Any) -> bool:  # noqa: ANN401 - whatever JSON holds
    """Add members to the document of ``--json``; return false without ``--json``."""
    document = click.get_current_context().meta.get(_DOCUMENT)
    if document is not None:
        document.update(members)
    return document is not None


def print_json(document: Any) -> None:  # noqa: ANN401 - whatever JSON holds
    """Print a document as JSON: times as RFC 3339 in UTC, spans of time in seconds."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False, default=_json_value))


def _json_value(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds").replace("+00:00", "Z")
    return value.total_seconds() if isinstance(value, timedelta) else sorted(value)  # type: ignore[call-overload]


def table(name: str, headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """Print rows under headings, separated by tabs in a pipe; in JSON as the member ``name``.

    No cell is broken or cut off, so that it can be copied: in a terminal that is too narrow each row takes several
    lines, with the headings before the cells.
    """
    cells = list(rows)
    if in_json(**{name: records(headings, cells)}):
        return
    texts = [[_text(cell) for cell in row] for row in cells]
    if not is_terminal():
        for row in (headings, *texts):
            click.echo("\t".join(row))
    elif widths := _widths(headings, texts):
        _print_table(headings, texts, widths)
    else:
        for row in texts:
            first, *others = (f"{name}: {cell}" for name, cell in zip(headings, row, strict=True) if cell != "-")
            click.echo(join_in_lines([click.style(first, bold=True), *others]))


def records(headings: Sequence[str], rows: Iterable[Sequence[Cell]]) -> list[dict[str, Any]]:
    """Return rows for JSON, each cell under its heading's name: ``Last used`` is ``last_used``."""
    names = [heading.lower().replace(" ", "_").replace("-", "_") for heading in headings]
    return [dict(zip(names, map(_value, row), strict=True)) for row in rows]


def members(instance: Any) -> dict[str, Any]:  # noqa: ANN401 - any dataclass
    """Return the fields of a dataclass for JSON."""
    return {name: _value(value) for name, value in asdict(instance).items()}


def _value(cell: Cell) -> Any:  # noqa: ANN401 - whatever JSON holds
    if isinstance(cell, Labelled):
        return cell.value
    return None if cell == "" else cell


def _text(cell: Cell) -> str:
    match cell:
        case Labelled():
            return cell.text
        case None | "":
            return "-"
        case str() | int() | datetime() | timedelta():
            return plain_text(cell)
        case _:
            return ",".join(cell) or "-"


def _columns() -> int:
    return shutil.get_terminal_size().columns


def _widths(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the widths of the columns, none if they do not fit; narrow columns break headings between words."""
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
    columns, lines = shutil.get_terminal_size()  # without the lines, rich gives a dumb terminal 80 columns
    Console(width=columns, height=lines, color_system="auto" if has_colours() else None).print(shown)


def join_in_lines(parts: Sequence[str]) -> str:
    """Join parts, in a terminal in as many lines as they need; no part is broken."""
    lines = [parts[0]]
    for part in parts[1:]:
        longer = f"{lines[-1]}{_GAP}{part}"
        if is_terminal() and cell_len(click.unstyle(longer)) > _columns():
            lines.append(f"{_GAP}{part}")
        else:
            lines[-1] = longer
    return "\n".join(lines)


def wrap(text: str, indent: int = 0) -> str:
    """Wrap a text for a terminal, the lines after the first indented."""
    if not is_terminal():
        return text
    return textwrap.fill(
        text, _columns(), subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )


def done(sentence: str, **members: Any) -> None:  # noqa: ANN401 - whatever JSON holds
    """Print the result as a sentence; in JSON, add members to the document instead."""
    if not in_json(**members):
        click.secho(sentence, fg="green")


def note(sentence: str) -> None:
    """Print an explanation on standard error; nothing in JSON."""
    if not in_json():
        click.secho(sentence, dim=True, err=True)


def warn(sentence: str) -> None:
    click.secho(f"Warning: {sentence}", fg="yellow", err=True)


@contextmanager
def progress(label: str, seen: Callable[[], int], total: int | None = None) -> Iterator[None]:
    """Show progress, rate and remaining time on standard error.

    A terminal shows a bar; other outputs get a line after some seconds, and another every minute.
    """
    ended = threading.Event()
    has_bar = sys.stderr.isatty() and not Console(stderr=True).is_dumb_terminal
    showing = threading.Thread(target=_show_bar if has_bar else _report, args=(ended, label, seen, total), daemon=True)
    showing.start()
    try:
        yield
    finally:
        ended.set()
        showing.join()


def track(label: str, items: Iterable[_T], total: int | None = None) -> Generator[_T, None, None]:
    """Yield items, and show the `progress`; close the generator if it may not be exhausted."""
    taken = 0
    with progress(label, lambda: taken, total):
        for taken, item in enumerate(items, 1):  # noqa: B007 - the lambda reads it
            yield item


def _show_bar(ended: threading.Event, label: str, seen: Callable[[], int], total: int | None) -> None:
    if ended.wait(_POLL_INTERVAL):
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    console = Console(stderr=True, color_system="auto" if has_colours() else None)
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as shown:
        task = shown.add_task(label, total=total)
        while not ended.wait(_POLL_INTERVAL):
            shown.update(task, completed=seen())


class _Rate(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f}/s")


def _report(ended: threading.Event, label: str, seen: Callable[[], int], total: int | None) -> None:
    begun, wait = time.monotonic(), _FIRST_REPORT_AFTER
    while not ended.wait(wait):
        count, spent, wait = seen(), time.monotonic() - begun, _REPORT_EVERY
        of_all = "" if total is None else f" of {total:,}"
        left = "" if total is None or not count else f", {duration(round((total - count) * spent / count))} left"
        click.echo(f"{label}: {count:,}{of_all}, {count / spent:,.0f} a second{left}", err=True)


def program() -> str:
    """Return this command for a shell: its name, or the path that it was started with."""
    started_as, in_path = Path(sys.argv[0]), shutil.which(_NAME)
    is_path = started_as.name == _NAME and started_as.parent != Path() and os.access(started_as, os.X_OK)
    if not is_path or (in_path and Path(in_path).samefile(started_as)):
        return _NAME
    return shlex.quote(sys.argv[0])


def unread_environment() -> str:
    """Return a hint for a shell without settings, if ``dev`` was run in this folder."""
    if "OTP_SERVICE_CONFIG" in os.environ or not Path(".otp-service/env").is_file():
        return ""
    return "For the service of make run in this folder, read its settings first: . .otp-service/env"


def count_of(count: int, noun: str) -> str:
    """Return a count with its noun: ``1 line``, ``2 lines``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def time_left(milliseconds: int) -> str:
    """Return a remaining time, rounded up to seconds."""
    return duration(-(-milliseconds // 1000))


def moment(milliseconds: int) -> str:
    """Format a time since the epoch in UTC: ``2026-11-24 22:00:05``."""
    return plain_text(phrases.moment(milliseconds))


def when(milliseconds: int | None) -> datetime | None:
    """Return a time since the epoch, for a cell; ``None`` for none."""
    return None if milliseconds is None else phrases.moment(milliseconds)


def span(milliseconds: int) -> timedelta | None:
    """Return a span of time, for a cell; ``None`` for 0."""
    return timedelta(milliseconds=milliseconds) if milliseconds else None


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
