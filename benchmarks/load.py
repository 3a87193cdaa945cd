"""The load test without containers: ``make load``. The installation of config/compose.toml, load, and strikes.

An API of two processes, two workers, a Valkey with an append-only file, a ledger and the SMS sink run on the loopback
interface; locust plays the scenarios of ``load/``. In the middle a worker is killed with -9, then the first gateway
fails for a while, then Valkey is ended and started again. Ends with another code than 0 when an objective is missed,
when the books do not balance, when the dispatches in the ledger are not the calls that the sink saw, or when a scenario
broke off. An answer that is not expected is a breach, and so is a 503
while Redis is there.
"""

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import redis
import requests
from accounts import Call, settle_ledger
from ledger_entries import entries_of
from processes import Process, free_port, start_valkey, wait_for_port
from prometheus_watch import Watch
from rig_workers import slot_of_dispatch

from otp_service.domain.keyring import api_key_hash, new_api_key, new_key

ROOT = Path(__file__).resolve().parents[1]
COMMAND = str(Path(sys.executable).parent / "otp-service")
KILL_AT, FAIL_AT, RESTART_AT = 0.25, 0.4, 0.65
"""When each strike comes, as a share of the run."""
FAILING, AWAY = 0.1, 0.02
"""How long the gateway fails and Redis is away, as shares of the run."""
PATIENCE = 120.0
"""Seconds in which everything has to be there; a busy machine starts slowly."""
_GATEWAY = "primary"


@dataclass
class Site:
    """The installation under load, and what is done to it."""

    folder: Path
    environment: dict[str, str]
    ports: dict[str, int]
    valkey: ExitStack = field(default_factory=ExitStack)
    workers: list[tuple[ExitStack, Process]] = field(default_factory=list)
    """What ends each, and its process; in the order of their ports."""
    strikes: list[dict[str, object]] = field(default_factory=list)

    @classmethod
    def build(cls, stack: ExitStack, folder: Path) -> "Site":
        """Start everything; it ends with the stack."""
        ports = {name: free_port() for name in ("valkey", "api", "metrics", "sink", "worker-0", "worker-1")}
        api_key = new_api_key()
        (folder / "api_key").write_text(api_key)
        site = cls(folder, _environment(folder, ports, api_key), ports)
        site._start_valkey(stack)
        sink = [sys.executable, str(ROOT / "load" / "sink.py"), "--port", str(ports["sink"])]
        Process.start(stack, [*sink, "--journal", str(folder / "sink.jsonl")])
        Process.start(stack, [COMMAND, "serve"], site.environment, folder / "serve.log")
        for place in range(2):
            site._start_worker(stack, place)
        for port in ports.values():
            wait_for_port(port, PATIENCE)
        return site

    def watch(self, stack: ExitStack) -> Watch:
        """Let a Prometheus watch, until the stack unwinds."""
        workers = [self.ports["worker-0"], self.ports["worker-1"]]
        targets = {"otp-service": [self.ports["metrics"]], "otp-service-worker": workers}
        return Watch.begin(stack, self.folder, targets, self.ports["valkey"])

    def kill_worker(self, stack: ExitStack) -> None:
        """End one with -9, and start another in its place."""
        began = time.time()
        own, process = self.workers.pop(0)
        os.kill(process.pid, signal.SIGKILL)
        own.close()
        self._start_worker(stack, 0)
        self._struck("worker", began)

    def fail_gateway(self, seconds: float) -> None:
        """Let the first gateway of the route answer each call with 500 for so long."""
        began = time.time()
        self._behave(failing=True)
        time.sleep(seconds)
        self._behave(failing=False)
        self._struck("gateway", began)

    def restart_valkey(self, stack: ExitStack, seconds: float) -> None:
        """End Valkey, and start it again over the same file after so many seconds."""
        began = time.time()
        self.valkey.close()
        time.sleep(seconds)
        self._start_valkey(stack)
        self._struck("redis", began)

    def _behave(self, *, failing: bool) -> None:
        url = f"http://127.0.0.1:{self.ports['sink']}/{_GATEWAY}/behaviour"
        requests.put(url, json={"failing": failing}, timeout=10).raise_for_status()

    def _struck(self, what: str, began: float) -> None:
        self.strikes.append({"what": what, "began": began, "ended": time.time()})
        (self.folder / "strikes.json").write_text(json.dumps(self.strikes))

    def _start_valkey(self, stack: ExitStack) -> None:
        self.valkey = stack.enter_context(ExitStack())
        start_valkey(self.valkey, self.folder, self.ports["valkey"])

    def _start_worker(self, stack: ExitStack, place: int) -> None:
        own = stack.enter_context(ExitStack())
        port = {"OTP_SERVICE__WORKER__METRICS_PORT": str(self.ports[f"worker-{place}"])}
        log = self.folder / f"worker-{place}-{len(self.strikes)}.log"
        process = Process.start(own, [COMMAND, "worker"], {**self.environment, **port}, log)
        self.workers.insert(place, (own, process))


