"""Defects that somebody could have put into the scripts. Each must be noticed by a test."""

import of_deliveries
import of_evidence
import of_factors
import of_fraud
import of_gateways
import of_limits
import of_the_fence
import of_the_guard
import of_the_mirror
import of_the_outbox
import of_traffic
import of_verifications
from mutant import Mutant

_PARTS = (
    of_limits,
    of_verifications,
    of_factors,
    of_evidence,
    of_the_outbox,
    of_deliveries,
    of_gateways,
    of_the_guard,
    of_fraud,
    of_traffic,
    of_the_mirror,
    of_the_fence,
)
MUTANTS: dict[str, Mutant] = {name: mutant for part in _PARTS for name, mutant in part.DEFECTS.items()}
LIKELY: dict[str, tuple[str, ...]] = {name: part.TESTS for part in _PARTS for name in part.DEFECTS}
"""Where each is probably noticed: patterns of test files."""


def faults() -> list[str]:
    """Return what is wrong with the defects themselves, a sentence each: those that would prove nothing."""
    found = [f"{name}: {fault}" for name, mutant in MUTANTS.items() if (fault := mutant.fault())]
    doubles = sum(len(part.DEFECTS) for part in _PARTS) - len(MUTANTS)
    return [*found, *([f"{doubles} have the name of another one"] if doubles else [])]
