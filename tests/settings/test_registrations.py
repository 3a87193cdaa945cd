"""Configurations with senders, approvals, and a policy with a token: each is read as it is written."""

from datetime import date

from support_refusals import SIM_SWAP, written

from otp_service.settings import load_settings

REGISTRATION = {"country": "PK", "reference": "PTA-1", "valid_until": "2030-12-31"}
DIGEST = "4021240ea6d162374bec5e6002c9cd2b58ef1cd47a2297a6f65ca387d27dd770"


def test_a_sender_is_read_with_its_registration(tmp_path):
    sender = {**REGISTRATION, "sender_id": "ACME SHOP", "category": "transactional", "applications": ["shop"]}
    read = load_settings(environ=written(tmp_path, {"senders": {"acme": sender}})).senders["acme"].as_sender("acme")

    assert (read.name, read.sender_id, read.country) == ("acme", "ACME SHOP", "PK")
    assert (read.applications, read.valid_until) == ({"shop"}, date(2030, 12, 31))


def test_an_approval_is_read_with_its_registration(tmp_path):
    approval = {**REGISTRATION, "template": "ur/possession/sms", "sha256": DIGEST}
    settings = load_settings(environ=written(tmp_path, {"approvals": {"login-ur": approval}}))
    read = settings.approvals["login-ur"].as_approval("login-ur")

    assert (read.name, read.template, read.sha256) == ("login-ur", "ur/possession/sms", DIGEST)
    assert (read.country, read.reference) == ("PK", "PTA-1")


def test_a_policy_proves_itself_by_a_token_in_place_of_a_client(tmp_path):
    client = {"token_url", "client_id", "client_secret"}
    policy = {name: value for name, value in SIM_SWAP.items() if name not in client} | {"token": "2f7c-of-the-operator"}
    read = load_settings(environ=written(tmp_path, {"policies": {"sim": policy}})).policies["sim"]

    assert read.kind == "camara_sim_swap"
    assert read.settings.token.get_secret_value() == "2f7c-of-the-operator"
    assert "2f7c" not in repr(read)
