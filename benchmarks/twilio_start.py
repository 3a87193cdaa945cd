"""What a start as to Twilio Verify costs beside one through the API: ``make bench-twilio``.

In one process, over one Valkey, without a server in front: both are the same bytes to the same WSGI application. Rounds
take turns, so that a busy machine slows them alike. Messages are delivered between rounds, and not counted.
"""

import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from support_api import START, Api
from support_installation import API_KEY, World
from support_twilio import Facade, basic, twilio_api
from support_valkey import ValkeyServer

from otp_service.telemetry.logging import Renderer, configure_logging

ROUNDS, STARTS = 15, 200
LIMITS = {"number": ["1000000/day"], "application": ["10000000/minute"], "ip": ["10000000/minute"]}
AT_MOST = 1.3
"""What a start as to Twilio may cost, in times of one through the API."""
FIGURES = ("time", "CPU of the process", "CPU of Valkey")


def main() -> None:
    """Print medians, and their ratios; exit with 1 when one is above what it may be."""
    with ExitStack() as stack:
        configure_logging("INFO", Renderer.JSON, stack.enter_context(Path(os.devnull).open("w")))
        server = ValkeyServer(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        stack.callback(server.stop)
        api = twilio_api(World(server.client, server.url, lambda _: None), limits=LIMITS)
        path = f"/twilio/v2/Services/{Facade(api).services['login']}/Verifications"
        bearer = {"Authorization": f"Bearer {API_KEY}"}
        calls: list[Callable[[str], None]] = [
            lambda to: _post(api, START, "application/json", bearer, json.dumps({"to": to, "channel": "sms"})),
            lambda to: _post(
                api, path, "application/x-www-form-urlencoded", basic(), urlencode({"To": to, "Channel": "sms"})
            ),
        ]
        _round(api, calls[0], 99)  # what is made once
        rounds = [[_round(api, call, 2 * place + way) for way, call in enumerate(calls)] for place in range(ROUNDS)]
    print(f"medians of {len(rounds)} rounds of {STARTS} starts\n")
    print("| | API, µs | as to Twilio, µs | ratio |\n|---|---:|---:|---:|")
    too_much = []
    for place, name in enumerate(FIGURES):
        ours, theirs = ([one[way][place] for one in rounds] for way in range(len(calls)))
        ratios = [one / other for one, other in zip(theirs, ours, strict=True)]
        ratio = statistics.median(ratios)
        shown = " | ".join(f"{1e6 * statistics.median(seconds):.0f}" for seconds in (ours, theirs))
        print(f"| {name} | {shown} | {ratio:.2f} ({min(ratios):.2f}-{max(ratios):.2f}) |")
        if ratio > AT_MOST:
            too_much.append(f"{name}: {ratio:.2f}, at most {AT_MOST}")
    if too_much:
        raise SystemExit("\n".join(too_much))


def _round(api: Api, call: Callable[[str], None], place: int) -> tuple[float, float, float]:
    """Return seconds of one start, as `FIGURES` names them."""
    numbers = [f"+92300{place:02d}{number:05d}" for number in range(STARTS)]
    began, used, of_valkey = time.perf_counter(), time.process_time(), _used(api)
    for number in numbers:
        call(number)
    spent = (time.perf_counter() - began, time.process_time() - used, _used(api) - of_valkey)
    api.deliver()
    return (spent[0] / STARTS, spent[1] / STARTS, spent[2] / STARTS)


def _used(api: Api) -> float:
    """Return the seconds of CPU that Valkey has used."""
    told = api.world.client.info("cpu")
    return float(told["used_cpu_user"]) + float(told["used_cpu_sys"])


def _post(api: Api, path: str, media_type: str, headers: Mapping[str, str], body: str) -> None:
    statuses: list[str] = []
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": path,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_TYPE": media_type,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body.encode()),
        "wsgi.url_scheme": "http",
        "HTTP_AUTHORIZATION": headers["Authorization"],
    }
    list(api.app.wsgi_app(environ, lambda status, _: statuses.append(status)))  # type: ignore[arg-type]
    if statuses != ["201 CREATED"]:
        raise SystemExit(f"not as expected: {statuses}")


if __name__ == "__main__":
    main()
