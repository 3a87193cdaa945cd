"""A Prometheus that watches a load run with the files of ``observe/``, and the pictures of what it saw."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import requests
import yaml
from plots import Lines, Series, picture
from processes import Process, free_port, wait_for_port

ROOT = Path(__file__).resolve().parents[1]
OBSERVE = ROOT / "observe"
_EXPORTER = "prometheus-redis-exporter"
_STEP = 2
_SETTLE = 20.0
"""Seconds after a run in which the last is scraped and the rules are evaluated once more."""


@dataclass(frozen=True)
class Watch:
    """A running Prometheus."""

    base: str

    @classmethod
    def begin(cls, stack: ExitStack, folder: Path, targets: Mapping[str, Sequence[int]], valkey: int) -> "Watch":
        """Scrape the ports of each job on this host, and Valkey through its exporter, until the stack unwinds."""
        missing = [name for name in ("prometheus", "promtool", _EXPORTER) if not shutil.which(name)]
        if missing:
            raise SystemExit(f"This needs {', '.join(missing)} (Debian: apt install prometheus {_EXPORTER}).")
        subprocess.run(["promtool", "check", "rules", *map(str, _rules())], check=True)
        exporter, port = free_port(), free_port()
        address = f"127.0.0.1:{exporter}"
        Process.start(stack, [_EXPORTER, "-web.listen-address", address, "-redis.addr", f"redis://127.0.0.1:{valkey}"])
        config = folder / "prometheus.json"
        config.write_text(json.dumps(_here({**targets, "redis": [exporter]})))
        command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'prometheus'}"]
        listen = [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
        Process.start(stack, [*command, *listen], log=folder / "prometheus.log")
        wait_for_port(port)
        return cls(f"http://127.0.0.1:{port}")

    def check(self) -> int:
        """Ask everything that is provisioned, and print it; return 1 when something has no answer."""
        time.sleep(_SETTLE)
        return subprocess.run([sys.executable, str(OBSERVE / "check.py"), self.base], check=False).returncode

    def draw(self, began: float, ended: float, strikes: Sequence[Mapping[str, Any]]) -> str:
        """Return the main plots of that time."""
        bands = [(float(one["began"]) - began, float(one["ended"]) - began, str(one["what"])) for one in strikes]
        return picture([self._lines(panel, began, ended, bands) for panel in PICTURED])

    def _lines(self, panel: "Pictured", began: float, ended: float, bands: list[tuple[float, float, str]]) -> Lines:
        found = [
            (query, legend, one)
            for query, legend in panel.queries
            for one in self._range(query, began, ended)
        ]  # fmt: skip
        lines = [Series(_name(legend, one["metric"]), _points(one["values"], began)) for _, legend, one in found]
        return Lines(panel.title, lines, "seconds", panel.unit, bands=bands, span=(0.0, ended - began))

    def _range(self, query: str, began: float, ended: float) -> list[dict[str, Any]]:
        asked = urlencode({"query": query, "start": began, "end": ended, "step": _STEP})
        answer = requests.get(f"{self.base}/api/v1/query_range?{asked}", timeout=30)
        answer.raise_for_status()
        return list(answer.json()["data"]["result"])


@dataclass(frozen=True)
class Pictured:
    """A panel of the dashboard that stands in the documents."""

    title: str
    queries: tuple[tuple[str, str], ...]
    """Queries, and what their lines are called: ``{{label}}`` is the label's value."""
    unit: str


def _pictured() -> tuple[Pictured, ...]:
    """Return the main panels, as the dashboard has them."""
    document = json.loads((OBSERVE / "grafana" / "dashboards" / "otp-service.json").read_text(encoding="utf-8"))
    panels = {panel["title"]: panel for panel in document["panels"]}
    return tuple(
        Pictured(
            title,
            tuple((one["expr"], one["legendFormat"]) for one in panels[title]["targets"]),
            _UNITS[panels[title]["fieldConfig"]["defaults"]["unit"]],
        )
        for title in _TITLES
    )


_UNITS = {"ops": "a second", "s": "seconds", "percentunit": "share", "bytes": "bytes", "short": ""}
_TITLES = (
    "Starts by outcome",
    "Checks by result",
    "Conversion by country",
    "Time to the answer, p99",
    "Calls to gateways by outcome",
    "Age of the oldest message that waits",
    "Refusals by rule",
    "Errors, share of the answers",
)
PICTURED = _pictured()


def _rules() -> list[Path]:
    return sorted((OBSERVE / "prometheus" / "rules").glob("*.yml"))


def _here(ports: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Return the configuration with targets on this host."""
    config = yaml.safe_load((OBSERVE / "prometheus" / "prometheus.yml").read_text())
    jobs = [
        {"job_name": job["job_name"], "static_configs": [{"targets": [f"127.0.0.1:{one}" for one in ports[name]]}]}
        for job in config["scrape_configs"]
        for name in [job["job_name"]]
    ]
    return {**config, "rule_files": [*map(str, _rules())], "scrape_configs": jobs}


def _name(legend: str, labels: Mapping[str, str]) -> str:
    for label, value in labels.items():
        legend = legend.replace(f"{{{{{label}}}}}", value)
    return legend if "{{" not in legend else "none"


def _points(values: Sequence[tuple[float, str]], began: float) -> list[tuple[float, float]]:
    return [(at - began, float(value)) for at, value in values]
