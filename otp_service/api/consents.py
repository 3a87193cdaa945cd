"""Consents. The number is in the body, never in an address."""

from dataclasses import dataclass
from typing import Literal

from otp_service.api.exchange import Exchange
from otp_service.api.requests import read_number
from otp_service.api.routes import NUMBER_PROBLEMS, Resource
from otp_service.api.schemas import CONSENT_EXAMPLE, NUMBER_EXAMPLE, Address, ConsentBody, PurposeBody
from otp_service.domain.applications import KeyScope
from otp_service.domain.consents import Consent
from otp_service.domain.numbers import SubjectKey, ip_prefix_of, prefix_of
from otp_service.services.consents import end_consent, give_consent, read_consent
from otp_service.services.exports import ConsentEntryAnswer, consent_entry_answer


class GivenConsentBody(
    ConsentBody, PurposeBody, json_schema_extra={"examples": [NUMBER_EXAMPLE | {"purpose": "login"} | CONSENT_EXAMPLE]}
):
    """A consent for a purpose."""

    client_ip: Address | None = None
    """Address of the end user; its prefix (IPv4 /24, IPv6 /48) is kept as evidence."""


@dataclass(frozen=True, slots=True)
class ConsentRecordAnswer:
    """The consent entries of a number for a purpose."""

    to: str
    """The number, masked."""
    purpose: str
    status: Literal["given", "withdrawn", "none"]
    """The last entry's; `none` when there is none."""
    entries: tuple[ConsentEntryAnswer, ...]
    """Oldest first."""


consents = Resource(
    "consents", "Consents", KeyScope.CONSENT, problems=(*NUMBER_PROBLEMS, "consent-not-kept"), asks_ledger=True
)


@consents.route("PUT /v1/consents", {200: "What is recorded."}, ("invalid-time", "consent-outdated"))
def record_consent(exchange: Exchange, body: GivenConsentBody) -> ConsentRecordAnswer:
    """Record a consent.

    Records a consent to codes for a purpose, with its evidence. It is in force when this is answered. An entry is
    never changed, only followed by another. A consent that was not given after the last one, or
    after its withdrawal, is refused as `consent-outdated`; the last one once more changes nothing.
    """
    to = read_number(exchange, body)
    evidence = body.to_evidence(prefix_of(ip_prefix_of(body.client_ip)) if body.client_ip is not None else "")
    return _record(to, body, give_consent(exchange.context, exchange.application, to, body.purpose, evidence))


@consents.route("POST /v1/consents/find", {200: "What is recorded."})
def find_consent(exchange: Exchange, body: PurposeBody) -> ConsentRecordAnswer:
    """Read a consent.

    Shows all entries of a number for a purpose. A consent that came with a start is there within a second.
    """
    to = read_number(exchange, body)
    return _record(to, body, read_consent(exchange.context, exchange.application, to, body.purpose))


@consents.route("POST /v1/consents/withdraw", {200: "What is recorded."})
def withdraw_consent(exchange: Exchange, body: PurposeBody) -> ConsentRecordAnswer:
    """Withdraw a consent.

    Records a withdrawal. When this is answered no message of the purpose goes out, queued ones included, until
    another consent is given.
    """
    to = read_number(exchange, body)
    return _record(to, body, end_consent(exchange.context, exchange.application, to, body.purpose))


def _record(to: SubjectKey, body: PurposeBody, entries: tuple[Consent, ...]) -> ConsentRecordAnswer:
    answers = tuple(map(consent_entry_answer, entries))
    return ConsentRecordAnswer(to.mask, body.purpose, answers[-1].status if answers else "none", answers)
