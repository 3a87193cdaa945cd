"""A policy that asks a carrier by CAMARA whether the SIM was swapped lately."""

import json
import threading
import time
from enum import StrEnum
from typing import ClassVar, Protocol, Self
from urllib.parse import quote_plus

import requests
from pydantic import Field, SecretStr, model_validator

from otp_service.domain.verification import Channel
from otp_service.gateways.http_client import ApiUrl, HttpCallError, HttpClient, HttpResponse
from otp_service.policies.base import ALLOW, DENY, PolicyContext, PolicyError, PolicySettings, Question, Verdict, not_by

_SIM_CHANNELS = tuple(channel for channel in Channel if channel.traits.goes_to_sim)


class SwapAction(StrEnum):
    """What becomes of a message to a SIM that is new."""

    DENY = "deny"
    ANOTHER_CHANNEL = "another_channel"
    """None that goes to the new SIM, as an SMS and a call do."""


class CamaraSimSwapSettings(PolicySettings):
    """A carrier's API, or an aggregator's, how we prove who we are, and what a new SIM means."""

    channels: tuple[Channel, ...] = _SIM_CHANNELS
    base_url: ApiUrl
    """As the carrier gives it, version included; ``/check`` is added."""
    max_age: int = Field(default=240, ge=1, le=2400)
    """Hours: a SIM that was changed within them is new. Carriers may allow less than the 2400 of the standard."""
    swapped: SwapAction = SwapAction.DENY
    """What becomes of a message to a new SIM: ``deny`` or ``another_channel``."""
    token: SecretStr | None = Field(default=None, min_length=1)
    """A bearer token that does not end; either this, or the three that fetch one by OAuth 2.0."""
    token_url: ApiUrl | None = None
    client_id: str | None = Field(default=None, min_length=1)
    client_secret: SecretStr | None = Field(default=None, min_length=1)
    scope: str = Field(default="sim-swap:check", max_length=200)
    """What tokens are asked for; carriers may want a purpose in front (``dpv:…``). Empty: none is named."""

    @model_validator(mode="after")
    def _has_one_proof(self) -> Self:
        client = (self.token_url, self.client_id, self.client_secret)
        if self.token is not None and any(client):
            raise ValueError("has either token, or token_url with client_id and client_secret")
        if self.token is None and not all(client):
            raise ValueError("needs token, or token_url with client_id and client_secret")
        return self


_DEFAULT_LIFETIME = 60.0
"""Seconds that a token is used whose lifetime nobody told."""
_MAX_LIFETIME = 86_400.0
"""Seconds that one is used at most."""
_MAX_LIFETIME_DIGITS = 15
"""Of the longest lifetime that is believed."""
_RENEWAL_MARGIN = 30.0
"""Seconds before its end from which on a token is not used, or a tenth of its lifetime if that is shorter."""
_RETRY_DELAY = 1.0
"""Seconds after a failure in which nobody asks again: those who wait would fail one after the other."""


class TokenSource(Protocol):
    """Where tokens come from. Used by many threads."""

    def current(self) -> str:
        """Return a token; raise `PolicyError` when there is none."""

    def replacement_for(self, refused: str) -> str | None:
        """Return another token for one that was refused; ``None`` when there is no other."""


class StaticToken:
    """The one of the configuration."""

    def __init__(self, token: str) -> None:
        self._token = token

    def current(self) -> str:
        """Return it."""
        return self._token

    def replacement_for(self, _: str) -> None:
        """Return none."""


