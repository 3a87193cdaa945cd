"""The canary: one person's number, code, address and payment, followed through everything that the service writes."""

import base64
import json
import re
import signal
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from support_caller import Caller
from support_canary import FAILING, ORIGIN, OTHERS, POLICY_SECRETS, REFUSING, SECRETS, dump, providers
from support_installation import API_KEY
from support_outbox import DELAYED, waiting
from support_service import Service, eventually, running
from support_valkey import ValkeyServer
from support_webhooks import LOOPBACK, Receiver, receiving

from otp_service import bootstrap
from otp_service.domain.keyring import from_base64url
from otp_service.settings import load_settings

NUMBER, NATIONAL = "+923451987654", "03451987654"
ADDRESS = "203.0.113.77"
PAYEE, ACCOUNT, CONTEXT = "Canary Traders", "7193", "canary-device-4711"
TRANSACTION = {"amount": "98765.43", "currency": "PKR", "payee": PAYEE, "account": ACCOUNT}


CONSENT = {
    "text_version": "2026-11",
    "text_sha256": "9f" * 32,
    "locale": "ur-PK",
    "channel": "web",
    "given_at": "2026-11-24T22:00:00Z",
    "source": "checkout",
}
SUBJECT = ("freeze", "unfreeze", "export", "erase")
PUT = {
    "/v1/consents": {"to": NUMBER, "client_ip": ADDRESS, **CONSENT},
    "/v1/suppressions": {"to": NUMBER, "reason": "asked by phone", "until": "2026-01-01T00:00:00Z"},
}


@dataclass
class Flight:
    """Everything that was written while the canary flew, by where it was found."""

    written: dict[str, bytes]
    codes: list[str]
    failures: dict[str, set[str]]
    """What was recorded of calls that failed, by gateway."""
    webhook_secrets: list[str]
    """As they were shown when they were made."""
    client_token: str
    """As its start showed it, in an answer that is not among those written."""
    destinations: list[str]
    """What answers to starts had as `destination`, which is not among those written: the one member with a number."""

    def finds(self, *needles: str) -> list[tuple[str, str]]:
        return [(where, one) for where, text in self.written.items() for one in needles if one.encode() in text]

    def finds_alone(self, digits: str) -> set[str]:
        """Find digits that are no part of an identifier or of a time, where any few digits occur by chance."""
        alone = re.compile(rb"(?<![0-9a-f.])" + digits.encode() + rb"(?![0-9a-f])")
        return {where for where, text in self.written.items() if alone.search(text)}


@pytest.fixture(scope="module")
def flight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flight]:
    """Run the whole service at DEBUG with an append-only file, provoke every error, and collect what was written."""
    folder, data = tmp_path_factory.mktemp("service"), tmp_path_factory.mktemp("valkey")
    valkey = ValkeyServer(data, options=("--appendonly", "yes", "--appendfsync", "always"))
    try:
        with (
            providers() as sections,
            receiving() as receiver,
            running(
                folder,
                valkey,
                **sections,
                ledger={"url": f"sqlite:///{folder / 'ledger.db'}"},
                logging={"level": "DEBUG"},
                webhooks={"networks": LOOPBACK, "timeout": 1.0},
            ) as service,
        ):
            yield _fly(service, valkey, data, receiver)
    finally:
        valkey.stop()


