"""A person of whom a site holds all that it can hold, and what of both stores is theirs."""

import base64
import hmac
import json
import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from support_api import START, Api
from support_caller import Caller
from support_events import record_events
from support_factors import App
from support_installation import BANK_KEY, NUMBER, World, tree
from support_outbox import Scripted, Sender, refused
from support_webhooks import LOOPBACK

from otp_service.console.accounts import Role
from otp_service.console.records import (
    ConsoleUsers,
    DualControlAction,
    DualControlRequest,
    DualControlRequests,
    NumberView,
    NumberViews,
)
from otp_service.console.sessions import ConsoleSessions
from otp_service.domain.consents import EVERY_APPLICATION
from otp_service.domain.keyring import user_id
from otp_service.domain.numbers import parse_destination, subject_key
from otp_service.domain.webhooks import WebhookAttempt, WebhookSlots
from otp_service.ledger.schema import METADATA
from otp_service.services.factors import user_key
from otp_service.services.inbound import inbound_url

USER = "customer-8842-b"
WORDS = "told by Bilal"
"""Stands in all that somebody wrote about the person."""
WISH = "bhai ye cheez ab khatam samjhain"
"""What the person wrote."""
LABEL = "ali@example.com"
PUBLIC, SECRET = "https://otp.example", "receipts-of-the-test"
CONSENT = {
    "text_version": f"letter, {WORDS}",
    "text_sha256": "9f" * 32,
    "locale": "ur-PK",
    "channel": "web",
    "given_at": "2023-11-24T22:00:00Z",
    "source": WORDS,
}
DEVICE = {"client_ip": "203.0.113.77", "context": "device-4711"}
PAYMENT = {"amount": "1500", "currency": "PKR", "payee": "Daraz", "reference": "invoice-9"}


