"""A number, its codes and an app's secret, followed through calls as to Twilio at DEBUG: they are written nowhere."""

from collections.abc import Iterator
from io import StringIO

import pyotp
import pytest
from support_canary import ledger_as_it_is, logged_at_debug, redis_as_it_is
from support_factors import record
from support_installation import API_KEY, World
from support_ledger import another_ledger
from support_twilio import Facade, twilio_api

NUMBER, NATIONAL, SPELLED = "+923451987654", "03451987654", "+92%20345%201987654"
USER, LABEL, ADDRESS, PAYEE = "canary-user-77e1", "canary phone", "203.0.113.77", "Canary Traders"


@pytest.fixture
def log() -> Iterator[StringIO]:
    with logged_at_debug() as written:
        yield written


@pytest.fixture
def run(real_world: World, log: StringIO) -> tuple[dict[str, bytes], list[str]]:
    """Return what a run wrote, by where, and what must not be in it."""
    ledger = another_ledger()
    api = twilio_api(real_world, ledger={"url": ledger})
    facade = Facade(api)
    payment = {"Amount": "PKR 98765.43", "Payee": PAYEE}
    login = facade.start(To=NUMBER, DeviceIp=ADDRESS, Tags=NUMBER, **{NUMBER: NUMBER}).json["sid"]
    paid = facade.start("payment", To=NATIONAL, **payment).json["sid"]
    codes = [facade.code(login), facade.code(paid)]
    for spelled in (NUMBER, NATIONAL, SPELLED, NUMBER + "9", NUMBER + "/x", f"VE{NUMBER}"):
        facade.fetch(spelled)
        facade.call("POST", f"/Services/{facade.services['login']}/Verifications/{spelled}", {"Status": NUMBER})
        facade.get(f"/Services?PageSize={NUMBER}&{NUMBER}={NUMBER}")
    facade.start(To=NUMBER, Channel=NUMBER, Locale=NUMBER, DeviceIp=NUMBER)
    facade.call("POST", f"/Services/{facade.services['login']}/Verifications", NUMBER.encode())
    for code in (facade.wrong(login), codes[0] + "9", codes[0], codes[0]):
        facade.check(code, To=NUMBER)
    facade.check(codes[1], "payment", To=NUMBER, Amount="PKR 1", Payee=PAYEE)
    enrolled = facade.post(f"/Entities/{USER}/Factors", FactorType="totp", FriendlyName=LABEL).json
    totp = pyotp.parse_uri(enrolled["binding"]["uri"])
    seconds = int(real_world.client.time()[0])
    codes += [str(totp.at(seconds - 30)), str(totp.at(seconds))]
    facade.post(f"/Entities/{USER}/Factors/{enrolled['sid']}", AuthPayload=codes[2])
    for code in (codes[3], codes[3], "x" + codes[3]):
        facade.post(f"/Entities/{USER}/Challenges", FactorSid=enrolled["sid"], AuthPayload=code)
    imported = {"FactorType": "totp", "FriendlyName": LABEL, "Binding.Secret": totp.secret + "1"}
    facade.post(f"/Entities/{USER}/Factors", **imported)
    record(api)
    written = {
        "log": log.getvalue().encode(),
        "Redis": redis_as_it_is(real_world),
        "ledger": ledger_as_it_is(ledger),
        "metrics": api.client.get("/metrics").data,
    }
    digits = [NUMBER[-some:] for some in range(7, 13)]
    return written, [*digits, *codes, totp.secret, USER, LABEL, ADDRESS, PAYEE, "98765.43", API_KEY]


@pytest.mark.parametrize("place", ["log", "Redis", "ledger", "metrics"])
def test_neither_number_nor_code_nor_secret_is_written_anywhere(run: tuple[dict[str, bytes], list[str]], place: str):
    written, hidden = run

    assert len(written[place]) > 200, "nothing was looked at"
    assert [one for one in hidden if one.encode() in written[place]] == []
