"""Fractions as they are kept. The same as in ``include_states.lua``."""

import math


def rounded(number: float) -> float:
    """Return a fraction to the billionth: in Redis numbers are written with 14 digits."""
    return math.floor(number * 1e9 + 0.5) / 1e9
