"""A secret, a label and recovery codes, followed through a run at DEBUG: they are written nowhere in the clear."""

import base64
import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest
import structlog
from support_api import Api
from support_factors import FACTORS, App, record
from support_installation import World
from support_ledger import another_ledger

from otp_service.telemetry.logging import Renderer, configure_logging

USER, LABEL = "canary-user-77e1", "canary-label@example.com"


@pytest.fixture
def log() -> Iterator[StringIO]:
    """What is logged, DEBUG on."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = StringIO()
    configure_logging("DEBUG", Renderer.JSON, written)
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@dataclass
class Run:
    """What a run wrote, by where, and what must not be in it."""

    written: dict[str, bytes]
    secrets: list[bytes]


@pytest.fixture
def run(real_world: World, log: StringIO) -> Run:
    ledger = another_ledger()
    api = Api(real_world, ledger={"url": ledger})
    app = App(api, user=USER, label=LABEL, qr="svg")
    pending = _redis(real_world)
    codes = [app.code(-1), app.code(), app.code(1)]
    recovery = app.activate(codes[0])["recovery_codes"]
    answers = [
        api.post(f"{FACTORS}/{app.id}/check", {"code": codes[1]}, Idempotency_Key="canary"),
        api.post(f"{FACTORS}/{app.id}/check", {"code": app.wrong(), "context": "canary-device-3f"}),
        api.post(f"{FACTORS}/{app.id}/check", {"code": "not-a-code", "user": USER}),
        api.post(FACTORS, {"user": USER, "label": LABEL, "uri": f"otpauth://totp/x?secret={app.enrolled['secret']}x"}),
        api.post("/v1/users/freeze", {"user": USER, "reason": "stolen"}),
        api.post(f"{FACTORS}/{app.id}/check", {"code": codes[2]}),
        api.post("/v1/users/unfreeze", {"user": USER}),
    ]
    used = api.post("/v1/recovery-codes/check", {"user": USER, "code": recovery[0]}).json
    assert used["valid"]
    record(api)
    secret = app.totp.byte_secret()
    spelled = [secret, secret.hex().encode(), base64.b64encode(secret), base64.b32encode(secret).rstrip(b"=")]
    plain = [code.replace("-", "") for code in (*recovery, used["replacement"])]
    written = {
        "log": log.getvalue().encode(),
        "Redis": pending + _redis(real_world),
        "ledger": _ledger(ledger),
        "metrics": api.client.get("/metrics").data,
        "answers": b"".join(answer.data for answer in answers),
    }
    hidden = [*codes, *plain, *recovery, used["replacement"], USER, LABEL, "canary-device-3f"]
    return Run(written, [*spelled, *(one.encode() for one in hidden)])


def _redis(world: World) -> bytes:
    """Return all keys, and all that they hold, as it is."""
    world.client.config_set("rdbcompression", "no")
    names = [*world.client.scan_iter()]
    return b"\n".join(part for name in names for part in (name, world.client.dump(name) or b""))


def _ledger(url: str) -> bytes:
    path = Path(url.removeprefix("sqlite:///"))
    rows = "\n".join(sqlite3.connect(path).iterdump())
    return rows.encode() + b"".join(one.read_bytes() for one in path.parent.glob(f"{path.name}*"))


@pytest.mark.parametrize("place", ["log", "Redis", "ledger", "metrics", "answers"])
def test_secrets_and_recovery_codes_are_written_nowhere(run: Run, place: str):
    text = run.written[place]

    assert len(text) > 200, "nothing was looked at"
    assert [one for one in run.secrets if one in text] == []