def _fly(service: Service, valkey: ValkeyServer, data: Path, receiver: Receiver) -> Flight:
    answers: list[bytes] = []
    destinations: list[str] = []
    webhook_secrets = _endpoints(service, receiver)

    def post(path: str, body: object, **headers: str) -> requests.Response:
        answer = service.post(path, body, **headers)
        content = answer.content
        if path == "/v1/verifications" and answer.status_code == 201:
            shown = answer.json()
            destinations.append(shown.pop("destination"))
            content = json.dumps(shown, ensure_ascii=False).encode()
        answers.append(repr(answer.headers).encode() + content)
        return answer

    login = post(
        "/v1/verifications",
        {"to": NATIONAL, "client_ip": ADDRESS, "context": CONTEXT, "metadata": {"note": "x"}, "consent": CONSENT},
    )
    asked = {"to": NUMBER, "client_ip": ADDRESS, "purpose": "payment", "transaction": TRANSACTION, "context": CONTEXT}
    payment = post("/v1/verifications", asked, Idempotency_Key="canary")
    post("/v1/verifications", asked, Idempotency_Key="canary")
    codes = [service.code(answer.json()["id"]) for answer in (login, payment)]
    others = [post("/v1/verifications", {"to": NUMBER, "purpose": name}) for name in REFUSING]
    others += [post("/v1/verifications", {"to": NUMBER, "channel": channel}) for channel in OTHERS]
    ids = [answer.json()["id"] for answer in (login, payment, *others)]
    eventually(lambda: not waiting(valkey.client) and not valkey.client.zcard(DELAYED))
    caller = Caller(bootstrap.install(load_settings(service.config, service.keys), valkey.client))
    codes += [caller.code(one) for one in ids[2:]]
    failures = _failures(service, ids)
    wrong = f"{(int(codes[0]) + 1) % 1_000_000:06d}"
    one, other = ids[:2]
    post(f"/v1/verifications/{one}/check", {"code": wrong})
    post(f"/v1/verifications/{one}/check", {"code": codes[0], "unknown": NUMBER})
    post(f"/v1/verifications/{one}/check", {"code": codes[0] + "99"})
    for to in (NATIONAL[:-1] + "5", NUMBER[:-1] + "x"):
        post(f"/v1/verifications/{one}/check", {"code": codes[0], "to": to})
    post(f"/v1/verifications/{one}/check", {"code": wrong, "to": NATIONAL})
    post(f"/v1/verifications/{one}/check", {"code": codes[0]})
    post(f"/v1/verifications/{one}/check", {"code": codes[0]})
    post(f"/v1/verifications/{other}/check", {"code": codes[1], "transaction": {**TRANSACTION, "amount": "1"}})
    post(f"/v1/verifications/{other}/resend", {})
    post(f"/v1/verifications/{other}/cancel", {})
    client_token = _use_client_token(service, answers)
    for to in (NUMBER + " ext 5", NUMBER + "0", NUMBER + "\u202e", NUMBER):
        post("/v1/verifications", {"to": to, "client_ip": "not an address" if to == NUMBER else ADDRESS})
    headers = {"Authorization": f"Bearer {API_KEY}", "Content-Type": "application/json"}
    malformed = (f'{{"to": "{NUMBER}", "to": "{NUMBER}"}}', f'{{"to": {NUMBER}}}', f'{{"to": "{NUMBER}"')
    answers.extend(
        requests.post(f"{service.base}/v1/verifications", data=raw, timeout=10, headers=headers).content
        for raw in malformed
    )
    answers.extend(_forged_reports(service, codes[0]))
    answers.append(service.get(f"/v1/verifications/{one}").content)
    for path in ("consents/find", "consents/withdraw", *(f"subjects/{act}" for act in SUBJECT)):
        post(f"/v1/{path}", {"to": NUMBER})
    post("/v1/consents", {"to": NUMBER, "text": NUMBER})
    answers.extend(put(service, path, body) for path, body in PUT.items())
    eventually(lambda: not caller.context.store.events.unrecorded())
    eventually(lambda: {"/ok", "/bad", "/redirect", "/close"} <= {one.path for one in receiver.requests})
    valkey.process.send_signal(signal.SIGSTOP)
    post("/v1/verifications", {"to": NUMBER, "client_ip": ADDRESS})
    valkey.process.send_signal(signal.SIGCONT)
    eventually(lambda: not waiting(valkey.client))
    worker = json.loads(service.config.read_text())["worker"]["metrics_port"]
    written = {
        "answers": b"\n".join(answers),
        "metrics": service.get("/metrics").content,
        "worker's metrics": requests.get(f"http://127.0.0.1:{worker}/metrics", timeout=10).content,
        "logs": service.logs().encode(),
        "redis": dump(valkey.client),
        "ledger": b"".join(path.read_bytes() for path in service.folder.glob("ledger.db*")),
        "webhooks": b"\n".join(repr(one.headers).encode() + one.body for one in receiver.requests),
        "append-only file": b"".join(path.read_bytes() for path in data.rglob("*.aof")),
    }
    return Flight(written, codes, failures, webhook_secrets, client_token, destinations)


