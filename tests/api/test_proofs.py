"""Proofs of approvals: what they state, who may check them, and that each is used once."""

import base64
import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric import ec
from support_api import START, Api, round_trips
from support_installation import BANK_KEY, World, key, tree
from support_messages import PAYMENT
from support_records import change_record

from otp_service.bootstrap import prepare
from otp_service.domain.payments import Transaction
from otp_service.domain.proofs import ProofKey, ProofSigner, transaction_digest
from otp_service.store import keys

ISSUER = "https://otp.example"
BODY = {"amount": "1500", "currency": "PKR", "payee": "Daraz", "account": "4821"}


def api_of(world: World, **sections: Any) -> Api:
    applications = tree(world.url)["applications"]
    return Api(
        world,
        **{
            "proofs": {"issuer": ISSUER},
            "applications": {name: {**one, "proofs": True} for name, one in applications.items()},
            **sections,
        },
    )


@pytest.fixture
def api(world: World) -> Api:
    return api_of(world)


def approve(api: Api, **members: Any) -> dict[str, Any]:
    """Start, type the right code, and return the answer."""
    one = api.start(**members)
    answer = api.post(f"{START}/{one}/check", {"code": api.code(one), **_transaction(members)})
    assert answer.json["valid"], answer.text
    return dict(answer.json)


def _transaction(members: dict[str, Any]) -> dict[str, Any]:
    return {"transaction": members["transaction"]} if "transaction" in members else {}


def keys_of(api: Api) -> dict[str, jwt.PyJWK]:
    found = jwt.PyJWKSet.from_dict(api.client.get("/.well-known/jwks.json").json)
    return {one.key_id: one for one in found.keys if one.key_id}


def read(api: Api, proof: str, audience: str = "shop") -> dict[str, Any]:
    """Check a proof as a stranger does, by the published keys."""
    public = keys_of(api)[jwt.get_unverified_header(proof)["kid"]]
    return dict(jwt.decode(proof, public, algorithms=["ES256"], audience=audience, issuer=ISSUER))


def test_an_approval_states_what_was_proved(api: Api):
    answer = approve(api, user="u-17", metadata={"order": "9"})
    claims = read(api, answer["proof"])

    assert jwt.get_unverified_header(answer["proof"])["typ"] == "otp-proof+jwt"
    assert claims.pop("iat") == claims.pop("auth_time") == claims.pop("exp") - 300
    assert claims == {
        "iss": ISSUER, "aud": "shop", "sub": "u-17", "jti": answer["id"], "verification": answer["id"],
        "purpose": "login", "amr": ["sms"],
    }  # fmt: skip


def test_it_states_when_that_was(api: Api, world: World):
    one = api.start()
    world.advance(60)
    proof = api.post(f"{START}/{one}/check", {"code": api.code(one)}).json["proof"]

    assert 0 <= world.client.time()[0] - jwt.decode(proof, options={"verify_signature": False})["auth_time"] < 60


def test_what_is_no_approval_proves_nothing(api: Api):
    one = api.start()
    wrong = api.post(f"{START}/{one}/check", {"code": api.wrong(one)}).json
    approved = api.post(f"{START}/{one}/check", {"code": api.code(one)}).json
    again = api.post(f"{START}/{one}/check", {"code": api.code(one)}).json

    assert wrong["proof"] is None
    assert approved["proof"]
    assert (again["reason"], again["proof"]) == ("already_approved", None)


def test_an_approval_with_a_proof_is_one_round_trip(api: Api):
    one = api.start()
    code = api.code(one)

    assert round_trips(api, lambda: api.post(f"{START}/{one}/check", {"code": code}).json["proof"]) == 1


def test_an_application_that_wants_none_gets_none(world: World):
    assert approve(api_of(world, applications=tree(world.url)["applications"]))["proof"] is None


