"""Rules of countries for messages: registered senders, approved templates."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Final

from otp_service.domain.templates import TemplateRef
from otp_service.domain.verification import Channel
from otp_service.errors import MessageNotAllowedError

MAX_SENDER_ID_LENGTH: Final = 11
"""Characters of a sender's name that fit on the air (3GPP TS 23.040, 9.1.2.5)."""
NOTICE_DAYS: Final = 30
"""Days of notice before a registration ends."""

_SENDER_ID = re.compile(r"[A-Za-z0-9 ]+")


@dataclass(frozen=True, slots=True)
class Registration:
    """A registered sender or template: its country (ISO 3166-1 alpha-2), the registrar's reference and its last day."""

    name: str
    country: str
    reference: str
    valid_until: date | None
    """``None`` without an end."""

    def has_expired(self, today: date) -> bool:
        """Tell whether its last day has passed."""
        return self.valid_until is not None and today > self.valid_until

    def days_left(self, today: date) -> int | None:
        """Return the days left after today, negative when it has ended; ``None`` without end."""
        return None if self.valid_until is None else (self.valid_until - today).days

    def expires_soon(self, today: date) -> bool:
        """Tell whether its end is near or past."""
        left = self.days_left(today)
        return left is not None and left <= NOTICE_DAYS


@dataclass(frozen=True, slots=True)
class Sender(Registration):
    """A registered sender of text messages, for some ``applications``, or for all."""

    sender_id: str
    category: str
    """``transactional`` or ``promotional``."""
    applications: frozenset[str]

    def serves(self, application: str) -> bool:
        """Tell whether an application may send under it."""
        return not self.applications or application in self.applications


@dataclass(frozen=True, slots=True)
class Approval(Registration):
    """The approval of a template, word by word."""

    template: str
    """Language, purpose, channel."""
    sha256: str
    """`TemplateRef.sha256`."""

    def matches(self, template: TemplateRef | None) -> bool:
        """Tell whether it is of this template with its present words."""
        return template is not None and (self.template, self.sha256) == (template.id, template.sha256)


def sender_id_faults(sender_id: str, reserved: Collection[str] = ()) -> Iterator[str]:
    """Yield the faults of a sender's name, each as the end of a sentence; ``reserved`` names identify no sender."""
    if len(sender_id) > MAX_SENDER_ID_LENGTH:
        yield f"has {len(sender_id)} characters: at most {MAX_SENDER_ID_LENGTH} fit"
    if not _SENDER_ID.fullmatch(sender_id) or sender_id != sender_id.strip():
        yield "has other characters than letters A to Z, digits, and blanks between them"
    elif not any(character.isalpha() for character in sender_id):
        yield "has no letter: a number is no name"
    if "  " in sender_id:
        yield "has two blanks in a row"
    if _bare(sender_id) in {_bare(word) for word in reserved}:
        yield "is a general word: it does not identify the sender"


def _bare(word: str) -> str:
    """Return a word without case, blanks, and digits at its end."""
    return word.upper().replace(" ", "").rstrip("0123456789")


class Violation(StrEnum):
    """The rule of a country that a message breaks."""

    SENDER_MISSING = "sender-missing"
    SENDER_CATEGORY = "sender-category"
    SENDER_EXPIRED = "sender-expired"
    SENDER_NOT_SHOWN = "sender-not-shown"
    SIM_BOX = "sim-box"
    TEMPLATE_NOT_APPROVED = "template-not-approved"
    APPROVAL_EXPIRED = "approval-expired"


@dataclass(frozen=True, slots=True)
class CountryRules:
    """A country's rules for messages to its numbers."""

    registered_senders: bool = False
    category: str | None = None
    approved_templates: bool = False
    sim_boxes_refused: bool = False
    """Whether no gateway with SIM cards may carry a text message."""
    languages: tuple[str, ...] = ()
    """Allowed language tags, the default first; empty for all."""


_NOTHING = CountryRules()


@dataclass(frozen=True, slots=True)
class SendingRules:
    """The rules of the countries, with senders, approvals and gateways."""

    rules: Mapping[str, CountryRules]
    senders: tuple[Sender, ...] = ()
    approvals: tuple[Approval, ...] = ()
    shows_sender: frozenset[str] = frozenset()
    sim_boxes: frozenset[str] = frozenset()

    @property
    def registrations(self) -> tuple[Registration, ...]:
        """Senders and approvals."""
        return (*self.senders, *self.approvals)

    def rules_of(self, country: str) -> CountryRules:
        """Return a country's rules."""
        return self.rules.get(country, _NOTHING)

    def sender_for(
        self, country: str, channel: str, application: str, template: TemplateRef | None, today: date, gateway: str = ""
    ) -> str | None:
        """Return the sender's name, ``None`` for the gateway's own; raise `MessageNotAllowedError` for a violation."""
        if not Channel(channel).traits.is_regulated:
            return None
        rules = self.rules_of(country)
        violation = self.why_not_template(country, template, today)
        if not violation and rules.sim_boxes_refused and gateway in self.sim_boxes:
            violation = Violation.SIM_BOX
        if not violation and gateway and rules.registered_senders and gateway not in self.shows_sender:
            violation = Violation.SENDER_NOT_SHOWN
        if violation := violation or self.why_not_sender(country, application, today):
            raise MessageNotAllowedError(country, violation)
        fitting = self._fitting(country, application)
        return next((sender.sender_id for sender in fitting if not sender.has_expired(today)), None)

    def why_not_sender(self, country: str, application: str, today: date) -> Violation | None:
        """Return the violation of an application's text messages to a country, ``None`` for none."""
        rules = self.rules_of(country)
        if not rules.registered_senders:
            return None
        fitting = self._fitting(country, application)
        if any(not sender.has_expired(today) for sender in fitting):
            return None
        if fitting:
            return Violation.SENDER_EXPIRED
        missing = not any(self._senders_of(country, application))
        return Violation.SENDER_MISSING if missing else Violation.SENDER_CATEGORY

    def why_not_template(self, country: str, template: TemplateRef | None, today: date) -> Violation | None:
        """Return the violation of a template for text messages to a country, ``None`` for none."""
        if not self.rules_of(country).approved_templates:
            return None
        approvals = [
            approval for approval in self.approvals if approval.country == country and approval.matches(template)
        ]
        if not approvals:
            return Violation.TEMPLATE_NOT_APPROVED
        return Violation.APPROVAL_EXPIRED if all(approval.has_expired(today) for approval in approvals) else None

    def approved_in(self, template: TemplateRef) -> list[str]:
        """Return the countries with an approval of a template, which may have ended."""
        return sorted({approval.country for approval in self.approvals if approval.matches(template)})

    def _fitting(self, country: str, application: str) -> list[Sender]:
        """Return the senders of the country's category; those that name the application come first."""
        category = self.rules_of(country).category
        fitting = [sender for sender in self._senders_of(country, application) if category in {None, sender.category}]
        return sorted(fitting, key=lambda sender: not sender.applications)

    def _senders_of(self, country: str, application: str) -> Iterator[Sender]:
        return (sender for sender in self.senders if sender.country == country and sender.serves(application))
