"""The page on sizes shows what the command prints, and names metrics that exist."""

import re
import shlex

from support_cli import run
from support_sources import ROOT

from otp_service.domain.sizing import FIGURES
from otp_service.telemetry import metrics

TEXT = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


def test_its_example_is_what_the_command_prints():
    command, *shown = re.search(r"```console\n\$ otp-service (.+?)\n```", TEXT, re.DOTALL)[1].splitlines()
    told = run(*shlex.split(command))
    lines = [line.split("\t") for line in told.stdout.splitlines()]

    assert [re.split(r" {2,}", line) for line in shown[: len(lines)]] == lines
    assert " ".join(shown[len(lines) :]) == told.stderr.strip()


def test_the_metrics_that_it_names_exist():
    exposed = {f"{one.name}_total" if one.type == "counter" else one.name for one in metrics.REGISTRY.collect()}

    assert set(re.findall(r"otp_service_\w+", TEXT)) - exposed == set()


def test_it_names_each_source_of_the_figures():
    rows = re.findall(r"\| `(make [a-z-]+)` \| `(\w+)` \|", TEXT)

    assert {f"{command}, {commit}" for command, commit in rows} == {one.source for one in FIGURES.values()}


def test_it_is_short():
    assert len(TEXT.split()) <= 700
