"""How a benchmark ends that looks for what must not be, or that has objectives."""

import sys
from collections.abc import Sequence

_SHOWN = 20
"""Breaches that are told one by one."""


def ended_with(breaches: Sequence[str]) -> int:
    """Tell the breaches, or that there is none; return the exit code, 1 where there are some."""
    for breach in breaches[:_SHOWN]:
        print(f"BREACH {breach}", file=sys.stderr)
    print(f"\n{f'{len(breaches)} breaches' if breaches else 'Everything as it must be'}.")
    return 1 if breaches else 0


def ended_short_of(missed: Sequence[str]) -> int:
    """Print the objectives that were missed, or that there is none; return the exit code, 1 where there are some."""
    for objective in missed:
        print(f"MISSED {objective}", file=sys.stderr)
    print(f"\n{f'{len(missed)} objectives missed' if missed else 'Every objective is met'}.")
    return 1 if missed else 0
