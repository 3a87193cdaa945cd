"""Prints what became of a simulated day."""

from collections.abc import Sequence

from abuse_scenarios import Expectation
from abuse_tally import Row, Tally
from abuse_traffic import Group
from rig import percentile

_WORDS = {True: "met", False: "MISSED", None: "not judged"}
_SHOWN = 12
"""Rules that are printed."""


def print_day(title: str, tally: Tally) -> None:
    """Print the tables of one scenario."""
    print(f"\n## {title}\n")
    print(
        "| who | visits | accepted | resends | messages | gateway took | PKR | approved | asked | refused | refused % |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name, row in _rows(tally):
        print(
            f"| {name} | {row.visits:,} | {row.starts:,} | {row.resends:,} | {row.messages:,} | {row.received:,} "
            f"| {row.money:,.2f} | {row.approved:,} | {row.asked:,} | {row.refused:,} | {row.loss:.2%} |"
        )
    _print_rules(tally)
    _print_circumstances(tally)


def print_expectations(expectations: Sequence[Expectation]) -> None:
    """Print what was expected, and whether it came true."""
    print("\n| expected | |\n|---|---|")
    for one in expectations:
        print(f"| {one.sentence} | {_WORDS[one.met]} |", flush=True)


def _rows(tally: Tally) -> list[tuple[str, Row]]:
    honest = {kind: row for (group, kind), row in tally.rows.items() if group is Group.HONEST}
    attack = tally.total(Group.ATTACK)
    return [
        *([("attack", attack)] if attack.visits else []),
        *((f"honest, {kind}", honest[kind]) for kind in sorted(honest)),
        ("honest, all", tally.total(Group.HONEST)),
    ]


def _print_rules(tally: Tally) -> None:
    rules = {
        rule: counts
        for rule, counts in tally.by_rule().items()
        if any(group is not Group.LEAD for group, _ in counts)
    }  # fmt: skip
    if not rules:
        return
    print("\n| refused by | attack | honest | of these honest |\n|---|---:|---:|---|")
    for rule in sorted(rules, key=lambda one: -rules[one].total())[:_SHOWN]:
        counts = rules[rule]
        honest = {kind: count for (group, kind), count in counts.items() if group is Group.HONEST}
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(honest.items()))
        attack = sum(count for (group, _), count in counts.items() if group is Group.ATTACK)
        print(f"| {rule} | {attack:,} | {sum(honest.values()):,} | {kinds} |")


def _print_circumstances(tally: Tally) -> None:
    """Print what tells how far the figures are to be trusted."""
    p50, p99 = (percentile(tally.lags, share) for share in (0.5, 0.99))
    lead = tally.total(Group.LEAD)
    odd = ", ".join(f"{what}: {count:,}" for what, count in tally.unexpected.items() if count) or "none"
    print(
        f"\nAnswered after {p50:.1f} (p50) and {p99:.1f} (p99) simulated seconds; in the hour before, "
        f"{lead.refused:,} of {lead.visits:,} refused; "
        f"wrong codes compared: {tally.total(Group.ATTACK).compared:,} of the attack, "
        f"{tally.total(Group.HONEST).compared:,} honest; unexpected: {odd}."
    )