def test_a_lost_answer_is_given_again_with_a_proof_of_the_same_approval(api: Api):
    one = api.start()
    body = {"code": api.code(one)}
    first = api.post(f"{START}/{one}/check", body, Idempotency_Key="c-1").json
    api.world.advance(1)
    second = api.post(f"{START}/{one}/check", body, Idempotency_Key="c-1").json

    assert read(api, first["proof"]) == read(api, second["proof"])
    assert api.post("/v1/proofs/redeem", {"proof": second["proof"]}).status_code == 200
    assert api.post("/v1/proofs/redeem", {"proof": first["proof"]}).json["code"] == "already-redeemed"


def test_who_can_write_to_redis_gets_no_proof_of_a_wrong_code(api: Api, world: World):
    one = api.start()
    body = {"code": api.wrong(one)}
    api.post(f"{START}/{one}/check", body, Idempotency_Key="c-1")
    (remembered,) = (key for key in world.client.keys("*:idempotency:*") if world.client.hexists(key, "reason"))
    world.client.hset(remembered, "reason", "")
    change_record(world.client, keys.record("00", one), status="approved")
    again = api.post(f"{START}/{one}/check", body, Idempotency_Key="c-1").json

    assert again["proof"] is None


def test_who_can_write_to_redis_gets_no_proof_for_another_purpose(world: World):
    shop = {**tree(world.url)["applications"]["shop"], "purposes": ["login", "admin"], "proofs": True}
    api = api_of(world, purposes={"admin": {}}, applications={"shop": shop})
    one = api.start()
    body, record = {"code": api.code(one)}, keys.record("00", one)
    world.client.hset(record, "f", world.client.hget(record, "f").replace(b"|login|", b"|admin|"))
    answer = api.post(f"{START}/{one}/check", body).json

    assert api.get(f"{START}/{one}").json["purpose"] == "admin"
    assert answer["proof"] is None


def test_a_payment_is_in_it_as_a_salted_digest(api: Api):
    answer = approve(api, purpose="payment", transaction=BODY)
    claims = read(api, answer["proof"])
    salt = base64.urlsafe_b64decode(claims["txn_salt"] + "==")

    members = ["+1500.00", "+PKR", "+Daraz", "+4821", "-"]
    framed = b"".join(len(one).to_bytes(4, "big") + one.encode() for one in members)
    digest = base64.urlsafe_b64encode(hashlib.sha256(salt + framed).digest()).rstrip(b"=").decode()
    assert claims["txn_digest"] == digest
    assert "Daraz" not in base64.urlsafe_b64decode(answer["proof"].split(".")[1] + "==").decode()


@pytest.mark.parametrize(
    "other",
    [
        {"amount": "25000.01"}, {"currency": "USD"}, {"payee": "Corner Shop"}, {"account": None}, {"account": "4822"},
        {"reference": "1"}, {"account": "", "reference": "4821"},
    ],
)  # fmt: skip
def test_another_payment_has_another_digest(other):
    members = ("amount", "currency", "payee", "account", "reference")
    changed = Transaction(**{**{name: getattr(PAYMENT, name) for name in members}, **other})

    assert transaction_digest(b"salt", changed) != transaction_digest(b"salt", PAYMENT)


def test_acr_is_what_the_operator_says(world: World):
    purposes = tree(world.url)["purposes"]
    login = {**purposes["login"], "acr": "urn:example:possession"}
    api = api_of(world, purposes={**purposes, "login": login})

    assert read(api, approve(api)["proof"])["acr"] == "urn:example:possession"


def test_a_call_says_so(api: Api):
    one = api.start(channel="voice")
    answer = api.post(f"{START}/{one}/check", {"code": api.code(one)}).json

    assert read(api, answer["proof"])["amr"] == ["tel"]


# --- redeeming ------------------------------------------------------------------------------------------------------


