"""What the benchmark found, as a page in Markdown and plots beside it."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anatomy import Anatomy
from in_process import AT_ONCE, PAUSE, TURNS, Within, ratio
from plots import Bars, Lines, Series, picture
from targets import Measured, Sample, median

OBJECTIVES = {"start": (0.30, 2.2), "check": (0.45, 1.4)}
"""Of the constant answer: least rate, and most processor time."""
FLAT = 1.2
"""How much slower a start may be among a million live verifications than among a thousand."""
Curve = Sequence[tuple[int, Sample]]
"""Samples by what was varied, its values ascending."""


@dataclass(frozen=True)
class Life:
    """Starts and checks among so many live verifications."""

    verifications: int
    bytes_each: float
    start: float
    """Median latency in milliseconds, over one connection."""
    check: float
    failed: int
    """Requests that were not answered as expected."""


@dataclass(frozen=True)
class Findings:
    """All that was measured."""

    machine: str
    how: str
    """Rounds, seconds, connections, processes."""
    targets: Sequence[Measured]
    by_connections: Mapping[str, Curve]
    by_processes: Mapping[str, Curve]
    lives: Sequence[Life]
    anatomies: Sequence[Anatomy]
    within: Sequence[Within]

    @property
    def missed(self) -> list[str]:
        """The objectives that were not reached, as sentences."""
        found = []
        for name, (least_rate, most_cost) in OBJECTIVES.items():
            rate, cost = self.ratio(name, "rate"), self.ratio(name, "cost")
            if rate < least_rate:
                found.append(f"A {name} reaches {rate:.2f} of the rate, not {least_rate:.2f}.")
            if cost > most_cost:
                found.append(f"A {name} costs {cost:.1f} times the CPU, not {most_cost:.1f}.")
        if self.lives and (growth := self.lives[-1].start / self.lives[0].start) > FLAT:
            found.append(f"Among {self.lives[-1].verifications:,} a start takes {growth:.2f} times as long.")
        return found

    @property
    def failed(self) -> int:
        """Requests that were not answered as expected."""
        samples = [sample for measured in self.targets for sample in measured.samples]
        for curves in (self.by_connections, self.by_processes):
            samples += [sample for curve in curves.values() for _, sample in curve]
        return sum(sample.failed for sample in samples) + sum(life.failed for life in self.lives)

    def ratio(self, name: str, figure: str) -> float:
        """Return a figure of a target as a multiple of the constant answer's."""
        by_name = {target.name: target for target in self.targets}
        return median(by_name[name].samples, figure) / median(by_name["constant"].samples, figure)


