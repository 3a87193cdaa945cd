"""Defects that somebody could have put into the scripts. Each must be noticed by a test."""

import of_deliveries
import of_fraud
import of_gateways
import of_limits
import of_the_fence
import of_the_guard
import of_the_mirror
import of_the_outbox
import of_the_upgrade
import of_traffic
import of_verifications
from mutant import Mutant

_PARTS = (
    of_limits.DEFECTS,
    of_verifications.DEFECTS,
    of_the_outbox.DEFECTS,
    of_deliveries.DEFECTS,
    of_gateways.DEFECTS,
    of_the_guard.DEFECTS,
    of_fraud.DEFECTS,
    of_traffic.DEFECTS,
    of_the_mirror.DEFECTS,
    of_the_fence.DEFECTS,
    of_the_upgrade.DEFECTS,
)
MUTANTS: dict[str, Mutant] = {name: mutant for part in _PARTS for name, mutant in part.items()}


def faults() -> list[str]:
    """Return what is wrong with the defects themselves, a sentence each: those that would prove nothing."""
    found = [f"{name}: {fault}" for name, mutant in MUTANTS.items() if (fault := mutant.fault())]
    doubles = sum(map(len, _PARTS)) - len(MUTANTS)
    return [*found, *([f"{doubles} have the name of another one"] if doubles else [])]
