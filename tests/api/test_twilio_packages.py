"""Twilio's own packages for Python and Node against the service, and its own specification against every answer."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pyotp
import pytest
import requests
from support_api import Api
from support_factors import USER
from support_installation import API_KEY, NUMBER, World
from support_missing import missing
from support_twilio import PACKAGES, Facade, Validating, basic, twilio_api, validating
from twilio.base.exceptions import TwilioRestException, TwilioServiceException
from twilio.rest import Client

ACCOUNT = "AC" + 32 * "0"
VIOLATIONS: set[str] = set()
"""Where our answers are not what Twilio's specification says, on purpose."""
SERVED = {
    "get /v2/Services",
    "get /v2/Services/{Sid}",
    "post /v2/Services/{ServiceSid}/Verifications",
    "get /v2/Services/{ServiceSid}/Verifications/{Sid}",
    "post /v2/Services/{ServiceSid}/Verifications/{Sid}",
    "post /v2/Services/{ServiceSid}/VerificationCheck",
    "post /v2/Services/{ServiceSid}/Entities",
    "get /v2/Services/{ServiceSid}/Entities/{Identity}",
    "delete /v2/Services/{ServiceSid}/Entities/{Identity}",
    "post /v2/Services/{ServiceSid}/Entities/{Identity}/Factors",
    "get /v2/Services/{ServiceSid}/Entities/{Identity}/Factors",
    "get /v2/Services/{ServiceSid}/Entities/{Identity}/Factors/{Sid}",
    "post /v2/Services/{ServiceSid}/Entities/{Identity}/Factors/{Sid}",
    "delete /v2/Services/{ServiceSid}/Entities/{Identity}/Factors/{Sid}",
    "post /v2/Services/{ServiceSid}/Entities/{Identity}/Challenges",
}
"""All calls that docs/migrate.md names."""


@pytest.fixture
def api(real_world: World) -> Api:
    return twilio_api(real_world)


@pytest.fixture
def facade(api: Api) -> Facade:
    return Facade(api)


@pytest.fixture
def proxy(api: Api) -> Iterator[Validating]:
    with validating(api.app) as proxy:
        yield proxy
    assert proxy.violations == VIOLATIONS


@pytest.fixture
def client(proxy: Validating) -> Client:
    client = Client("SK" + 32 * "0", API_KEY, ACCOUNT)
    client.verify.base_url = f"{proxy.address}/twilio"
    return client


def _raises(code: int, status: int) -> Any:
    return pytest.raises(TwilioRestException, check=lambda error: (error.code, error.status) == (code, status))


def test_the_python_package_serves_verifications_after_one_changed_line(client: Client, facade: Facade):
    listed = client.verify.v2.services.list(page_size=1)
    sid = next(one.sid for one in listed if one.friendly_name == "login")
    service = client.verify.v2.services(sid)
    started = service.verifications.create(to=NUMBER, channel="sms", locale="en", tags='{"a": "b"}')

    assert [one.friendly_name for one in listed] == ["login", "payment"]
    assert service.fetch().friendly_name == "login"
    assert (started.to, started.status, started.valid, started.date_created.tzinfo is None) == (
        NUMBER,
        "pending",
        False,
        False,
    )
    assert service.verifications.create(to=NUMBER, channel="call").sid == started.sid
    assert [one["channel"] for one in service.verifications(NUMBER).fetch().send_code_attempts] == ["sms", "call"]
    assert service.verifications(started.sid).fetch().status == "pending"
    wrong = service.verification_checks.create(to=NUMBER, code=facade.wrong(started.sid))
    assert (wrong.status, wrong.valid) == ("pending", False)
    right = service.verification_checks.create(verification_sid=started.sid, code=facade.code(started.sid))
    assert (right.status, right.valid) == ("approved", True)
    second = service.verifications.create(to=NUMBER, channel="sms")
    assert service.verifications(second.sid).update(status="canceled").status == "canceled"