def _environment(folder: Path, ports: dict[str, int], api_key: str) -> dict[str, str]:
    """Return what docker-compose.yml sets, for this host."""
    sink, secret = f"http://127.0.0.1:{ports['sink']}", secrets.token_urlsafe(32)
    gateways = {
        f"OTP_SERVICE__GATEWAYS__{name.upper()}__{member}": value
        for name in ("primary", "backup")
        for member, value in (("URL", f"{sink}/{name}/messages"), ("RECEIPTS__SECRET", secret))
    }
    return {
        **gateways,
        "OTP_SERVICE_CONFIG": str(ROOT / "config" / "compose.toml"),
        "OTP_SERVICE_ROOT_KEYS": f"k1:{new_key()}",
        "OTP_SERVICE_PSEUDONYM_KEY": new_key(),
        "OTP_SERVICE__REDIS__URL": f"redis://127.0.0.1:{ports['valkey']}/0",
        "OTP_SERVICE__LEDGER__URL": f"sqlite:///{folder / 'ledger.db'}",
        "OTP_SERVICE__HTTP__PORT": str(ports["api"]),
        "OTP_SERVICE__HTTP__METRICS_PORT": str(ports["metrics"]),
        "OTP_SERVICE__HTTP__PUBLIC_URL": f"http://127.0.0.1:{ports['api']}",
        "OTP_SERVICE__APPLICATIONS__DEV__KEYS": json.dumps([api_key_hash(api_key)]),
    }


def main() -> int:
    """Run everything; return 0 when all is as it must be."""
    options = _options()
    with ExitStack() as stack:
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otp-service-load-")))
        site = Site.build(stack, folder)
        watch = site.watch(stack) if options.picture else None
        load = subprocess.Popen([str(options.python), str(ROOT / "load" / "run.py")], env=_load(site, options))
        stack.callback(load.kill)
        began = time.time()
        for share, strike in _plan(site, stack, options.seconds):
            if _is_over(load, began + share * options.seconds):
                break
            strike()
        outcome = load.wait() or _settle_ledger(site)
        if watch:
            outcome = watch.check() or outcome
            options.picture.write_text(watch.draw(began, began + options.seconds, site.strikes))
        return outcome


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, required=True, help="of the environment that has locust")
    parser.add_argument("--picture", type=Path, help="let Prometheus watch, ask it everything, and draw what it saw")
    parser.add_argument("--folder", type=Path, help="empty, where everything is kept; by default it is deleted")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1, help="of who comes and what they do")
    return parser.parse_args()


def _plan(site: Site, stack: ExitStack, seconds: float) -> tuple[tuple[float, Callable[[], None]], ...]:
    """Return what strikes, and when, as a share of the run."""
    return (
        (KILL_AT, lambda: site.kill_worker(stack)),
        (FAIL_AT, lambda: site.fail_gateway(FAILING * seconds)),
        (RESTART_AT, lambda: site.restart_valkey(stack, AWAY * seconds)),
    )


def _settle_ledger(site: Site) -> int:
    """Compare the ledger's dispatches with the calls that the sink saw; return 1 when they are not the same."""
    journal = (site.folder / "sink.jsonl").read_text().splitlines()
    with redis.Redis(port=site.ports["valkey"]) as client:
        entries = entries_of(client, site.environment["OTP_SERVICE__LEDGER__URL"])
        served = [json.loads(line) for line in journal]
        calls = [Call(one["gateway"], one["accepted"], *slot_of_dispatch(client, one["dispatch"])) for one in served]
    interrupted = {one.slot for one in entries if one.reason == "interrupted"}
    breaches = settle_ledger(entries, calls, {}, interrupted)
    kept = f"{len({one.slot for one in entries}):,} dispatches in the ledger, {len(interrupted):,} of them interrupted"
    print(f"{kept}; the sink saw {len(calls):,}.")
    for breach in breaches:
        print(f"BREACH {breach}", file=sys.stderr)
    return 1 if breaches else 0


def _is_over(load: subprocess.Popen[bytes], until: float) -> bool:
    """Wait until a time, and tell whether the load ended before: it refused to begin, or broke off."""
    try:
        load.wait(max(0.0, until - time.time()))
    except subprocess.TimeoutExpired:
        return False
    return True


def _load(site: Site, options: argparse.Namespace) -> dict[str, str]:
    """Return the environment of the load."""
    return {
        **os.environ,
        "LOAD_BASE": f"http://127.0.0.1:{site.ports['api']}",
        "LOAD_SINK": f"http://127.0.0.1:{site.ports['sink']}",
        "LOAD_METRICS": f"http://127.0.0.1:{site.ports['metrics']}/metrics",
        "LOAD_API_KEY_FILE": str(site.folder / "api_key"),
        "LOAD_FOLDER": str(site.folder),
        "LOAD_SECONDS": str(options.seconds),
        "LOAD_USERS": str(options.users),
        "LOAD_SEED": str(options.seed),
    }


if __name__ == "__main__":
    sys.exit(main())
