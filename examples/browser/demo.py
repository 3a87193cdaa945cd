"""The whole story in browser tabs: both sites, the handset, the console. ``make demo``; Ctrl-C stops all of it.

For development alone: who sees the handset sees every code. All of it listens on this machine's loopback address.
"""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from threading import Thread
from urllib.parse import urljoin, urlsplit

import httpx
from app import create_app
from werkzeug.serving import make_server

ORIGIN = os.environ.get("ORIGIN", "http://localhost:5000")
SETTINGS = {
    "OTP_SERVICE__LOGGING__LEVEL": "WARNING",
    "OTP_SERVICE__APPLICATIONS__DEV__NAME": "Acme",
    "OTP_SERVICE__GATEWAYS__SANDBOX__REPORT": "delivered",
    "OTP_SERVICE__GATEWAYS__SANDBOX__PRICES": json.dumps({"PK": "2.50", "*": "30"}),
    "OTP_SERVICE__APPLICATIONS__DEV__BROWSER_ORIGINS": json.dumps([ORIGIN]),
}
LAST_LINE = "Ctrl-C stops it.\n"
TOLD = re.compile(r"Ready at (\S+);.*\nAPI key of the application 'dev': (\S+)\nThe console, signed in: (\S+)")
ADDRESSES = """
The shop's login:        {origin}/shop
The bank's payment:      {origin}/bank
The handset:             {origin}/handset
The console, signed in:  {console}

Ctrl-C stops all of it."""


def main() -> None:
    """Start the service, with this program's arguments for ``otp-service dev``, and the pages; run until it ends."""
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, lambda *_: sys.exit())
    command = [Path(sys.executable).with_name("otp-service"), "dev", *sys.argv[1:]]
    with subprocess.Popen(command, env=os.environ | SETTINGS, stdout=subprocess.PIPE, text=True) as service:  # noqa: S603
        try:
            told = TOLD.search("".join(takewhile(LAST_LINE.__ne__, service.stdout)))
            if told:
                url, key, console = told.groups()
                wait_for(console)
                serve_pages(url, key, console)
            sys.exit(service.wait())
        finally:
            service.terminate()


def wait_for(console: str) -> None:
    """Return when the console answers: it starts last. It may be slow, or broken: the rest does not wait for ever."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with suppress(httpx.TransportError):
            httpx.get(urljoin(console, "/healthz"))
            return
        time.sleep(0.1)


def serve_pages(url: str, key: str, console: str) -> None:
    """Serve the pages from now on, and print all addresses."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # the handset asks each second
    server = make_server("127.0.0.1", urlsplit(ORIGIN).port, create_app(url, key, ORIGIN), threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    print(ADDRESSES.format(origin=ORIGIN, console=console), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
