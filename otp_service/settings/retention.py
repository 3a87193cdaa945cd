"""For how long the ledger keeps what it records."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from otp_service.domain.events import Keeping
from otp_service.settings.sections import Section

Days = Annotated[int, Field(ge=1, le=7300)]
Proof = Annotated[int, Field(ge=90, le=7300)]
"""Not before the last entry of a stream (``streams.retention_days``): one that comes late must find what follows it."""


class RetentionSettings(Section):
    """Days for which each class of data is kept in the ledger; what is older, workers delete by themselves."""

    # Descriptions, which docs/data.md quotes; docstrings would be looked for in the source at each start.
    traffic: Days = Field(
        400,
        description="Verifications and what happened to them: a provider's bill is disputed within the year.",
    )
    consents: Proof = Field(
        1095,
        description="Consents, after others followed them: three years, in which most claims must be brought. "
        "The last word stays.",
    )
    suppressions: Proof = Field(
        1095,
        description="Suppressions, after they were lifted or ended: proof, as long as that of a consent, "
        "that they were respected.",
    )
    inbound: Annotated[int, Field(ge=7, le=7300)] = Field(
        90,
        description="Messages that people sent: what one meant is in the suppression that it made. "
        "Gateways repeat them for days.",
    )
    access: Days = Field(
        400,
        description="API keys, after they were revoked or ended: as long as the traffic that they asked for.",
    )
    duties: Proof = Field(
        1095,
        description="What was erased for somebody, what was deleted by itself, what operators did: proof that it was.",
    )
    audit: Proof = Field(
        3650,
        description="The audit chain, which has digests only: ten years, longer than all that it proves.",
    )

    @model_validator(mode="after")
    def _the_chain_outlasts_what_it_proves(self) -> Self:
        days = self.model_dump()
        longest = max(days, key=days.__getitem__)
        if days[longest] > self.audit:
            raise ValueError(f"audit is shorter than {longest}: rows would be there whose entries are gone")
        return self

    def to_core(self) -> Keeping:
        """Return the days as a purge counts them."""
        return Keeping(**self.model_dump())
