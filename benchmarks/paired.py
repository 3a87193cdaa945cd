"""One of the two checkouts that `pair.py` compares: served from the current folder, and asked over standard input.

``clean`` forgets the messages that wait, which nobody delivers here; ``seed N`` makes verifications to check and
answers with the file of their codes; ``cpu`` answers with processor seconds. The modules are those of that checkout.
"""

import json
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import redis
from processes import Process, cpu_seconds, start_valkey, wait_for_port
from seeding import BenchSettings, forget_messages, seed_checks

_MAIN = "from otp_service.cli.main import main; main()"


def main() -> None:
    """Serve until standard input ends."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otp-service-pair-")))
        url = start_valkey(stack, folder)
        client = stack.enter_context(redis.Redis.from_url(url))
        settings = BenchSettings.make(folder, url, 2, "INFO")
        serve = [sys.executable, "-c", _MAIN, "serve", "--config", str(settings.path)]
        service = Process.start(stack, serve, log=folder / "service.log")
        wait_for_port(settings.port)
        print(json.dumps({"port": settings.port, "key": settings.api_key}), flush=True)
        for line in sys.stdin:
            word, *rest = line.split()
            if word != "cpu":
                forget_messages(client)
            if word == "seed":
                print(seed_checks(settings, folder / "codes", int(rest[0])), flush=True)
            elif word == "cpu":
                print(json.dumps({"service": cpu_seconds(service.pid), "valkey": _cpu(client)}), flush=True)
            else:
                print(flush=True)


def _cpu(client: redis.Redis) -> float:
    used = client.info("cpu")
    return float(used["used_cpu_user"] + used["used_cpu_sys"])


if __name__ == "__main__":
    main()
