"""What an app's check and a proof cost beside a message's check: ``make bench-factors``.

In one process, over a Valkey for each of two services, of which one adds proofs. Rounds of all take turns, so that a
busy machine slows them alike; the floor is one ``GET`` from the same Valkey.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from support_api import START, Api
from support_factors import FACTORS, App
from support_installation import World, tree
from support_valkey import ValkeyServer

from otp_service.telemetry.logging import Renderer, configure_logging

ROUNDS, CHECKS = 9, 60
LIMITS = {"number": ["1000000/day"], "application": ["10000000/minute"], "ip": ["10000000/minute"]}
FIGURES = ("a GET", "a message's code", "the same with a proof", "an app's code", "an app's wrong code")
AT_MOST = {"an app's code": 2.0, "the same with a proof": 2.0}
"""What each may cost in times of a message's code."""


def main() -> None:
    """Print medians, and their ratios to a message's code; exit with 1 when one is above what it may be."""
    with ExitStack() as stack:
        configure_logging("INFO", Renderer.JSON, stack.enter_context(Path(os.devnull).open("w")))
        plain = _api(stack)
        applications = {name: {**one, "proofs": True} for name, one in tree(plain.world.url)["applications"].items()}
        proving = _api(stack, proofs={"issuer": "https://otp.example"}, applications=applications)
        apps = [App(plain, user=f"user-{place}") for place in range(CHECKS)]
        for app in apps:
            app.activate()
        rounds = [_round(plain, proving, apps, place) for place in range(ROUNDS)]
    print(f"medians of {ROUNDS} rounds of {CHECKS} checks\n\n| | µs | in times of a message's code |\n|---|---:|---:|")
    too_much = []
    for name, seconds in zip(FIGURES, zip(*rounds, strict=True), strict=True):
        ratios = [one / of_round[1] for one, of_round in zip(seconds, rounds, strict=True)]
        microseconds, ratio = 1e6 * statistics.median(seconds), statistics.median(ratios)
        print(f"| {name} | {microseconds:.0f} | {ratio:.2f} ({min(ratios):.2f}-{max(ratios):.2f}) |")
        if ratio > AT_MOST.get(name, ratio):
            too_much.append(f"{name}: {ratio:.2f}, at most {AT_MOST[name]}")
    if too_much:
        raise SystemExit("\n".join(too_much))


def _api(stack: ExitStack, **sections: Any) -> Api:
    server = ValkeyServer(Path(stack.enter_context(tempfile.TemporaryDirectory())))
    stack.callback(server.stop)
    world = World(server.client, server.url, lambda _: None)
    return Api(world, limits=LIMITS, **sections)


def _round(plain: Api, proving: Api, apps: Sequence[App], place: int) -> list[float]:
    """Return seconds of one check of each kind, as `FIGURES` names them."""
    of_messages, with_proofs = (_started(api, place) for api in (plain, proving))
    client = plain.world.client
    step = client.time()[0] // 30
    while client.time()[0] // 30 == step and place:  # each app has one code in 30 seconds
        time.sleep(0.1)
    of_apps = [(f"{FACTORS}/{app.id}/check", app.code()) for app in apps]
    wrong = [(path, app.wrong()) for (path, _), app in zip(of_apps[:1], apps, strict=False)]
    return [
        _timed(lambda: [client.get("otp:none") for _ in range(CHECKS)], CHECKS),
        _timed(lambda: [_check(plain, path, code) for path, code in of_messages], CHECKS),
        _timed(lambda: [_check(proving, path, code, proof=True) for path, code in with_proofs], CHECKS),
        _timed(lambda: [_check(plain, path, code) for path, code in of_apps], CHECKS),
        _timed(lambda: [_check(plain, path, code, valid=False) for path, code in wrong], len(wrong)),
    ]


def _started(api: Api, place: int) -> list[tuple[str, str]]:
    """Start verifications whose messages are delivered; return where each is checked, and its code."""
    started = [api.start(to=f"+9230{place:02d}{number:06d}") for number in range(CHECKS)]
    codes = [(f"{START}/{one}/check", api.code(one)) for one in started]
    api.deliver()
    return codes


def _check(api: Api, path: str, code: str, *, valid: bool = True, proof: bool = False) -> None:
    answer: Any = api.post(path, {"code": code}).json
    if answer["valid"] is not valid or (answer.get("proof") is not None) is not proof:
        raise SystemExit(f"not as expected: {answer}")


def _timed(act: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) / count


if __name__ == "__main__":
    main()
