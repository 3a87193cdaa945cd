"""An installation for benchmarks, and verifications to check in it."""

import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path

import redis
from permissive_guard import PERMISSIVE
from processes import free_port
from rig_workers import BUCKET

from otp_service.bootstrap import Installation, install
from otp_service.domain.codes import derive_code
from otp_service.domain.keyring import api_key_hash, new_api_key, new_key
from otp_service.services.start import StartRequest, start
from otp_service.settings import load_settings
from otp_service.store import keys

_FROM = itertools.count(0)


@dataclass(frozen=True)
class BenchSettings:
    """A configuration file for `serve`, and what is needed to call it."""

    path: Path
    port: int
    api_key: str
    installation: Installation

    @classmethod
    def make(cls, folder: Path, valkey_url: str, processes: int, log_level: str) -> "BenchSettings":
        """Write a configuration with the defaults, but what would refuse so many calls of a few out of the way."""
        port, api_key, path = free_port(), new_api_key(), folder / "bench.json"
        os.environ["OTP_SERVICE_ROOT_KEYS"] = f"k1:{new_key()}"
        os.environ["OTP_SERVICE_PSEUDONYM_KEY"] = new_key()
        tree = {
            "environment": "development",
            "redis": {"url": valkey_url},
            "ledger": {"url": f"sqlite:///{folder / 'ledger.db'}"},
            "http": {"port": port, "processes": processes, "threads": 2, "metrics_port": 0},
            "limits": {"application": ["100000000/minute"]},
            "guard": PERMISSIVE,
            "streams": {"max_outbox": 100_000_000, "max_events": 100_000_000},  # nobody delivers or records here
            "purposes": {"login": {}, "payment": {"kind": "transaction"}},
            "applications": {
                "bench": {
                    "name": "Bench",
                    "keys": [api_key_hash(api_key)],
                    "purposes": ["login", "payment"],
                    "countries": ["PK"],
                    "region": "PK",
                    "client_ip": "required",
                }
            },
            "gateways": {"sandbox": {"kind": "sandbox"}},
            "logging": {"level": log_level},
        }
        path.write_text(json.dumps(tree))
        installation = install(load_settings(path))
        installation.context.ledger.upgrade()
        return cls(path, port, api_key, installation)


def seed_checks(settings: BenchSettings, path: Path, count: int) -> Path:
    """Start ``count`` verifications and write their identifiers and codes, one pair a line."""
    context = settings.installation.context
    application = context.applications["bench"]
    with path.open("w") as lines:
        for number in itertools.islice(_FROM, count):
            address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"  # another each time: none has too many
            request = StartRequest(to=f"+92345{number:07d}", client_ip=address)
            verification = start(context, application, request).verification
            lines.write(f"{verification.id} {derive_code(context.keyring, verification, 0, '')}\n")
    return path


def forget_messages(client: redis.Redis) -> None:
    """Forget what waits to be delivered: nobody delivers here, and starts are refused when messages become too old.

    And what the country's breaker has seen: nobody records here that codes are approved. Only while nothing is asked of
    the service, which may not find one of these keys without the others.
    """
    queues, ready = keys.queues(BUCKET), keys.ready(BUCKET)
    client.delete(*client.hkeys(queues), queues, ready, keys.country("00", "bench", "PK"))