def test_the_python_package_pays_with_amount_and_payee(client: Client, facade: Facade):
    service = client.verify.v2.services(facade.services["payment"])
    paying = service.verifications.create(to=NUMBER, channel="sms", amount="PKR 1,500", payee="Daraz")
    code = facade.code(paying.sid)

    assert (paying.amount, paying.payee) == ("1500.00 PKR", "Daraz")
    assert service.verification_checks.create(to=NUMBER, code=code, amount="PKR 1500.00", payee="Daraz").valid


def test_errors_are_the_python_packages_own_exceptions(client: Client, facade: Facade, proxy: Validating):
    service = client.verify.v2.services(facade.services["login"])
    stranger = Client(ACCOUNT, "nobody")
    stranger.verify.base_url = f"{proxy.address}/twilio"

    with _raises(20404, 404):
        service.verifications(NUMBER).fetch()
    with _raises(20404, 404):
        client.verify.v2.services("VA" + 32 * "0").verifications.create(to=NUMBER, channel="sms")
    with _raises(60200, 400):
        service.verifications.create(to="12", channel="sms")
    with _raises(60204, 403):
        service.verifications.create(to=NUMBER, channel="sms", custom_code="123456")
    with _raises(20003, 401):
        stranger.verify.v2.services("VA").fetch()
    with _raises(20004, 405) as refused:
        client.verify.v2.services.create(friendly_name="x")
    assert not isinstance(refused.value, TwilioServiceException)
    for _ in range(3):
        service.verifications.create(to=NUMBER, channel="sms")
    with _raises(60203, 429):
        service.verifications.create(to=NUMBER, channel="sms")
    sid = service.verifications(NUMBER).fetch().sid
    for _ in range(5):
        service.verification_checks.create(to=NUMBER, code=facade.wrong(sid))
    with _raises(60202, 429):
        service.verification_checks.create(to=NUMBER, code=facade.code(sid))


def test_the_python_package_serves_authenticator_apps(client: Client, facade: Facade):
    service = client.verify.v2.services(facade.services["login"])
    entity = service.entities(service.entities.create(identity=USER).identity)
    made = entity.new_factors.create(friendly_name="phone", factor_type="totp")
    totp = pyotp.parse_uri(made.binding["uri"])
    seconds = int(facade.api.world.client.time()[0])

    assert entity.fetch().sid == made.entity_sid
    assert entity.factors(made.sid).update(auth_payload=totp.at(seconds - 30)).status == "verified"
    assert entity.factors(made.sid).fetch().friendly_name == "phone"
    assert entity.factors(made.sid).update(friendly_name="work").friendly_name == "work"
    assert entity.challenges.create(factor_sid=made.sid, auth_payload=totp.at(seconds)).status == "approved"
    assert entity.challenges.create(factor_sid=made.sid, auth_payload=totp.at(seconds)).status == "pending"
    assert [one.sid for one in entity.factors.list(page_size=1)] == [made.sid]
    assert entity.factors(made.sid).delete()
    assert entity.delete()
    with _raises(60204, 403):
        entity.new_factors.create(friendly_name="phone", factor_type="push")