def test_a_proof_is_redeemed_once_of_twenty_at_once(api: Api):
    proof = approve(api)["proof"]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: api.post("/v1/proofs/redeem", {"proof": proof}), range(20)))

    assert sorted(one.status_code for one in answers) == [200] + [409] * 19
    (claims,) = (one.json["claims"] for one in answers if one.status_code == 200)
    assert claims == read(api, proof)


def test_another_application_redeems_nothing_and_spoils_nothing(world: World):
    shop = api_of(world)
    proof = approve(shop)["proof"]
    bank = api_of(world)
    bank.key = BANK_KEY

    assert bank.post("/v1/proofs/redeem", {"proof": proof}).json["code"] == "invalid-proof"
    assert shop.post("/v1/proofs/redeem", {"proof": proof}).status_code == 200


def test_what_redis_has_lost_is_not_redeemed(api: Api, world: World):
    proof = approve(api)["proof"]
    world.client.flushall()
    world.client.function_flush()

    assert api.post("/v1/proofs/redeem", {"proof": proof}).json["code"] == "already-redeemed"


def test_redis_itself_knows_whose_verification_was_approved(api: Api):
    pending, one = api.start(to="+923005550001"), api.start()
    api.post(f"{START}/{one}/check", {"code": api.code(one)})
    store, bucket_of = api.installation.context.store.verifications, api.installation.context.keyring.bucket_of_id

    used = [
        store.redeem(bucket_of(about), about, name) for about, name in ((pending, "shop"), (one, "bank"), (one, "shop"))
    ]
    assert used == [False, False, True]


def _resigned(change: Callable[[dict[str, Any], dict[str, Any]], Any]) -> Callable[[Api, str], str]:
    """Return what signs a proof anew with our own key, after a change of its claims and header."""

    def make(api: Api, proof: str) -> str:
        header, claims = jwt.get_unverified_header(proof), read(api, proof)
        change(claims, header)
        seed = api.installation.context.keyring.proof_seeds[0]
        private = ProofKey(seed)._private  # as a defect of ours would
        return jwt.encode(claims, private, header.pop("alg"), header)

    return make


def _unsigned(_: Api, proof: str) -> str:
    return jwt.encode(jwt.decode(proof, options={"verify_signature": False}), None, "none", _header(proof))


def _by_the_public_key(api: Api, proof: str) -> str:
    """Return one whose MAC is made with the public key, as servers took that let the token choose (CVE-2015-9235)."""
    header = {**_header(proof), "alg": "HS256"}
    numbers = api.installation.context.proof_signer.keys[header["kid"]].jwk["x"].encode()
    return jwt.encode(read(api, proof), numbers.ljust(32), "HS256", header)


def _by_a_key_of_its_own(api: Api, proof: str) -> str:
    own = ec.generate_private_key(ec.SECP256R1())
    jwk = {**ProofKey(b"k" * 48).jwk}
    return jwt.encode(read(api, proof), own, "ES256", {**_header(proof), "jwk": jwk})


def _header(proof: str) -> dict[str, Any]:
    return {name: value for name, value in jwt.get_unverified_header(proof).items() if name != "alg"}


@pytest.mark.parametrize(
    "forge",
    [
        *(_resigned(lambda claims, _, name=name: claims.pop(name)) for name in
          ("iss", "aud", "jti", "iat", "exp", "auth_time", "amr", "purpose")),
        _resigned(lambda claims, _: claims.update(iss="https://otp.example/")),
        _resigned(lambda claims, _: claims.update(aud="bank")),
        _resigned(lambda claims, _: claims.update(exp=claims["iat"] - 1)),
        _resigned(lambda _, header: header.update(typ="JWT")),
        _resigned(lambda _, header: header.pop("kid")),
        _resigned(lambda _, header: header.update(kid="another")),
        _unsigned,
        _by_the_public_key,
        _by_a_key_of_its_own,
        lambda _, proof: proof[:-4] + ("AAAA" if proof[-4:] != "AAAA" else "BBBB"),
        lambda _, proof: ".".join([proof.split(".")[0], proof.split(".")[1], "AA"]),
    ],
)  # fmt: skip
def test_what_is_no_proof_of_ours_is_refused(api: Api, forge: Callable[[Api, str], str]):
    proof = approve(api)["proof"]
    forged = forge(api, proof)

    assert api.post("/v1/proofs/redeem", {"proof": forged}).json["code"] == "invalid-proof"
    assert api.post("/v1/proofs/redeem", {"proof": proof}).status_code == 200


