"""What-if: other rules on recorded starts, in a thread; nothing is sent, counted or changed."""

import secrets
import time
import tomllib
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from otp_service.bootstrap import Installation, install
from otp_service.console.accounts import Permission
from otp_service.console.requests import Answer, ConsoleRequest, FormError, Views
from otp_service.domain.phrases import Phrase
from otp_service.errors import ConfigurationError, NotFoundError
from otp_service.services.what_if import Comparison, TriedRules, notes, what_if
from otp_service.settings import Settings
from otp_service.settings.sources import merge

views = Views()
SECTIONS: Final = ("guard", "limits")
"""Sections that may be changed."""
MAX_RULES: Final = 20_000
"""Characters."""
_RESULT_LIFE: Final = 1800.0
"""Seconds."""
_MAX_RUNS: Final = 8
_BUSY: Final = 503


@dataclass(frozen=True, slots=True)
class _Try:
    user: tuple[str, int]
    """Name and version: after a change the user may see other applications."""
    begun: float
    """By the monotonic clock."""
    rules: str
    result: Future[Comparison]


_tries: dict[str, _Try] = {}
_runner = ThreadPoolExecutor(max_workers=1, thread_name_prefix="what-if")


@views.view("GET /fraud/what-if", Permission.EXACT, title="What if")
def show_form(visit: ConsoleRequest) -> Answer:
    return visit.page("what_if.html", rules=visit.text_field("rules", MAX_RULES))


@views.view("POST /fraud/what-if", Permission.EXACT)
def begin(visit: ConsoleRequest) -> Answer:
    rules = visit.text_field("rules", MAX_RULES)
    try:
        tried = changed_settings(visit.settings, rules)
    except RecursionError as deep:
        raise FormError("These rules are nested too deeply.") from deep
    except (ConfigurationError, ValueError) as malformed:
        sentence = str(malformed)
        if isinstance(malformed, ValidationError):
            first = malformed.errors(include_url=False, include_input=False)[0]
            sentence = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise FormError(Phrase("{fault}", {"fault": sentence})) from malformed
    _forget_old()
    if len(_tries) >= _MAX_RUNS:
        raise FormError("Too many tries at once. Try again in a while.", _BUSY)
    name = secrets.token_urlsafe(16)
    result = _runner.submit(_run, visit.installation, tried, visit.signed_in.applications)
    _tries[name] = _Try(_user(visit), time.monotonic(), rules, result)
    return visit.to(f"/fraud/what-if/{name}")


@views.view("GET /fraud/what-if/<name>", Permission.EXACT)
def show_result(visit: ConsoleRequest, name: str) -> Answer:
    tried = _tries.get(name)
    if tried is None or tried.user != _user(visit):
        raise NotFoundError("There is no such try.")
    compared = tried.result.result() if tried.result.done() else None
    return visit.page(
        "what_if_result.html",
        compared=compared,
        notes=list(notes(compared)) if compared else [],
        rules=tried.rules,
        currency=visit.settings.guard.currency,
    )


def _user(visit: ConsoleRequest) -> tuple[str, int]:
    return visit.signed_in.name, visit.signed_in.version


def changed_settings(settings: Settings, rules: str) -> Settings:
    """Return settings with other rules, in TOML; raise `ValueError` or `ConfigurationError` for invalid ones."""
    table: Mapping[str, Any] = tomllib.loads(rules)
    if unknown := table.keys() - set(SECTIONS):
        raise ConfigurationError(f"Only guard and limits can be tried, not {min(unknown)[:40]}.")
    members = {name: getattr(settings, name) for name in type(settings).model_fields}
    changed = {name: merge(members[name].model_dump(mode="json"), table[name]) for name in table}
    return type(settings).model_validate({**members, **changed})


def _run(installation: Installation, tried: Settings, counted: Collection[str]) -> Comparison:
    other = install(tried)
    try:
        other.context.access_cache.refresh()
        return what_if(installation.context, TriedRules.of(other.context, tried.guard), counted)
    finally:
        other.close()


def _forget_old() -> None:
    """Forget expired results, and the oldest finished ones above the maximum."""
    oldest = time.monotonic() - _RESULT_LIFE
    ended = [name for name, run in _tries.items() if run.result.done()]
    too_many = ended[: max(0, len(_tries) - _MAX_RUNS + 1)]
    for name in {*too_many, *(name for name, run in _tries.items() if run.begun < oldest)}:
        _tries.pop(name, None)  # another thread may be faster
