"""What countries ask of messages to their numbers, and what is registered there: senders, and approved templates."""

from datetime import date
from typing import Annotated, Final, Literal

from pydantic import StringConstraints

from otp_service.domain.countries import Approval, CountryRules, Sender
from otp_service.gateways.base import CountryCode
from otp_service.settings.policy import Locale, Name
from otp_service.settings.sections import Section

ANY: Final = "any"
Category = Literal["transactional", "promotional"]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=64)]
TemplateId = Annotated[str, StringConstraints(max_length=100, pattern=r"^[A-Za-z0-9-]+/[a-z0-9_-]+/[a-z]+$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class CountrySettings(Section):
    """What is asked of messages to one country; by default nothing."""

    consent: Literal["required", "any"] = ANY
    """``required``: every application that sends there needs a consent for each number."""
    senders: Literal["registered", "any"] = ANY
    """``registered``: a text message goes out under a sender of ``senders`` that is registered there, or not at all."""
    category: Category | Literal["any"] = ANY
    """The category that such a sender has."""
    reserved_masks: tuple[str, ...] = ()
    """Words that may be no sender's name."""
    templates: Literal["approved", "any"] = ANY
    """``approved``: a text message is made of a template of ``approvals``, word by word, or does not go out."""
    languages: tuple[Locale, ...] = ()
    """Languages that messages may be in, the first one by default."""
    sim_boxes: Literal["refused", "any"] = ANY
    """``refused``: in production, no gateway that leaves by SIM cards carries messages there."""

    def to_core(self, *, production: bool) -> CountryRules:
        """Return the rules, some of which are of production alone."""
        return CountryRules(
            registered_senders=self.senders == "registered",
            category=None if self.category == ANY else self.category,
            approved_templates=self.templates == "approved",
            sim_boxes_refused=production and self.sim_boxes == "refused",
            languages=self.languages,
        )


class RegistrationSettings(Section):
    """What a sender and an approval have in common."""

    country: CountryCode
    reference: Reference
    """Number or name of the registration, as whoever registered it wrote."""
    valid_until: date | None = None
    """Its last day; it is announced 30 days before."""


class SenderSettings(RegistrationSettings):
    """One name that handsets show as the sender, as it is registered."""

    mask: Annotated[str, StringConstraints(min_length=1, max_length=20)]
    """At most 11 letters, digits and blanks."""
    category: Category = "transactional"
    applications: tuple[Name, ...] = ()
    """Who sends under it; empty: every application."""

    def to_core(self, name: str) -> Sender:
        """Return the sender."""
        return Sender(
            name=name,
            country=self.country,
            reference=self.reference,
            valid_until=self.valid_until,
            mask=self.mask,
            category=self.category,
            applications=frozenset(self.applications),
        )


class ApprovalSettings(RegistrationSettings):
    """One template that is approved, word by word (``otp-service messages templates`` tells its digest)."""

    template: TemplateId
    sha256: Digest

    def to_core(self, name: str) -> Approval:
        """Return the approval."""
        return Approval(
            name=name,
            country=self.country,
            reference=self.reference,
            valid_until=self.valid_until,
            template=self.template,
            sha256=self.sha256,
        )


Countries = dict[CountryCode, CountrySettings]
Senders = dict[Name, SenderSettings]
Approvals = dict[Name, ApprovalSettings]