def _use_client_token(service: Service, answers: list[bytes]) -> str:
    """Make every call of a page, and some that it may not make; return the token."""
    asked = {"allow": ["read", "check", "resend"], "origin": ORIGIN}
    begun = service.post("/v1/verifications", {"to": NUMBER, "client_ip": ADDRESS, "client_token": asked}).json()
    token, address = begun["client_token"], f"{service.base}/v1/verifications/{begun['id']}"
    for bearer, origin in ((token, ORIGIN), (token, "https://evil.example"), (token[:-2], ORIGIN)):
        headers = {"Authorization": f"Bearer {bearer}", "Origin": origin, "Idempotency-Key": "of-a-page"}
        for path, body in (("", None), ("/check", {"code": "000000", token: token}), ("/resend", {}), ("/cancel", {})):
            method = "GET" if body is None else "POST"
            answer = requests.request(method, address + path, json=body, headers=headers, timeout=10)
            answers.append(repr(answer.headers).encode() + answer.content)
        answers.append(requests.get(f"{address}/{token}?token={token}", headers=headers, timeout=10).content)
    return str(token)


def _endpoints(service: Service, receiver: Receiver) -> list[str]:
    """Let receivers of every kind be told everything; return their secrets, those of before a rotation too."""
    receiver.answers["/bad"] = 500
    found, types = [], ["verification", "delivery", "suppression", "alarm"]
    for path in ("/ok", "/bad", "/redirect", "/close"):
        made = service.post("/v1/endpoints", {"url": receiver.url + path, "types": types}).json()
        rotated = service.post(f"/v1/endpoints/{made['endpoint']['id']}/rotate", {"overlap": 3600}).json()
        found += [made["secret"], rotated["secret"]]
    return found


def put(service: Service, path: str, body: object) -> bytes:
    headers = {"Authorization": f"Bearer {API_KEY}"}
    return requests.put(service.base + path, json=body, headers=headers, timeout=10).content


def _failures(service: Service, ids: list[str]) -> dict[str, set[str]]:
    """Return the reasons for which calls failed, by gateway."""
    found = defaultdict[str, set[str]](set)
    for one in ids:
        for delivery in service.get(f"/v1/verifications/{one}").json()["deliveries"]:
            if delivery["reason"]:
                found[delivery["gateway"]].add(delivery["reason"])
    return found


def _forged_reports(service: Service, code: str) -> Iterator[bytes]:
    """Report, without proof and with everything that there is to tell, on calls that were really made."""
    for name in service.valkey.client.scan_iter("otp:{00}:dispatch:*"):
        gateway = service.valkey.client.hget(name, "gateway").decode()
        address = f"{service.base}/v1/receipts/{gateway}/{name.decode().rpartition(':')[2]}"
        report = {"MessageStatus": "delivered", "To": NUMBER, "Body": f"Your code is {code}"}
        yield requests.post(address, data=report, params=report, timeout=10).content
        yield requests.post(address, json=report, timeout=10).content


def test_the_canary_flew_through_everything(flight: Flight):
    assert all(len(text) > 500 for text in flight.written.values())
    assert b"store-unavailable" in flight.written["answers"]
    assert b"unavailable" in flight.written["logs"]
    assert b"destination" in flight.written["append-only file"]
    assert b"otp_service_dispatches_total" in flight.written["worker's metrics"]