def write(folder: Path, findings: Findings) -> None:
    """Write ``report.md`` and its plots into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text("\n".join(_page(findings)) + "\n")
    (folder / "ratios.svg").write_text(picture(_ratio_plots(findings)))
    (folder / "growth.svg").write_text(picture(_growth_plots(findings)))
    (folder / "anatomy.svg").write_text(picture(_anatomy_plots(findings), columns=1))


def _page(findings: Findings) -> Iterable[str]:
    yield from ("# The benchmark's report", "")
    yield from ("Written by `make bench`; [performance](../performance.md) explains it.", "")
    yield from (f"Machine: {findings.machine}", "", findings.how, "")
    yield from (f"Requests that failed: {findings.failed}.", "")
    yield from ("## Ratios to a constant answer", "", *ratio_table(findings), "", "![ratios](ratios.svg)", "")
    yield from [f"- Not reached: {one}" for one in findings.missed] or ["All objectives are reached."]
    yield from ("", "## What a request asks of Redis", "", *_command_table(findings.targets), "")
    yield from ("## Growth", "", "![growth](growth.svg)", "", "With connections:", "")
    yield from (*_curve_table("connections", findings.by_connections), "", "With application processes:", "")
    yield from (*_curve_table("processes", findings.by_processes), "")
    yield from ("## Live verifications", "", *_life_table(findings.lives), "")
    yield from ("## Where the time goes", "", "![parts](anatomy.svg)", "")
    for anatomy in findings.anatomies:
        most = ", ".join(f"`{name}` {100 * share:.1f} %" for name, share in anatomy.functions)
        yield f"- Of a {anatomy.call}, as profiled, most by themselves take {most}."
    yield ""
    yield from ("## Without a server", "", *_within_table(findings.within))


def ratio_table(findings: Findings) -> Iterable[str]:
    """Yield the lines of the first table."""
    heads = ("target", "requests/s", "of constant", "at least", "CPU µs a request", "of constant", "at most")
    yield f"| {' | '.join((*heads, 'p50 ms', 'p99 ms'))} |"
    yield f"|---|{'---:|' * (len(heads) + 1)}"
    for target in findings.targets:
        name, samples = target.name, target.samples
        least, most = (f"{one:g}" for one in OBJECTIVES[name]) if name in OBJECTIVES else ("", "")
        cells = (
            name, f"{median(samples, 'rate'):,.0f}", f"{findings.ratio(name, 'rate'):.2f}", least,
            f"{median(samples, 'cost'):.0f}", f"{findings.ratio(name, 'cost'):.1f}", most,
            f"{median(samples, 'p50'):.1f}", f"{median(samples, 'p99'):.1f}",
        )  # fmt: skip
        yield f"| {' | '.join(cells)} |"


def _command_table(targets: Iterable[Measured]) -> Iterable[str]:
    yield from ("| target | round trips a request | Redis commands a request, inside scripts too |", "|---|---:|---|")
    for target in targets:
        figures = target.commands.per_request()
        named = ", ".join(f"{name} {figure:.2f}" for name, figure in figures.items()) or "none"
        yield f"| {target.name} | {target.commands.round_trips:.2f} | {sum(figures.values()):.1f}: {named} |"


def _curve_table(what: str, curves: Mapping[str, Curve]) -> Iterable[str]:
    names = list(curves)
    yield f"| {what} | {' | '.join(f'{name}/s | p99 ms' for name in names)} |"
    yield f"|---:{'|---:|---:' * len(names)}|"
    for row in zip(*curves.values(), strict=True):
        cells = (f"{one.rate:,.0f} | {one.p99:.1f}" for _, one in row)
        yield f"| {row[0][0]} | {' | '.join(cells)} |"


def _life_table(lives: Iterable[Life]) -> Iterable[str]:
    yield from ("| live verifications | bytes each | start p50 ms | check p50 ms |", "|---:|---:|---:|---:|")
    for life in lives:
        yield f"| {life.verifications:,} | {life.bytes_each:,.0f} | {life.start:.2f} | {life.check:.2f} |"


def _within_table(found: Sequence[Within]) -> Iterable[str]:
    yield (
        "Processor time of calls in the benchmark's own process: one right after the other, and with a pause of "
        f"{1000 * PAUSE:g} ms before each. Medians of {TURNS} turns of {AT_ONCE} calls."
    )
    heads = ("call", "µs", "of constant", "by Flask, of the hot path", "after a pause, of constant")
    yield from ("", f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}")
    constant = found[0]
    for one in found:
        ratios = ((one.hot, constant.hot), (one.flask, one.hot), (one.paused, constant.paused))
        of_constant, of_hot, of_paused = (f"{ratio(*both):.2f}" for both in ratios)
        yield f"| {one.call} | {statistics.median(one.hot):.0f} | {of_constant} | {of_hot} | {of_paused} |"


def _ratio_plots(findings: Findings) -> list[Lines | Bars]:
    names = [target.name for target in findings.targets]
    aims = {name: OBJECTIVES.get(name, (0.0, 0.0)) for name in names}
    rates = [(name, [findings.ratio(name, "rate"), aims[name][0]]) for name in names]
    costs = [(name, [findings.ratio(name, "cost"), aims[name][1]]) for name in names]
    return [
        Bars("Rate, of the constant answer", ["measured", "at least"], rates, "ratio"),
        Bars("Processor time, of the constant answer", ["measured", "at most"], costs, "ratio"),
    ]


def _growth_plots(findings: Findings) -> list[Lines | Bars]:
    lives = findings.lives
    life = [Series("start", [(one.verifications, one.start) for one in lives])]
    life.append(Series("check", [(one.verifications, one.check) for one in lives]))
    connections, processes = findings.by_connections, findings.by_processes
    return [
        Lines("Requests/s, by connections", _series(connections, "rate"), "connections", "requests/s", log_x=True),
        Lines("Latency, p99, by connections", _series(connections, "p99"), "connections", "ms", log_x=True),
        Lines("Requests/s, by processes", _series(processes, "rate"), "application processes", "requests/s"),
        Lines("Latency, p50, by live verifications", life, "live verifications", "ms", log_x=True),
    ]


def _series(curves: Mapping[str, Curve], figure: str) -> list[Series]:
    return [Series(name, [(x, getattr(sample, figure)) for x, sample in curve]) for name, curve in curves.items()]


def _anatomy_plots(findings: Findings) -> list[Lines | Bars]:
    parts = list(findings.anatomies[0].parts)
    groups = [(one.call, [100 * one.parts[part] for part in parts]) for one in findings.anatomies]
    return [Bars("Where the time of a call goes, as profiled", parts, groups, "%")]