# --- keys -----------------------------------------------------------------------------------------------------------


def test_keys_are_derived_and_are_the_same_in_every_process(world: World):
    roots = {"root": f"k1:{key()}", "pseudonym": key()}
    one, other = (api_of(world, keys=roots) for _ in range(2))

    assert keys_of(one).keys() == keys_of(other).keys()
    assert read(other, approve(one)["proof"])


def test_no_private_key_is_published(api: Api):
    answer = api.client.get("/.well-known/jwks.json")

    assert answer.headers["Cache-Control"] == "private, max-age=300"
    assert [set(one) for one in answer.json["keys"]] == [{"crv", "kty", "x", "y", "kid", "use", "alg"}]


def test_where_nobody_is_named_as_issuer_there_are_no_proofs(world: World):
    api = Api(world, http={"public_url": None})

    assert api.client.get("/.well-known/jwks.json").status_code == 404
    assert api.post("/v1/proofs/redeem", {"proof": "a.b.c"}).json["code"] == "not-found"


def test_a_rotation_refuses_no_proof_and_archived_ones_stay_checkable(world: World):
    old, new, pseudonym, ledger = key(), key(), key(), tree(world.url)["ledger"]

    def with_roots(*roots: str) -> Api:
        made = api_of(world, keys={"root": " ".join(roots), "pseudonym": pseudonym}, ledger=ledger)
        prepare(made.installation)
        return made

    before = with_roots(f"k1:{old}")
    archived = approve(before)["proof"]
    second = with_roots(f"k1:{old}", f"k2:{new}")
    kept = keys_of(second)  # as somebody keeps them for five minutes
    first = with_roots(f"k2:{new}", f"k1:{old}")
    for one in (before, second, first):
        proof = approve(one)["proof"]
        public = kept[jwt.get_unverified_header(proof)["kid"]]
        assert jwt.decode(proof, public, algorithms=["ES256"], audience="shop", issuer=ISSUER)

    after = with_roots(f"k2:{new}")
    known = {one["key"]["kid"]: one for one in after.get("/v1/proofs/keys").json}
    signed = known[jwt.get_unverified_header(archived)["kid"]]
    assert signed["retired_at"] is not None
    assert [one["retired_at"] for kid, one in known.items() if kid in keys_of(after)] == [None]
    jwt.decode(archived, jwt.PyJWK(signed["key"]), algorithms=["ES256"], audience="shop", issuer=ISSUER)


def test_a_thumbprint_is_that_of_rfc_7638():
    of_key = ProofKey(bytes(48))
    required = {name: of_key.jwk[name] for name in ("crv", "kty", "x", "y")}

    assert list(required) == sorted(required)
    text = "{" + ",".join(f'"{name}":"{value}"' for name, value in required.items()) + "}"
    digest = hashlib.sha256(text.encode()).digest()
    assert of_key.kid == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_a_signer_shows_no_key():
    signer = ProofSigner(ISSUER, 300, [bytes(range(48))])

    assert "Private" not in repr(signer)


@pytest.mark.parametrize("seconds", [-600, 600], ids=["behind", "ahead"])
def test_the_clock_of_this_host_does_not_matter(api: Api, seconds: int):
    proof = approve(api)["proof"]

    with time_machine.travel(time.time() + seconds):
        assert api.post("/v1/proofs/redeem", {"proof": proof}).status_code == 200
