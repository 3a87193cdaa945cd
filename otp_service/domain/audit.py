"""The audit chain: digests of ledger rows, linked and signed."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

# Only digests are in it, so what they are of can be deleted, and the chain holds. Whoever changes, removes or swaps an
# entry breaks a link; whoever cuts off the last ones leaves a chain that holds, and does not reach a head that was
# signed and exported before.

GENESIS: Final = "0" * 64
"""In place of a link before the first entry."""


@dataclass(frozen=True, slots=True)
class ChainEntry:
    """One entry, of one row that was recorded."""

    sequence: int
    """From 1, without a gap."""
    at: int
    """When it was appended: milliseconds since the epoch."""
    table: str
    row: str
    """The row's key."""
    digest: str
    """Of what the row holds (`digest_of`)."""

    def matches(self, digest: str) -> bool:
        """Tell whether it is the entry of a row that has this digest."""
        return hmac.compare_digest(self.digest, digest)

    def link(self, previous: str) -> str:
        """Return the link: SHA-256 over the link before and the entry, 64 hexadecimal digits."""
        return _sha256([previous, self.sequence, self.at, self.table, self.row, self.digest])


@dataclass(frozen=True, slots=True)
class ChainHead:
    """How far the chain had come, as it is signed."""

    ledger: str
    """Identity of the ledger."""
    sequence: int
    link: str
    at: int
    """When it was signed: milliseconds since the epoch."""

    @property
    def signed(self) -> bytes:
        """What the signature is of: these members as canonical JSON."""
        return canonical_json({"ledger": self.ledger, "sequence": self.sequence, "link": self.link, "at": self.at})


def canonical_json(value: Any) -> bytes:  # noqa: ANN401 - whatever JSON holds
    """Return JSON of which there is one spelling: sorted names, no blanks, UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode(errors="surrogatepass")


def digest_of(payload: Mapping[str, Any]) -> str:
    """Return the digest of what a row holds: SHA-256 of its canonical JSON, 64 hexadecimal digits."""
    return _sha256(payload)


def short_digest(digest: str) -> str:
    """Return the first 128 bits of a digest: enough that nobody finds another row that has them."""
    return digest[:32]


def _sha256(value: Any) -> str:  # noqa: ANN401 - whatever JSON holds
    return hashlib.sha256(canonical_json(value)).hexdigest()
