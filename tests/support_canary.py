"""Gateways of every kind that fail, and tell in their errors everything that they were told."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import redis
import structlog
from support_installation import API_KEY, World
from support_smsc import Smsc
from support_valkey import free_port

from otp_service.domain.keyring import api_key_hash
from otp_service.telemetry.logging import Renderer, configure_logging
from otp_service.testing.provider import Behaviour, FakeProvider
from otp_service.testing.samples import CannedResponse

SECRETS = {
    "http": "canary-secret-1234",
    "twilio": "canary-token-5678",
    "vonage": "canary-secret-vonage",
    "sns": "canary/secret/of/amazon",
    "smpp": "canary-pw",
    "whatsapp_cloud": "canary-token-of-meta",
    "telegram": "canary-token-of-telegram",
}
"""What each kind authenticates with."""
POLICY_SECRETS = {"given": "canary-token-of-a-policy", "client": "canary-secret-of-a-policy"}
"""What policies authenticate with."""
KINDS = (*SECRETS, "sandbox")
FAILING = tuple(f"failing-{kind}" for kind in KINDS)
"""Gateways that cannot: a message goes on from each to the next."""
REFUSING = tuple(f"refusing-{kind}" for kind in KINDS)
"""Gateways that will not: a message ends there. Each has a purpose of the same name for itself."""
ORIGIN = "https://canary.example"
"""Of the pages that use client tokens."""
OTHERS = ("voice", "whatsapp", "telegram")
"""Channels beside SMS."""
_OWN_CHANNEL = {"refusing-whatsapp_cloud": "whatsapp", "refusing-telegram": "telegram"}
_SYSTEM_ERROR, _INVALID_DESTINATION = 0x08, 0x0B
_WORKS = {"kind": "sandbox", "timeout": 1.0}


@contextmanager
def providers() -> Iterator[dict[str, Any]]:
    """Start the providers; yield the sections of a service whose messages all fail, at last, or reach the sandbox."""
    with _failing(500, _SYSTEM_ERROR) as failing, _failing(400, _INVALID_DESTINATION) as refusing:
        nobody = {"kind": "http", "url": f"http://127.0.0.1:{free_port()}/s", "query": {"text": "{to} {text}"}}
        gateways = {
            "refused": nobody,
            **{f"failing-{kind}": one for kind, one in failing.items()},
            **{f"refusing-{kind}": one for kind, one in refusing.items()},
            "failing-sandbox": {**_WORKS, "fail": "unavailable"},
            "refusing-sandbox": {**_WORKS, "fail": "rejected"},
            "sandbox": _WORKS,
        }
        policies = _policies(failing["http"]["url"].partition("/{")[0])
        yield {"gateways": gateways, "policies": policies, **_sections()}


@contextmanager
def _failing(status: int, command_status: int) -> Iterator[dict[str, dict[str, Any]]]:
    """Start providers that answer with these statuses; yield a gateway of each kind that speaks to them."""
    with FakeProvider() as provider, Smsc() as smsc:
        provider.behaviour, provider.response = Behaviour.ECHO, CannedResponse(status=status)
        smsc.answer = lambda _submit, _number: (command_status, "")
        yield _gateways(provider.url, smsc.port)


def _gateways(url: str, smsc_port: int) -> dict[str, dict[str, Any]]:
    number = "+15005550006"
    return {
        "http": {
            "kind": "http",
            "url": f"{url}/{{to}}/send",
            "method": "GET",
            "query": {"text": "{text}", "key": "{secret.key}"},
            "secrets": {"key": SECRETS["http"]},
        },
        "twilio": {
            "kind": "twilio",
            "base_url": url,
            "account_sid": "AC" + "0" * 32,
            "auth_token": SECRETS["twilio"],
            **dict.fromkeys(("from", "voice_from", "whatsapp_from"), number),
        },
        "vonage": {
            "kind": "vonage",
            "base_url": url,
            "api_key": "canary",
            "api_secret": SECRETS["vonage"],
            "from": "Acme",
        },
        "sns": {
            "kind": "sns",
            "base_url": url,
            "region": "eu-west-1",
            "access_key_id": "AKIDCANARY",
            "secret_access_key": SECRETS["sns"],
        },
        "smpp": {
            "kind": "smpp",
            "host": "127.0.0.1",
            "port": smsc_port,
            "system_id": "canary",
            "password": SECRETS["smpp"],
            "source": "Acme",
        },
        "whatsapp_cloud": {
            "kind": "whatsapp_cloud",
            "base_url": url,
            "phone_number_id": "106540352242922",
            "access_token": SECRETS["whatsapp_cloud"],
            "template": "login_code",
        },
        "telegram": {"kind": "telegram", "base_url": url, "token": SECRETS["telegram"]},
    }


def _policies(url: str) -> dict[str, dict[str, Any]]:
    """Return policies that know nothing of any message."""
    operator = {"kind": "camara_sim_swap", "unknown": "allow", "base_url": url}
    client = {"token_url": f"{url}/token", "client_id": "canary", "client_secret": POLICY_SECRETS["client"]}
    return {"given": {**operator, "token": POLICY_SECRETS["given"]}, "client": {**operator, **client}}


def _sections() -> dict[str, Any]:
    shop = {"name": "Acme Shop", "keys": [api_key_hash(API_KEY)], "countries": ["PK"], "region": "PK"}
    shop |= {"client_ip": "connection", "consent": "recorded", "browser_origins": [ORIGIN]}
    return {
        "purposes": {
            "login": {"channels": ["sms", *OTHERS]},
            **{name: {"channels": [_OWN_CHANNEL.get(name, "sms")]} for name in REFUSING},
        },
        "routes": [
            *({"purposes": [name], "gateways": [name]} for name in REFUSING),
            {"gateways": ["refused", *FAILING, "sandbox"]},
        ],
        "applications": {"shop": {**shop, "purposes": ["login", "payment", *REFUSING]}},
        "limits": {"number": ["100/10 minutes"]},
        "breaker": {"bad_in_a_row": 1000, "min_calls": 100_000},
        "worker": {"max_ambiguous": 20, "metrics_port": free_port()},
    }


@contextmanager
def logged_at_debug() -> Iterator[StringIO]:
    """Yield what is logged, DEBUG on."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = StringIO()
    configure_logging("DEBUG", Renderer.JSON, written)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


def redis_as_it_is(world: World) -> bytes:
    """Return all keys, and all that they hold, as it is."""
    world.client.config_set("rdbcompression", "no")
    names = [*world.client.scan_iter()]
    return b"\n".join(part for name in names for part in (name, world.client.dump(name) or b""))


def ledger_as_it_is(url: str) -> bytes:
    """Return all rows and files of a ledger."""
    path = Path(url.removeprefix("sqlite:///"))
    rows = "\n".join(sqlite3.connect(path).iterdump())
    return rows.encode() + b"".join(one.read_bytes() for one in path.parent.glob(f"{path.name}*"))


def dump(client: redis.Redis) -> bytes:
    """Return every key and every value in a server."""
    found = []
    for key in client.scan_iter():
        kind = client.type(key).decode()
        read = {
            "hash": client.hgetall, "string": client.get, "stream": client.xrange,
            "set": client.smembers, "list": lambda name: client.lrange(name, 0, -1),
            "zset": lambda name: client.zrange(name, 0, -1),
        }  # fmt: skip
        found.append(key + repr(read[kind](key)).encode())
    return b"\n".join(found)