class OAuthTokens:
    """Those of a client, each kept until shortly before it ends."""

    def __init__(self, settings: CamaraSimSwapSettings, http_client: HttpClient) -> None:
        self._request = _request(settings)
        self._http_client = http_client
        self._lock = threading.Lock()
        self._token = ""
        self._expires_at = 0.0
        self._retry_at = 0.0
        """Until when nobody asks for one, by the monotonic clock."""

    def current(self) -> str:
        """Return the token that is kept, or fetch one; raise `PolicyError` when there is none to be had."""
        with self._lock:
            return self._token if time.monotonic() < self._expires_at else self._fetch()

    def replacement_for(self, refused: str) -> str:
        """Return the token that came after a refused one, or fetch one; raise `PolicyError`."""
        with self._lock:
            if self._token == refused:
                self._expires_at = 0.0
            return self._token if time.monotonic() < self._expires_at else self._fetch()

    def _fetch(self) -> str:
        if time.monotonic() < self._retry_at:
            raise PolicyError("no token")
        outcome = self._http_client.try_call(self._request)
        members = (
            json_members(outcome) if isinstance(outcome, HttpResponse) and outcome.status == requests.codes.ok else {}
        )
        token = members.get("access_token")
        if not isinstance(token, str) or not token:
            self._retry_at = time.monotonic() + _RETRY_DELAY
            raise PolicyError(
                f"token {outcome.code if isinstance(outcome, HttpCallError) else f'http {outcome.status}'}"
            )
        lifetime = _lifetime(members.get("expires_in"))
        self._token, self._expires_at = token, time.monotonic() + lifetime - min(_RENEWAL_MARGIN, lifetime / 10)
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


def _lifetime(told: object) -> float:
    """Return the seconds that a token lives: `_DEFAULT_LIFETIME` where the answer does not say, or not in digits."""
    text = str(told)
    if not (text.isascii() and text.isdecimal() and len(text) <= _MAX_LIFETIME_DIGITS):
        return _DEFAULT_LIFETIME
    return min(float(text), _MAX_LIFETIME)


def json_members(answer: HttpResponse) -> dict[str, object]:
    """Return the members of an answer of JSON; none where it is something else."""
    try:
        members = json.loads(answer.text)
    except (ValueError, RecursionError):
        return {}
    return members if isinstance(members, dict) else {}


# After the API's definition (https://github.com/camaraproject/SimSwap), whose versions 0.4 and 2.1 agree in what is
# used of it. The number goes into the request, so the token has to be one of the client's own, not of a person's.

ERRORS = frozenset({
    "INVALID_ARGUMENT",
    "OUT_OF_RANGE",  # of ``max_age``: the carrier looks back less far
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "NOT_FOUND",
    "IDENTIFIER_NOT_FOUND",  # not a number of this carrier
    "SERVICE_NOT_APPLICABLE",
    "MISSING_IDENTIFIER",
    "UNNECESSARY_IDENTIFIER",  # the token is a person's
    "QUOTA_EXCEEDED",
    "TOO_MANY_REQUESTS",
})  # fmt: skip
"""Codes that are told; what else an answer says may hold the number."""


class CamaraSimSwapPolicy:
    """Denies messages to a SIM that is new, or sends them by a channel that does not need it."""

    kind: ClassVar[str] = "camara_sim_swap"
    Settings = CamaraSimSwapSettings

    def __init__(self, settings: CamaraSimSwapSettings, context: PolicyContext) -> None:  # noqa: ARG002 - its contract
        http_client = HttpClient(settings.timeout)
        self._settings = settings
        self._http_client = http_client
        self._tokens: TokenSource = (
            StaticToken(settings.token.get_secret_value()) if settings.token else OAuthTokens(settings, http_client)
        )

    def judge(self, question: Question) -> Verdict:
        """Ask the carrier; raise `PolicyError` whenever the answer is not a plain yes or no."""
        if not self._is_new(question.number):
            return ALLOW
        if self._settings.swapped is SwapAction.DENY:
            return DENY
        return not_by(*_SIM_CHANNELS, *self._settings.channels)

    def _is_new(self, number: str) -> bool:
        token = self._tokens.current()
        answer = self._check(number, token)
        if answer.status == requests.codes.unauthorized and (another := self._tokens.replacement_for(token)):
            answer = self._check(number, another)
        members = json_members(answer)
        swapped = members.get("swapped")
        if answer.status == requests.codes.ok and isinstance(swapped, bool):
            return swapped
        code = members.get("code")
        raise PolicyError(f"http {answer.status} {code if isinstance(code, str) and code in ERRORS else ''}".rstrip())

    def _check(self, number: str, token: str) -> HttpResponse:
        outcome = self._http_client.try_call(
            requests.Request(
                "POST",
                f"{self._settings.base_url.rstrip('/')}/check",
                json={"phoneNumber": number, "maxAge": self._settings.max_age},
                headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            )
        )
        if isinstance(outcome, HttpCallError):
            raise PolicyError(outcome.code)
        return outcome
