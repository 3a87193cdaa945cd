"""A secret, a label and recovery codes, followed through a run at DEBUG: they are written nowhere in the clear."""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO

import pytest
from support_api import Api
from support_canary import ledger_as_it_is, logged_at_debug, redis_as_it_is
from support_factors import FACTORS, App, record
from support_installation import World
from support_ledger import another_ledger

USER, LABEL = "canary-user-77e1", "canary-label@example.com"


@pytest.fixture
def log() -> Iterator[StringIO]:
    with logged_at_debug() as written:
        yield written


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
    pending = redis_as_it_is(real_world)
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
        "Redis": pending + redis_as_it_is(real_world),
        "ledger": ledger_as_it_is(ledger),
        "metrics": api.client.get("/metrics").data,
        "answers": b"".join(answer.data for answer in answers),
    }
    hidden = [*codes, *plain, *recovery, used["replacement"], USER, LABEL, "canary-device-3f"]
    return Run(written, [*spelled, *(one.encode() for one in hidden)])


@pytest.mark.parametrize("place", ["log", "Redis", "ledger", "metrics", "answers"])
def test_secrets_and_recovery_codes_are_written_nowhere(run: Run, place: str):
    text = run.written[place]
    if place == "metrics":  # seconds have sixteen digits, and six of them are some code's now and then
        text = re.sub(rb" [0-9.e+-]+$", b"", text, flags=re.MULTILINE)

    assert len(text) > 200, "nothing was looked at"
    assert [one for one in run.secrets if one in text] == []
