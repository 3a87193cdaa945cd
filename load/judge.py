"""Judges a load run: reads what was written down, asks the API and the sink, settles the books, prints the table."""

import json
import socket
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import requests
from books import Books, Dispatch, Strike, Taken, Told, fate_of, settle, take_over
from figures import OBJECTIVES, Run, rows
from journal import read

PATIENCE = 60.0
"""Seconds after which what still waits is taken for stuck: more than the outbox's longest rest between two rounds."""
SHOWN = 20
"""Breaches that are printed."""
_READERS = 8
_ACCEPTED_STARTS = "otp_service_verification_starts_total{"


@dataclass(frozen=True)
class Place:
    """Where everything is."""

    folder: Path
    """Where what was done is written down."""
    base: str
    """Of the API."""
    api_key: str
    sink: str
    metrics: str
    """Of the API; its host name may stand for several processes on several addresses."""


def accepted_starts(place: Place) -> int:
    """Return how many starts the API's processes say that they accepted, all together."""
    parts = urlsplit(place.metrics)
    found = socket.getaddrinfo(parts.hostname, parts.port, socket.AF_INET, socket.SOCK_STREAM)
    texts = [_text(f"http://{address}:{port}{parts.path}") for *_, (address, port, *_) in found]
    lines = [line for text in texts for line in text.splitlines() if line.startswith(_ACCEPTED_STARTS)]
    return round(sum(float(line.rpartition(" ")[2]) for line in lines if 'outcome="accepted"' in line))


def judge(place: Place, before: int, title: str, longest_take_over: float = 0) -> int:
    """Settle everything and print it; return 1 when an objective is missed or the books do not balance.

    Once for so many seconds nobody may be answered, because another server takes Redis' place.
    """
    entries = read(place.folder / "calls.jsonl")
    strikes = _strikes(place.folder / "strikes.json")
    if longest_take_over and (replaced := take_over(entries, longest_take_over)):
        strikes.append(replaced)
    reported = {one.dispatch for one in _taken(place) if one.reported}  # those that come now may be told or not
    told = _told(place, {one.verification for one in entries if one.call == "start" and one.status == 201})  # noqa: PLR2004
    began = min((one.began for one in entries), default=0.0)
    of_run = (one for one in _taken(place) if one.at >= began)  # those before are an earlier run's
    taken = [replace(one, reported=one.dispatch in reported) for one in of_run]
    books = settle(entries, told, taken, strikes, accepted_starts(place) - before)
    report, missed = _report(Run(entries, taken, strikes), books, title)
    (place.folder / "report.md").write_text(report)
    print(report)
    return 1 if missed or books.breaches else 0


def _taken(place: Place) -> list[Taken]:
    return [Taken(**json.loads(line)) for line in _text(f"{place.sink}/calls").splitlines()]


def _strikes(path: Path) -> list[Strike]:
    return [Strike(**one) for one in json.loads(path.read_text())] if path.exists() else []


def _told(place: Place, verifications: Iterable[str]) -> dict[str, Told]:
    """Return what the API tells of each, once nothing waits any more, or the patience is over."""
    readers, until = threading.local(), time.monotonic() + PATIENCE
    found: dict[str, Told] = {}
    with ThreadPoolExecutor(_READERS) as pool:
        waiting = sorted(verifications)
        while waiting and time.monotonic() < until:
            answers = zip(waiting, pool.map(lambda one: _read(place, readers, one), waiting), strict=True)
            found |= {one: told for one, told in answers if told}
            waiting = [one for one in waiting if one in found and _waits(found[one])]
            time.sleep(1 if waiting else 0)
    return found


def _waits(told: Told) -> bool:
    return any(fate_of(told, message) == "missing" for message in {one.message for one in told.dispatches})


def _read(place: Place, readers: threading.local, verification: str) -> Told | None:
    if not hasattr(readers, "session"):
        readers.session = requests.Session()
        readers.session.headers["Authorization"] = f"Bearer {place.api_key}"
    answer = readers.session.get(f"{place.base}/v1/verifications/{verification}", timeout=30)
    if answer.status_code != 200:  # noqa: PLR2004 - HTTP's
        return None
    body = answer.json()
    return Told(body["status"], tuple(_dispatch(one) for one in body["deliveries"]))


def _dispatch(told: dict[str, str]) -> Dispatch:
    begun = datetime.fromisoformat(told["begun_at"]).timestamp()
    return Dispatch(int(told["message"]), told["gateway"] or "", told["status"], told["reason"] or "", begun)


def _text(url: str) -> str:
    answer = requests.get(url, timeout=60)
    answer.raise_for_status()
    return answer.text


def _report(run: Run, books: Books, title: str) -> tuple[str, list[str]]:
    """Return the report, and the names of the objectives that were missed."""
    lines = [title, "", "| scenario | call | answers | ms p50/p95/p99 | answered |"]
    lines += ["|---|---|---:|---:|---|", *(f"| {' | '.join(row)} |" for row in rows(run)), ""]
    lines += ["| objective | measured | limit | |", "|---|---:|---:|---|"]
    missed: list[str] = []
    for one in OBJECTIVES:
        value = one.measure(run)
        missed += [] if one.met(value) else [one.name]
        bound = f"{'at least' if one.at_least else 'at most'} {one.limit:g} {one.unit}".strip()
        lines.append(f"| {one.name} | {value:.3g} {one.unit} | {bound} | {'met' if one.met(value) else '**missed**'} |")
    lines += [
        "",
        "| the books | |",
        "|---|---:|",
        *(f"| {name} | {count:,} |" for name, count in books.figures.items()),
    ]
    if run.strikes:
        lines += ["", "Failures that were caused:"]
    lines += ["", *(f"- {one.what}: {one.ended - one.began:.1f} s" for one in run.strikes)]
    lines += [f"- BREACH {one}" for one in books.breaches[:SHOWN]]
    balance = f"{len(books.breaches)} breaches" if books.breaches else "The books balance"
    lines += ["", f"{balance}; {'missed: ' + '; '.join(missed) if missed else 'every objective is met'}."]
    return "\n".join(lines), missed