def test_the_node_package_serves_all_calls_after_one_changed_line(proxy: Validating, facade: Facade):
    if shutil.which("node") is None or not (PACKAGES / "node_modules" / "twilio").exists():
        missing("Node, and npm's twilio (npm ci --prefix tests/npm)")
    command = ["node", "--input-type=module", "--eval", IN_NODE, f"{proxy.address}/twilio", API_KEY, USER]
    with subprocess.Popen(
        command, cwd=PACKAGES, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as node:
        seconds = int(facade.api.world.client.time()[0])

        def tell(answer: str) -> Any:
            node.stdin.write(answer + "\n")
            node.stdin.flush()
            return _line(node)

        started = _line(node)
        checked = tell(f"{facade.wrong(started['sid'])} {facade.code(started['sid'])}")
        totp = pyotp.parse_uri(checked["uri"])
        confirmed = tell(f"{totp.at(seconds - 30)} {totp.at(seconds)}")
        node.communicate(timeout=60)

    assert started["names"] == ["login", "payment"]
    assert started["same"] is True
    assert checked["statuses"] == ["pending", "pending", "approved", "canceled"]
    assert checked["errors"] == [[20404, 404], [60200, 400], [60204, 403], [20003, 401]]
    assert checked["plain"] is True
    assert confirmed == {"statuses": ["verified", "approved", "pending"], "listed": 1, "removed": [True, True]}


def _line(node: Any) -> Any:
    line = node.stdout.readline()
    assert line, node.stderr.read()
    return json.loads(line)


IN_NODE = """
import { createInterface } from "node:readline";
import twilio from "twilio";

const [baseUrl, key, identity] = process.argv.slice(1);
const account = `AC${"0".repeat(32)}`;
const to = "+923001234567";
const client = twilio(`SK${"0".repeat(32)}`, key, { accountSid: account });
client.verify.baseUrl = baseUrl;
const typed = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const tell = async (told) => (console.log(JSON.stringify(told)), (await typed.next()).value?.split(" "));

const services = await client.verify.v2.services.list({ pageSize: 1 });
const service = client.verify.v2.services(services.find((one) => one.friendlyName === "login").sid);
const started = await service.verifications.create({ to, channel: "sms" });
const again = await service.verifications.create({ to, channel: "sms" });
const names = services.map((one) => one.friendlyName);
const [wrong, right] = await tell({ names, sid: started.sid, same: again.sid === started.sid });

const statuses = [
  (await service.verifications(to).fetch()).status,
  (await service.verificationChecks.create({ to, code: wrong })).status,
  (await service.verificationChecks.create({ to, code: right })).status,
  (await service.verifications((await service.verifications.create({ to, channel: "call" })).sid)
    .update({ status: "canceled" })).status,
];
const stranger = twilio(account, "nobody");
stranger.verify.baseUrl = baseUrl;
const refused = await Promise.allSettled([
  service.verifications("+923001234568").fetch(),
  service.verifications.create({ to: "12", channel: "sms" }),
  service.verifications.create({ to, channel: "sms", customCode: "123456" }),
  stranger.verify.v2.services.list(),
]);
const errors = refused.map(({ reason }) => [reason.code, reason.status]);
const plain = refused.every(({ reason }) => reason instanceof twilio.RestException);
const entity = service.entities((await service.entities.create({ identity })).identity);
const made = await entity.newFactors.create({ friendlyName: "phone", factorType: "totp" });
const [first, second] = await tell({ statuses, errors, plain, uri: made.binding.uri });

const factor = entity.factors(made.sid);
const confirmed = [
  (await factor.update({ authPayload: first })).status,
  (await entity.challenges.create({ factorSid: made.sid, authPayload: second })).status,
  (await entity.challenges.create({ factorSid: made.sid, authPayload: second })).status,
];
const listed = (await entity.factors.list()).length;
const removed = [await factor.remove(), await entity.remove()];
console.log(JSON.stringify({ statuses: confirmed, listed, removed }));
process.exit();
"""


def test_every_call_was_held_against_twilios_specification(proxy: Validating, client: Client, facade: Facade):
    test_the_python_package_serves_verifications_after_one_changed_line(client, facade)
    test_the_python_package_serves_authenticator_apps(client, facade)

    assert proxy.answered == SERVED


def test_the_proxy_sees_what_is_wrong(api: Api):
    def wrong(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = b"".join(api.app(environ, start_response))
        return [
            body.replace(b'"AC', b'"BC').replace(b'"code_length": 6', b'"code_length": null').replace(b"tts", b"ttx")
        ]

    with validating(wrong) as proxy:
        requests.get(f"{proxy.address}/twilio/v2/Services", headers=basic(), timeout=10)
    faults = " ".join(proxy.violations)
    for what in ("account_sid", "code_length", "has ttx_name", "lacks tts_name"):
        assert what in faults
