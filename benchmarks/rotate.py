"""The rotation of root keys under load: ``make rotate``. Three minutes.

Callers start verifications, read the codes that were sent, and check them, half of them over connections that they
keep. Meanwhile a root key takes another's place in the three steps of docs/operations.md, again and again; in between,
the signal to reload comes more often than it can be obeyed. Each approval carries a proof, which is checked by the
published keys at once, and again after each step as by somebody who had none of them. Then what was started is compared
with what was sent and approved. Ends with 1 when a call failed, a message was lost or sent twice, a code or a proof was
not accepted that should have been, or a code was known whose key had been retired.
"""

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import jwt
from breaches import ended_with
from rig import percentile
from support_installation import tree
from support_ledger import use_another_ledger
from support_outbox import waiting
from support_rotation import FREE, ISSUER, Load, RootKeys, read_proof, root_of
from support_service import Service, eventually, running
from support_valkey import ValkeyServer

STORM = 100
"""Signals in a row, to each process."""

Coded = tuple[str, str]
"""A verification, and its code."""


@dataclass
class Books:
    """What it came to."""

    loads: list[Load] = field(default_factory=list)
    late: int = 0
    """Codes of the old key that were accepted when the new one was active."""
    retired: int = 0
    """Codes that nobody knew any more after their key had gone."""
    proofs: int = 0
    """Proofs that were accepted twice, the second time after the step in which they were signed."""
    reloads: list[float] = field(default_factory=list)
    """Seconds that each took, until all processes had done it."""
    breaches: list[str] = field(default_factory=list)


def main() -> int:
    """Rotate, settle the books, print them; return 1 when they show what must not be."""
    options = _options()
    use_another_ledger()
    books, active, other = Books(), "k1", "k2"
    with _service(options.workers) as (service, keys):
        for _ in range(options.rotations):
            retired = _change(service, keys, (active, other), options, books)
            _retire(service, keys, other, options, books)
            _refuse(service, retired, books)
            active, other = other, active
    breaches = books.breaches + [failure for load in books.loads for failure in load.failures]
    _print(options, books)
    return ended_with(breaches)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rotations", type=int, default=3)
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--verifications", type=int, default=100, help="that are approved between two steps")
    return parser.parse_args()


@contextmanager
def _service(workers: int) -> Iterator[tuple[Service, RootKeys]]:
    with tempfile.TemporaryDirectory(prefix="otp-service-rotate-") as name:
        folder = Path(name)
        keys, valkey = RootKeys(folder), ValkeyServer(folder)
        try:
            applications = {"shop": {**tree(valkey.url)["applications"]["shop"], "proofs": True}}
            sections = {"limits": FREE, "proofs": {"issuer": ISSUER}, "applications": applications}
            with running(folder, valkey, workers=workers, environ=keys.environ, **sections) as service:
                yield service, keys
        finally:
            valkey.stop()


def _change(
    service: Service, keys: RootKeys, pair: tuple[str, str], options: argparse.Namespace, books: Books
) -> list[Coded]:
    """Let another key become active; return verifications of the old one that nobody has checked."""
    active, other = pair
    with Load(service, options.callers) as load:
        for step in ((active, other), (other, active)):
            load.goes_on(options.verifications)
            _go_by(service, keys, step, books)
            load.goes_on(options.verifications)
            _storm(service)
    books.loads.append(load)
    old = [one for one in load.held_back if root_of(one[0]) == active]
    checked, retired = old[::2], old[1::2]
    books.late += _approve(service, checked, books)
    _approve(service, [one for one in load.held_back if root_of(one[0]) == other], books)
    _find_sent(service, load, books)
    _read_proofs(service, load, books)
    return retired


def _retire(service: Service, keys: RootKeys, kept: str, options: argparse.Namespace, books: Books) -> None:
    """Leave but one key."""
    with Load(service, options.callers) as load:
        load.goes_on(options.verifications)
        _go_by(service, keys, (kept,), books)
        load.goes_on(options.verifications)
    books.loads.append(load)
    _approve(service, load.held_back, books)
    _find_sent(service, load, books)
    _read_proofs(service, load, books)


def _go_by(service: Service, keys: RootKeys, names: tuple[str, ...], books: Books) -> None:
    began = time.monotonic()
    keys.bring_into_force(service, *names)
    books.reloads.append(time.monotonic() - began)


def _storm(service: Service) -> None:
    """Ask all processes to reload more often than they can."""
    children = [*service.children, *service.workers]
    told = service.told("reloaded")
    for _ in range(STORM):
        for child in children:
            child.send_signal(signal.SIGHUP)
        time.sleep(0.01)
    eventually(lambda: service.told("reloaded") >= told + 2 * len(children), 120)


def _approve(service: Service, coded: list[Coded], books: Books) -> int:
    """Check codes that must be accepted; return how many were."""
    wrong = [f"{one}: its code was not accepted" for one, code in coded if not service.check(one, code)["valid"]]
    books.breaches += wrong
    return len(coded) - len(wrong)


def _refuse(service: Service, coded: list[Coded], books: Books) -> None:
    """Check codes that nobody may know any more."""
    for one, code in coded:
        answer = service.post(f"/v1/verifications/{one}/check", {"code": code})
        if answer.status_code == HTTPStatus.NOT_FOUND:
            books.retired += 1
        else:
            books.breaches.append(f"{one}: known after its key had gone ({answer.status_code})")


def _find_sent(service: Service, load: Load, books: Books) -> None:
    """Look at what was sent, while it can be read."""
    eventually(lambda: not waiting(service.valkey.client))
    counts = {one: len(service.texts(one)) for one in load.started}
    books.breaches += [f"{one}: sent {count} times" for one, count in counts.items() if count != 1]


def _read_proofs(service: Service, load: Load, books: Books) -> None:
    """Check the proofs of a step by the keys that are published after it."""
    keys = jwt.PyJWKClient(f"{service.base}/.well-known/jwks.json")
    for proof in load.proofs:
        try:
            read_proof(proof, keys)
            books.proofs += 1
        except jwt.PyJWTError as refused:
            books.breaches.append(f"a proof was refused: {refused!r}")


def _print(options: argparse.Namespace, books: Books) -> None:
    loads = books.loads
    rows = {
        "calls, failed": f"{sum(one.calls for one in loads):,}, {sum(len(one.failures) for one in loads)}",
        "verifications started, each sent once": f"{sum(len(one.started) for one in loads):,}",
        "codes of an old key accepted while another was active": f"{books.late}",
        "codes refused after their key had gone": f"{books.retired}",
        "proofs, accepted at once and after the step": f"{sum(len(one.proofs) for one in loads):,}, {books.proofs:,}",
        "slowest call": f"{max(one.slowest for one in loads):.2f} s",
        "reload until all processes had done it, p50, max": ", ".join(
            f"{percentile(books.reloads, share):.1f} s" for share in (0.5, 1)
        ),
    }
    print(
        f"\n{options.rotations} rotations, {options.callers} callers, {options.workers} workers, 2 server processes:"
        "\n\n| | |\n|---|---:|"
    )
    for name, figure in rows.items():
        print(f"| {name} | {figure} |")


if __name__ == "__main__":
    sys.exit(main())
