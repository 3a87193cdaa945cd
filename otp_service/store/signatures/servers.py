"""Signatures of the scripts of servers and workers: fail-overs, rulesets, leases."""

from typing import NamedTuple

from otp_service.store.signatures.signature import NoArguments, Signature


class DetectFailoverKeys(NamedTuple):
    server: str
    """The server's notes: of the installation, on a cluster of the bucket."""
    rest: tuple[str, ...]
    """The fences of the buckets; then as many heads of the mirror."""


class DetectFailoverArguments(NamedTuple):
    """Times in milliseconds."""

    life: int
    """Of a fence."""
    confirmed: str | bytes
    """The history that the server is known to have wholly; empty for none."""
    patience: int
    """Time to find out whether a server that took over lacks writes; 0 where that is impossible."""
    is_cluster: int
    replicas: int
    """Number of awaited replicas."""


class Same(NamedTuple):
    """The server has all answered writes."""


class Fenced(NamedTuple):
    """The server took over and may lack writes: it is fenced."""


class Undecided(NamedTuple):
    """It is unknown yet whether the server lacks writes, or a planned fail-over is not confirmed."""

    former: bytes
    """The history that the server continues."""
    history: bytes
    """The server's own history."""
    replicas: int
    """Number of replicas that had the answered writes."""


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
