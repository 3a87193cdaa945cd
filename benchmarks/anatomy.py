"""Where the time of a request goes, function by function: calls of the whole application in this process, profiled.

Profiling makes what calls much look larger than it is; read it as a ranking. What the server (granian) spends around a
call is not in it.
"""

import cProfile
import pstats
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from wsgiref.types import WSGIApplication, WSGIEnvironment

import redis
from calls import Calls, answer
from seeding import BenchSettings, forget_messages

_ROOT = Path(__file__).resolve().parents[1]
_CALLS, _WARM = 2000, 200
_PARTS = (
    ("Redis: sending, waiting, reading", ("hiredis", "redis/", "socket", "store/script_runner.py")),
    ("the number: parsing and judging it", ("phonenumbers", "domain/numbers.py", "destination")),
    ("keys: codes, tags, pseudonyms, sealing", ("hmac", "hashlib", "cryptography", "keyring")),
    ("the line in the log", ("structlog", "telemetry/logging", "telemetry/redaction", "json/", "_io")),
    ("metrics", ("prometheus", "telemetry/metrics")),
    ("what the script is given and answers", ("otp_service/store",)),
    ("reading the request, writing the answer", ("otp_service/api", "pydantic", "werkzeug", "flask")),
    ("the use case", ("otp_service/services", "otp_service/domain", "dataclasses", "enum.py")),
)
"""Parts of the work, and what the names of their files or built-ins hold; the first that fits counts."""
_REST = "the rest of Python"


@dataclass(frozen=True)
class Anatomy:
    """The shares of one call."""

    call: str
    parts: dict[str, float]
    """Share of the time, by part."""
    functions: list[tuple[str, float]]
    """The functions that took most by themselves, and their shares."""


def anatomies(client: redis.Redis, settings: BenchSettings, folder: Path) -> list[Anatomy]:
    """Take a start and a check apart."""
    with ExitStack() as stack:
        calls = Calls(stack, settings, folder)
        forget_messages(client)
        checks = calls.checks(_CALLS)
        return [_profiled("start", calls.app, calls.starts(_CALLS)), _profiled("check", calls.app, checks)]


def _profiled(call: str, app: WSGIApplication, requests: Sequence[WSGIEnvironment]) -> Anatomy:
    profile = cProfile.Profile()
    for place, environ in enumerate(requests):
        if place == _WARM:
            profile.enable()
        answer(app, environ)
    profile.disable()
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    own = {f"{file}:{name}": time for (file, _, name), (_, _, time, _, _) in stats.items()}
    whole, parts = sum(own.values()), dict.fromkeys([*(part for part, _ in _PARTS), _REST], 0.0)
    for name, time in own.items():
        parts[_part(_short(name))] += time / whole
    most = sorted(own.items(), key=lambda one: -one[1])[:4]
    return Anatomy(call, parts, [(_short(name), time / whole) for name, time in most])


def _part(name: str) -> str:
    return next((part for part, marks in _PARTS if any(mark in name for mark in marks)), _REST)


def _short(name: str) -> str:
    """Return a function's name without the folders of this machine."""
    installed = name.rpartition("site-packages/")[2].rpartition("/lib/python")[2]
    return installed.removeprefix(f"{_ROOT}/").removeprefix("~:")