class Person:
    """Somebody with a number and an account at a shop, whose number is known to a bank too."""

    def __init__(self, world: World) -> None:
        applications = tree(world.url)["applications"]
        self.shop = Api(
            world,
            applications={
                "shop": {**applications["shop"], "consent": "recorded", "proofs": True, "client_ip": "required"},
                "bank": {**applications["bank"], "consent": "recorded"},
            },
            proofs={"issuer": PUBLIC},
            http={"public_url": PUBLIC},
            gateways={"sandbox": {"kind": "sandbox", "timeout": 1.0, "receipt_secret": SECRET}},
            webhooks={"networks": LOOPBACK},
            limits={"number": ["9/hour"]},
            purposes={"login": {"resend_delays": [0], "channels": ["sms", "voice"], "factors": ["message", "totp"]}},
        )
        self.bank = Api.__new__(Api)
        self.bank.__dict__ = {**self.shop.__dict__, "key": BANK_KEY}
        self.client = world.client
        self.context = self.shop.installation.context
        self.number = subject_key(self.context.keyring, parse_destination(NUMBER, None))
        self.user = user_key(self.context, "shop", USER)

    def live(self) -> None:
        """Do all that leaves anything."""
        hooks = {"url": "http://127.0.0.1:9/hooks", "types": ["verification", "delivery", "suppression", "factor"]}
        assert self.shop.post("/v1/endpoints", hooks).status_code == 201
        self._agree()
        self._verify()
        self._use_apps()
        self._write_back()
        self._be_looked_at()
        record_events(self.context)
        (delivery, *_) = self.context.ledger.webhook_outbox.claim(WebhookSlots(200), 1000, 100)
        self.context.ledger.webhook_outbox.settle(delivery, WebhookAttempt(1, 12, 500))
        self.pending = self.shop.start(NUMBER, user=USER, **DEVICE)
        """Its event is still to be recorded."""
        history = self.context.store.history.recent(self.number.bucket, self.number.pseudonym)
        self.started = {one.id for one in history}

    def _agree(self) -> None:
        for api in (self.shop, self.bank):
            assert api.call("PUT", "/v1/consents", json={"to": NUMBER, **CONSENT, "client_ip": "203.0.113.77"}).is_json
        self.shop.call("PUT", "/v1/suppressions", json={"to": NUMBER, "reason": WORDS, "scope": "marketing_only"})
        self.shop.post("/v1/subjects/freeze", {"to": NUMBER, "reason": WORDS})
        self.shop.post("/v1/subjects/unfreeze", {"to": NUMBER})

    def _verify(self) -> None:
        first = self.shop.post(START, {"to": NUMBER, "consent": CONSENT, "metadata": {"order": WORDS}, **DEVICE},
                               Idempotency_Key="one")  # fmt: skip
        one = first.json["id"]
        self.shop.deliver()
        self.shop.post(f"{START}/{one}/resend", {})
        self.shop.deliver()
        self.shop.post(f"{START}/{one}/check", {"code": self.shop.wrong(one)})
        approved = self.shop.post(f"{START}/{one}/check", {"code": self.shop.code(one)}, Idempotency_Key="two").json
        assert approved["valid"], approved
        payment = self.shop.start(NUMBER, purpose="payment", transaction=PAYMENT, **DEVICE)
        self.shop.post(f"{START}/{payment}/cancel", {})
        self.shop.start(NUMBER, **DEVICE)
        sandbox = self.context.gateways["sandbox"]
        Sender(Caller(self.shop.installation), sandbox=Scripted(refused("destination", "gone"))).deliver()
        self.context.gateways["sandbox"] = sandbox  # type: ignore[index] # as above
        at_bank = self.bank.start(NUMBER, context="device-4711")
        assert self.bank.post(f"{START}/{at_bank}/check", {"code": self.bank.code(at_bank)}).json["valid"]
        while self.bank.post(START, {"to": NUMBER}).status_code == 201:
            pass  # until a limit refuses

    def _use_apps(self) -> None:
        app, removed, _ = (App(self.shop, USER, LABEL) for _ in range(3))
        self.codes = app.activate()["recovery_codes"]
        removed.activate()
        removed.remove(reason="lost")
        answer = self.shop.post(
            f"/v1/factors/{app.id}/check",
            {"code": app.code(), "purpose": "login", "user": USER, "context": "device-4711"},
        )
        assert answer.json["proof"], answer.text
        app.check(app.wrong())
        spent = self.shop.post("/v1/recovery-codes/check", {"user": USER, "code": self.codes[0]})
        assert spent.json["valid"]

    def _write_back(self) -> None:
        path = inbound_url(self.context, "sandbox").removeprefix(PUBLIC)
        for text in (WISH, "STOP", "START"):
            body = json.dumps({"id": secrets.token_hex(8), "from": NUMBER, "text": text}).encode()
            signed = hmac.digest(SECRET.encode(), f"{PUBLIC}{path}".encode() + b"\n" + body, "sha256").hex()
            assert self.shop.client.post(path, data=body, headers={"X-Sandbox-Signature": signed}).status_code < 300

    def _be_looked_at(self) -> None:
        ledger, sessions = self.context.ledger, ConsoleSessions(self.context)
        ConsoleUsers(ledger.database).invite("asha", Role.COMPLIANCE, (), "hash", "cli:ali")
        session = sessions.find(sessions.begin(ConsoleUsers(ledger.database).find("asha")))
        sessions.point_to(session, self.number)
        NumberViews(ledger.database).record(NumberView("asha", "find", self.number.pseudonym, WORDS))
        for application in ("shop", "bank", EVERY_APPLICATION):
            DualControlRequests(ledger.database).ask(
                DualControlRequest(DualControlAction.ERASE, self.number.pseudonym, application, "asha", WORDS)
            )

    # --- what is theirs in both stores ---

    def rows(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the person's rows of the ledger: those that name them, or what names them."""
        with self.context.ledger.database.read() as connection:
            rows = [
                (table.name, dict(row))
                for table in METADATA.sorted_tables
                for row in connection.execute(select(table)).mappings()
            ]
        names = self.names()
        return [
            (table, row) for table, row in rows if any(name in str(value) for value in row.values() for name in names)
        ]

    def keys(self) -> dict[str, bytes]:
        """Return the person's keys in Redis, with all that they hold: those that name them, or what names them."""
        names, found = [name.encode() for name in self.names()], {}
        for key in self.client.scan_iter():
            held = self._held(key)
            if any(name in key + held for name in names):
                found[key.decode()] = held
        return found

    def names(self) -> set[str]:
        """Return the pseudonyms as they are spelt, and the identifiers of what names them."""
        pseudonyms = (self.number.pseudonym, self.user.pseudonym)
        hexadecimal = (base64.urlsafe_b64decode(f"{one}==").hex() for one in pseudonyms)
        ledger = self.context.ledger.subjects.export(self.number.pseudonym, None)
        told = (one["id"] for one in ledger.webhooks)
        self.started |= {one.id for one in ledger.verifications}
        return {*pseudonyms, *hexadecimal, user_id(self.user.pseudonym), *self.started, *told}

    def _held(self, key: bytes) -> bytes:
        read = {
            b"hash": self.client.hgetall, b"string": self.client.get, b"stream": self.client.xrange,
            b"set": self.client.smembers, b"list": lambda name: self.client.lrange(name, 0, -1),
            b"zset": lambda name: self.client.zrange(name, 0, -1, withscores=True),
        }  # fmt: skip
        return repr(read[self.client.type(key)](key)).encode()
