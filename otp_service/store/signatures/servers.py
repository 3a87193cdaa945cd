"""Signatures of the scripts of servers and workers: fail-overs, rulesets, leases."""

from typing import NamedTuple

from otp_service.store.signatures.signature import NoArguments, Signature


class DetectFailoverKeys(NamedTuple):
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


DETECT_FAILOVER = Signature[DetectFailoverKeys, DetectFailoverArguments, Same | Fenced | Undecided]("detect_failover")


class ReplicasAwaitKeys(NamedTuple):
    any_key: str


REPLICAS_AWAIT = Signature[ReplicasAwaitKeys, NoArguments, int]("replicas_await")


class NoKeys(NamedTuple):
    pass


class RegisterArguments(NamedTuple):
    name: str
    """A digest of the text."""
    text: str
    """JSON."""


PLAN_REGISTER = Signature[NoKeys, RegisterArguments, bytes]("plan_register")
RULESET_REGISTER = Signature[NoKeys, RegisterArguments, bytes]("ruleset_register")


class LeaseRenewKeys(NamedTuple):
    leases: str
    """End of each lease of a duty, by worker."""


class LeaseRenewArguments(NamedTuple):
    worker: str
    life: int
    """Milliseconds; 0 ends the lease."""


class LeaseRenewed(NamedTuple):
    """A worker's place among the ``workers`` that have a lease: from 0, or -1 without one."""

    place: int
    workers: int


LEASE_RENEW = Signature[LeaseRenewKeys, LeaseRenewArguments, LeaseRenewed]("lease_renew")
