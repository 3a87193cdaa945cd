"""Signature of the script that renews a worker's lease."""

from typing import NamedTuple

from otp_service.store.signatures.signature import Signature


class LeaseRenewKeys(NamedTuple):
    """Keys of ``lease_renew.lua``."""

    leases: str
    """End of each lease of a duty, by worker."""


class LeaseRenewArguments(NamedTuple):
    """A lease."""

    worker: str
    life: int
    """Milliseconds; 0 ends the lease."""


class LeaseRenewed(NamedTuple):
    """A worker's place among the ``workers`` that have a lease: from 0, or -1 without one."""

    place: int
    workers: int


LEASE_RENEW = Signature("lease_renew", LeaseRenewKeys, LeaseRenewArguments, LeaseRenewed)