@pytest.mark.parametrize("gateway", ["refused", *FAILING])
def test_every_gateway_failed_in_a_way_that_goes_on(flight: Flight, gateway: str):
    assert flight.failures[gateway]
    assert all(reason.startswith(("unavailable ", "error ")) for reason in flight.failures[gateway])


@pytest.mark.parametrize("gateway", REFUSING)
def test_every_gateway_failed_in_a_way_that_ends_a_message(flight: Flight, gateway: str):
    assert flight.failures[gateway]
    assert all(reason.startswith(("rejected ", "destination ")) for reason in flight.failures[gateway])


@pytest.mark.parametrize("policy", POLICY_SECRETS)
def test_every_policy_was_asked_and_knew_nothing(flight: Flight, policy: str):
    asked = f'otp_service_policy_verdicts_total{{policy="{policy}",verdict="unknown"}}'

    assert flight.finds(asked) == [("worker's metrics", asked)]
    assert b"policy_asked" in flight.written["logs"]


def test_the_number_is_written_nowhere(flight: Flight):
    suffixes = [NUMBER[-digits:] for digits in range(7, 13)]

    assert flight.finds(NUMBER, NATIONAL, *suffixes, base64.b64encode(NUMBER.encode()).decode()) == []


def test_only_answers_to_starts_show_the_number_as_their_destination(flight: Flight):
    assert flight.destinations == [NUMBER] * (3 + len(REFUSING) + len(OTHERS))
    assert b'"destination"' not in flight.written["answers"]


def test_the_mask_is_stored_nowhere_and_shown(flight: Flight):
    """Beside the name of its block it would leave one number in ten."""
    bullet = "•".encode()
    found = {where for where, text in flight.written.items() if bullet in text or repr(bullet)[2:-1].encode() in text}
    shown = flight.finds(f"+92 ••• ••••{NUMBER[-3:]}")

    assert found == {"answers"} == {where for where, _ in shown}


def test_the_codes_are_written_nowhere(flight: Flight):
    assert [flight.finds_alone(code) for code in flight.codes] == [set() for _ in flight.codes]


def test_the_address_and_the_context_are_written_nowhere(flight: Flight):
    assert flight.finds(ADDRESS, CONTEXT) == []


def test_the_payment_is_shown_to_its_caller_only(flight: Flight):
    places = {where for where, _ in flight.finds(PAYEE, "98765.43")}

    assert places == flight.finds_alone(ACCOUNT) == {"answers"}


def test_no_secret_of_a_webhook_is_written_anywhere(flight: Flight):
    for shown in flight.webhook_secrets:
        encoded = shown.removeprefix("whsec_")
        secret = base64.b64decode(encoded)
        assert flight.finds(encoded, encoded.rstrip("="), secret.hex(), base64.urlsafe_b64encode(secret).decode()) == []
        assert [where for where, text in flight.written.items() if secret in text] == []


def test_no_client_token_is_written_anywhere_and_none_holds_anything_of_the_person(flight: Flight):
    _, body, mac = flight.client_token.split(".")
    told = from_base64url(body)

    assert flight.finds(body, body[:40], mac, mac[:40]) == []
    assert [where for where, text in flight.written.items() if told in text] == []
    assert not re.search("|".join((NUMBER[-7:], NUMBER[1:], *flight.codes)).encode(), told)


def test_webhooks_were_told_of_everything(flight: Flight):
    for kind in ("verification.started", "verification.approved", "delivery.", "suppression.added"):
        assert f'"type":"{kind}'.encode() in flight.written["webhooks"]


def test_no_secret_of_a_gateway_or_caller_is_written_anywhere(flight: Flight):
    assert flight.finds(*SECRETS.values(), *POLICY_SECRETS.values(), API_KEY, "message text", "Never share it") == []
