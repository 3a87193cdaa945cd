"""Bearer tokens: one that was given, or those that OAuth 2.0 fetches for a client (RFC 6749, section 4.4)."""

import json
import threading
import time
from typing import Protocol
from urllib.parse import quote_plus

import requests

from otp_service.policies.base import PolicyError
from otp_service.policies.camara_sim_swap.settings import CamaraSimSwapSettings
from otp_service.transport.wire import Answer, Wire, WireError

_SHORT = 60.0
"""Seconds that a token is used whose life nobody told."""
_LONG = 86_400.0
"""Seconds that one is used at most."""
_DIGITS = 15
"""Of the longest life that is believed."""
_MARGIN = 30.0
"""Seconds before its end from which on a token is not used, or a tenth of its life if that is shorter."""
_PAUSE = 1.0
"""Seconds after a failure in which nobody asks again: those who wait would fail one after the other."""


class Tokens(Protocol):
    """Where tokens come from. Used by many threads."""

    def current(self) -> str:
        """Return a token; raise `PolicyError` when there is none."""

    def instead_of(self, refused: str) -> str | None:
        """Return another token for one that was refused; ``None`` when there is no other."""


class GivenToken:
    """The one of the configuration."""

    def __init__(self, token: str) -> None:
        self._token = token

    def current(self) -> str:
        """Return it."""
        return self._token

    def instead_of(self, _: str) -> None:
        """Return none."""


class FetchedTokens:
    """Those of a client, each kept until shortly before it ends."""

    def __init__(self, settings: CamaraSimSwapSettings, wire: Wire) -> None:
        self._request = _request(settings)
        self._wire = wire
        self._lock = threading.Lock()
        self._token = ""
        self._ends = 0.0
        self._rests = 0.0
        """Until when nobody asks for one, by the monotonic clock."""

    def current(self) -> str:
        """Return the token that is kept, or fetch one; raise `PolicyError` when there is none to be had."""
        with self._lock:
            return self._token if time.monotonic() < self._ends else self._fetch()

    def instead_of(self, refused: str) -> str:
        """Return the token that came after a refused one, or fetch one; raise `PolicyError`."""
        with self._lock:
            if self._token == refused:
                self._ends = 0.0
            return self._token if time.monotonic() < self._ends else self._fetch()

    def _fetch(self) -> str:
        if time.monotonic() < self._rests:
            raise PolicyError("no token")
        outcome = self._wire.attempt(self._request)
        members = members_of(outcome) if isinstance(outcome, Answer) and outcome.status == requests.codes.ok else {}
        token = members.get("access_token")
        if not isinstance(token, str) or not token:
            self._rests = time.monotonic() + _PAUSE
            raise PolicyError(f"token {outcome.code if isinstance(outcome, WireError) else f'http {outcome.status}'}")
        life = _life(members.get("expires_in"))
        self._token, self._ends = token, time.monotonic() + life - min(_MARGIN, life / 10)
        return token


def _request(settings: CamaraSimSwapSettings) -> requests.Request:
    secret = settings.client_secret.get_secret_value() if settings.client_secret else ""
    return requests.Request(
        "POST",
        settings.token_url,
        data={"grant_type": "client_credentials", **({"scope": settings.scope} if settings.scope else {})},
        headers={"Accept": "application/json"},
        auth=requests.auth.HTTPBasicAuth(quote_plus(settings.client_id or ""), quote_plus(secret)),
    )


def _life(told: object) -> float:
    """Return the seconds that a token lives: `_SHORT` where nobody told, or nothing that could be understood."""
    text = str(told)
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        return _SHORT
    return min(float(text), _LONG)


def members_of(answer: Answer) -> dict[str, object]:
    """Return the members of an answer of JSON; none where it is something else."""
    try:
        members = json.loads(answer.text)
    except (ValueError, RecursionError):
        return {}
    return members if isinstance(members, dict) else {}
