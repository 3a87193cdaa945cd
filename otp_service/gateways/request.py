"""What providers ask of us: a request of theirs, as it came in over HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ProviderRequest:
    """A request of a provider."""

    method: str
    url: str
    """As the provider sees it, on the public address, with the query."""
    headers: Mapping[str, str]
    """Names in lower case."""
    query: Mapping[str, str]
    form: Mapping[str, str]
    """Of a body of type ``application/x-www-form-urlencoded``; empty for any other."""
    body: bytes = field(repr=False)
    peer: str
    """Address of the sender, found behind the trusted proxies."""
