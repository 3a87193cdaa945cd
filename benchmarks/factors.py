"""What a check of an authenticator app costs beside a check of a message's code, in one process over a real Valkey.

Rounds of both take turns, so that a busy machine slows both alike; the floor is one ``GET`` from the same Valkey. By
hand: ``PYTHONPATH=tests .venv/bin/python benchmarks/factors.py``.
"""

import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from support_api import START, Api
from support_factors import FACTORS, App
from support_installation import World
from support_valkey import ValkeyServer

ROUNDS, CHECKS = 9, 60
LIMITS = {"number": ["1000000/day"], "application": ["10000000/minute"], "ip": ["10000000/minute"]}


def main() -> None:
    """Print medians and ratios."""
    server = ValkeyServer(Path(tempfile.mkdtemp()))
    try:
        api = Api(World(server.client, server.url, lambda _: None), limits=LIMITS)
        logging.disable()
        apps = [App(api, user=f"user-{place}") for place in range(CHECKS)]
        for app in apps:
            app.activate()
        figures = [_round(api, apps, place) for place in range(ROUNDS)]
    finally:
        server.stop()
    message, app, wrong, floor = (statistics.median(one) * 1e6 for one in zip(*figures, strict=True))
    pairs = [two / one for one, two, _, _ in figures]
    print(f"a GET {floor:.0f} µs, a message's code {message:.0f} µs, an app's {app:.0f} µs, a wrong one {wrong:.0f} µs")
    print(f"an app's beside a message's: {statistics.median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})")


def _round(api: Api, apps: Sequence[App], place: int) -> tuple[float, float, float, float]:
    started = [api.start(to=f"+9230{place:02d}{number:06d}") for number in range(CHECKS)]
    of_messages = [(f"{START}/{one}/check", api.code(one)) for one in started]
    api.deliver()
    client, step = api.world.client, api.world.client.time()[0] // 30
    while client.time()[0] // 30 == step and place:  # each app has one code in 30 seconds
        time.sleep(0.1)
    of_apps = [(f"{FACTORS}/{app.id}/check", app.code()) for app in apps]
    wrong = [(path, app.wrong()) for (path, _), app in zip(of_apps[:1], apps, strict=False)]
    return (
        _timed(lambda: [_check(api, path, code, valid=True) for path, code in of_messages], CHECKS),
        _timed(lambda: [_check(api, path, code, valid=True) for path, code in of_apps], CHECKS),
        _timed(lambda: [_check(api, path, code, valid=False) for path, code in wrong], len(wrong)),
        _timed(lambda: [client.get("otp:none") for _ in range(CHECKS)], CHECKS),
    )


def _check(api: Api, path: str, code: str, *, valid: bool) -> None:
    answer = api.post(path, {"code": code}).json
    if answer["valid"] is not valid:
        raise SystemExit(f"not as expected: {answer}")


def _timed(act: Callable[[], object], count: int) -> float:
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) / count


if __name__ == "__main__":
    main()
