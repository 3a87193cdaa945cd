"""A policy that asks a carrier through CAMARA whether the SIM was swapped recently."""

import re
import threading
import time
from enum import StrEnum
from typing import ClassVar, Self
from urllib.parse import quote_plus

import requests
from pydantic import Field, SecretStr, model_validator

from otp_service.domain.verification import Channel
from otp_service.gateways.http_client import ApiUrl, HttpCallError, HttpClient, HttpResponse, api_url, json_object
from otp_service.policies.base import (
    ALLOW,
    DENY,
    PolicyContext,
    PolicyError,
    PolicyRequest,
    PolicySettings,
    Verdict,
    not_by,
)

_SIM_CHANNELS = tuple(channel for channel in Channel if channel.traits.goes_to_sim)


class SwapAction(StrEnum):
    """The verdict on a message to a new SIM."""

    DENY = "deny"
    ANOTHER_CHANNEL = "another_channel"
    """A channel that does not go to the SIM, as SMS and calls do."""


class CamaraSimSwapSettings(PolicySettings):
    """The API of a carrier or an aggregator, its credentials, and the verdict on a new SIM."""

    channels: tuple[Channel, ...] = _SIM_CHANNELS
    base_url: ApiUrl
    """The carrier's URL with the version; ``/check`` is added."""
    max_age: int = Field(default=240, ge=1, le=2400)
    """Hours for which a changed SIM is new. Carriers may allow less than the standard's 2400."""
    swapped: SwapAction = SwapAction.DENY
    """The verdict on a message to a new SIM: ``deny`` or ``another_channel``."""
    token: SecretStr | None = Field(default=None, min_length=1)
    """A bearer token that does not expire. Either this, or the next three members for OAuth 2.0."""
    token_url: ApiUrl | None = None
    client_id: str | None = Field(default=None, min_length=1)
    client_secret: SecretStr | None = Field(default=None, min_length=1)
    scope: str = Field(default="sim-swap:check", max_length=200)
    """Scope of the requested tokens; carriers may want a purpose in front (``dpv:…``). Empty: no scope is sent."""

    @model_validator(mode="after")
    def _has_one_proof(self) -> Self:
        client = (self.token_url, self.client_id, self.client_secret)
        if self.token is not None and any(client):
            raise ValueError("has either token, or token_url with client_id and client_secret")
        if self.token is None and not all(client):
            raise ValueError("needs token, or token_url with client_id and client_secret")
        return self


_DEFAULT_LIFETIME = 60.0
"""Seconds for which a token without a stated lifetime is used."""
_MAX_LIFETIME = 86_400.0
"""Maximum of seconds for which a token is used."""
_LIFETIME = re.compile("[0-9]{1,15}")
_RENEWAL_MARGIN = 30.0
"""A token is renewed so many seconds before it expires, or a tenth of its lifetime if that is shorter."""
_RETRY_DELAY = 1.0
"""Seconds after a failure without a new request: threads that wait for a token would fail one after another."""


class OAuthTokens:
    """Tokens of an OAuth client, each used until shortly before it expires. Used by many threads."""

    def __init__(self, settings: CamaraSimSwapSettings, http_client: HttpClient) -> None:
        secret = settings.client_secret.get_secret_value() if settings.client_secret else ""
        self._request = requests.Request(
            "POST",
            settings.token_url,
            data={"grant_type": "client_credentials", **({"scope": settings.scope} if settings.scope else {})},
            headers={"Accept": "application/json"},
            auth=requests.auth.HTTPBasicAuth(quote_plus(settings.client_id or ""), quote_plus(secret)),
        )
        self._http_client = http_client
        self._lock = threading.Lock()
        self._token = ""
        self._expires_at = 0.0
        self._retry_at = 0.0
        """No token is requested before this time of the monotonic clock."""

    def current(self) -> str:
        """Return the current token, or fetch one; raise `PolicyError` if that fails."""
        with self._lock:
            return self._token if time.monotonic() < self._expires_at else self._fetch()

    def replacement_for(self, refused: str) -> str:
        """Return the token after a refused one, or fetch one; raise `PolicyError` if that fails."""
        with self._lock:
            if self._token == refused:
                self._expires_at = 0.0
            return self._token if time.monotonic() < self._expires_at else self._fetch()

    def _fetch(self) -> str:
        if time.monotonic() < self._retry_at:
            raise PolicyError("no token")
        outcome = self._http_client.try_call(self._request)
        is_ok = isinstance(outcome, HttpResponse) and outcome.status == requests.codes.ok
        members = json_object(outcome.text) if isinstance(outcome, HttpResponse) and is_ok else {}
        token = members.get("access_token")
        if not isinstance(token, str) or not token:
            self._retry_at = time.monotonic() + _RETRY_DELAY
            code = outcome.code if isinstance(outcome, HttpCallError) else f"http {outcome.status}"
            raise PolicyError(f"token {code}")
        digits = _LIFETIME.fullmatch(str(members.get("expires_in")))
        lifetime = min(float(digits[0]), _MAX_LIFETIME) if digits else _DEFAULT_LIFETIME
        self._token, self._expires_at = token, time.monotonic() + lifetime - min(_RENEWAL_MARGIN, lifetime / 10)
        return token


# Source: the API's definition (https://github.com/camaraproject/SimSwap); its versions 0.4 and 2.1 agree in the parts
# used. The request has the number, so the token must be the client's own, not a person's.

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
"""Codes that are logged; anything else in an answer may contain the number."""


class CamaraSimSwapPolicy:
    """Denies messages to a new SIM, or sends them by a channel that does not go to it."""

    kind: ClassVar[str] = "camara_sim_swap"
    Settings = CamaraSimSwapSettings

    def __init__(self, settings: CamaraSimSwapSettings, context: PolicyContext) -> None:  # noqa: ARG002 - the contract's
        self._settings = settings
        self._http_client = HttpClient(settings.timeout)
        self._tokens = OAuthTokens(settings, self._http_client)

    def judge(self, request: PolicyRequest) -> Verdict:
        """Ask the carrier; raise `PolicyError` unless the answer is a plain yes or no."""
        fixed = self._settings.token
        token = fixed.get_secret_value() if fixed else self._tokens.current()
        answer = self._check(request.number, token)
        if answer.status == requests.codes.unauthorized and not fixed:
            answer = self._check(request.number, self._tokens.replacement_for(token))
        members = json_object(answer.text)
        swapped = members.get("swapped")
        if answer.status != requests.codes.ok or not isinstance(swapped, bool):
            code = members.get("code")
            known_code = code if isinstance(code, str) and code in ERRORS else ""
            raise PolicyError(f"http {answer.status} {known_code}".rstrip())
        if not swapped:
            return ALLOW
        if self._settings.swapped is SwapAction.DENY:
            return DENY
        return not_by(*_SIM_CHANNELS, *self._settings.channels)

    def _check(self, number: str, token: str) -> HttpResponse:
        outcome = self._http_client.try_call(
            requests.Request(
                "POST",
                api_url(self._settings.base_url, "check"),
                json={"phoneNumber": number, "maxAge": self._settings.max_age},
                headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            )
        )
        if isinstance(outcome, HttpCallError):
            raise PolicyError(outcome.code)
        return outcome
