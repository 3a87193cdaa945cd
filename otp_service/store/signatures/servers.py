"""Signatures of the scripts that detect a fail-over, and wait for replicas."""

from typing import NamedTuple

from otp_service.store.signatures.signature import NoArguments, Signature


class DetectFailoverKeys(NamedTuple):
    """A server, and buckets that it has."""

    server: str
    """What is noted of it: the installation, on a cluster the bucket's."""
    rest: tuple[str, ...]
    """The fences of the buckets; then as many heads of the mirror."""


class DetectFailoverArguments(NamedTuple):
    """Times in milliseconds."""

    life: int
    """Of a fence."""
    confirmed: str | bytes
    """The history of which the server is known to have all; empty where that is not known."""
    patience: int
    """Time to find out whether a server that took over lacks something; 0 where that is not possible."""
    is_cluster: int
    """1 or 0."""
    replicas: int
    """How many are waited for."""


class Same(NamedTuple):
    """The server has all that was answered."""


class Fenced(NamedTuple):
    """The server took over and may lack something: it is fenced."""


class Undecided(NamedTuple):
    """It is not known yet whether the server lacks something, or a planned fail-over is not confirmed."""

    former: bytes
    """The history that it went on with."""
    history: bytes
    """Its own."""
    replicas: int
    """How many had what was answered."""


DETECT_FAILOVER: Signature[DetectFailoverKeys, DetectFailoverArguments, Same | Fenced | Undecided] = Signature(
    "detect_failover", DetectFailoverKeys, DetectFailoverArguments, Same, Fenced, Undecided
)


class ReplicasAwaitKeys(NamedTuple):
    """Any key of the server."""

    any_key: str


REPLICAS_AWAIT = Signature("replicas_await", ReplicasAwaitKeys, NoArguments, int)
