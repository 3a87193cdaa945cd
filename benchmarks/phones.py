"""Whether the short way for plain mobile numbers sees what libphonenumber sees, over millions: ``make phones``."""

import argparse
import sys
from collections import Counter

from support_numbers import differs, random_numbers


def main() -> int:
    """Compare and print; return 1 when a number is seen otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numbers", type=int, default=3_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    seen = Counter(map(differs, random_numbers(options.numbers, options.seed)))
    print(
        f"{options.numbers:,} numbers, seed {options.seed}: {seen[False] + seen[True]:,} went the short way, ", end=""
    )
    print(f"{seen[True]:,} of them are seen otherwise by libphonenumber.")
    return 1 if seen[True] else 0


if __name__ == "__main__":
    sys.exit(main())
