"""Requests of the provider in the file of wire exchanges: receipts, and what people wrote back."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from otp_service.domain.people import Meaning
from otp_service.domain.verification import DeliveryStatus
from otp_service.gateways.base import FailureKind

HOUR = 3600.0
"""Seconds by which a request is too old, or comes from the future: more than any tolerance."""


class Part(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Covered = Annotated[str, StringConstraints(pattern=r"^(address|query|query\..+|body|peer)$")]
"""Part of a report that its proof covers: the dispatch in its address, all parameters of its query or the one of a
name, its body, the address of its sender."""


class SampleRequest(Part):
    """One request of the provider as it comes in."""

    name: str
    settings: Mapping[str, Any] = Field(default_factory=dict)
    """Laid over the file's, for this request."""
    method: str = "POST"
    url: str
    """With the query."""
    peer: str = "192.0.2.7"
    at: float | None = None
    """When it came in, in seconds since 1970, where its proof has a time in it; an hour off it has to be refused."""
    headers: Mapping[str, str] = Field(default_factory=dict)
    """Those that prove where it comes from, and no others: the suite breaks each of them."""
    form: Mapping[str, str] = Field(default_factory=dict)
    body: str = ""
    covers: frozenset[Covered] = frozenset({"address", "query", "body"})
    """What its proof covers: the suite changes all of it, one part at a time. Less than the default weakens the
    suite, and says so. The address of a message from somebody names no dispatch, and is not changed."""


class SampleReceipt(SampleRequest):
    """One report as it comes in, and how it is read."""

    status: DeliveryStatus
    raw_status: str
    reason: str | None = None
    kind: FailureKind | None = None
    opted_out: bool = False


class SampleInbound(SampleRequest):
    """One message from somebody as it comes in, and how it is read."""

    reference: str = ""
    sender: str
    text: str
    channel: Literal["sms", "voice", "whatsapp"] = "sms"
    opt_out: Meaning | None = None
