"""How a benchmark ends that looks for what must not be."""

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
