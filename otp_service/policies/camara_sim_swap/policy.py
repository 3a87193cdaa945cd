"""CAMARA SIM Swap, its operation ``check``: it tells whether a number's SIM was changed within so many hours.

After the API's definition (https://github.com/camaraproject/SimSwap), whose versions 0.4 and 2.1 agree in what is used
of it. The number goes into the request, so the token has to be one of the client's own, not of a person's.
"""

from typing import ClassVar

import requests

from otp_service.domain.verification import Channel
from otp_service.policies.base import ALLOW, DENY, PolicyContext, PolicyError, Question, Verdict, not_by
from otp_service.policies.camara_sim_swap.settings import CamaraSimSwapSettings, Swapped
from otp_service.policies.camara_sim_swap.tokens import FetchedTokens, GivenToken, Tokens, members_of
from otp_service.transport.wire import Answer, Wire, WireError

ERRORS = frozenset({
    "INVALID_ARGUMENT",
    "OUT_OF_RANGE",  # of ``max_age``: the operator looks back less far
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "NOT_FOUND",
    "IDENTIFIER_NOT_FOUND",  # not a number of this operator
    "SERVICE_NOT_APPLICABLE",
    "MISSING_IDENTIFIER",
    "UNNECESSARY_IDENTIFIER",  # the token is a person's
    "QUOTA_EXCEEDED",
    "TOO_MANY_REQUESTS",
})  # fmt: skip
"""Codes that are told; what else an answer says may hold the number."""
_TO_THE_SIM = (Channel.SMS, Channel.VOICE)


class CamaraSimSwapPolicy:
    """Denies messages to a SIM that is new, or sends them by a channel that does not need it."""

    kind: ClassVar[str] = "camara_sim_swap"
    Settings = CamaraSimSwapSettings

    def __init__(self, settings: CamaraSimSwapSettings, context: PolicyContext) -> None:  # noqa: ARG002 - its contract
        wire = Wire(settings.timeout)
        self._settings = settings
        self._wire = wire
        self._tokens: Tokens = (
            GivenToken(settings.token.get_secret_value()) if settings.token else FetchedTokens(settings, wire)
        )

    def judge(self, question: Question) -> Verdict:
        """Ask the operator; raise `PolicyError` whenever the answer is not a plain yes or no."""
        if not self._is_new(question.number):
            return ALLOW
        if self._settings.swapped is Swapped.DENY:
            return DENY
        return not_by(*_TO_THE_SIM, *self._settings.channels)

    def _is_new(self, number: str) -> bool:
        token = self._tokens.current()
        answer = self._check(number, token)
        if answer.status == requests.codes.unauthorized and (another := self._tokens.instead_of(token)):
            answer = self._check(number, another)
        members = members_of(answer)
        swapped = members.get("swapped")
        if answer.status == requests.codes.ok and isinstance(swapped, bool):
            return swapped
        code = members.get("code")
        raise PolicyError(f"http {answer.status} {code if isinstance(code, str) and code in ERRORS else ''}".rstrip())

    def _check(self, number: str, token: str) -> Answer:
        outcome = self._wire.attempt(
            requests.Request(
                "POST",
                f"{self._settings.base_url.rstrip('/')}/check",
                json={"phoneNumber": number, "maxAge": self._settings.max_age},
                headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            )
        )
        if isinstance(outcome, WireError):
            raise PolicyError(outcome.code)
        return outcome
