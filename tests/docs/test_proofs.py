"""The programs of examples/proofs, against the service: they take its proofs, and no other."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from pytest_httpserver import HTTPServer
from support_api import START, Api
from support_installation import World, tree
from support_missing import missing

from otp_service.domain.proofs import ProofKey, ProofSigner

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "proofs"
PAYMENT = {"amount": "1500.00", "currency": "PKR", "payee": "Daraz", "account": "4821", "reference": None}
PACKAGES = ROOT / "tests" / "npm" / "node_modules"
RUN_IN_NODE = """
import { createInterface } from "node:readline";
const now = Date.now.bind(Date);
for await (const line of createInterface({ input: process.stdin })) {
  const { proof, verification, payment, later } = JSON.parse(line);
  Date.now = () => now() + later * 1000;
  try {
    console.log(JSON.stringify(await checkProof(proof, verification, payment)));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
"""
Check = Callable[..., dict[str, Any]]


@dataclass
class Site:
    """A service that proves payments, and who checks them."""

    api: Api
    issuer: str
    check: Check

    def approve(self, payment: dict[str, Any] | None = PAYMENT, purpose: str = "payment") -> tuple[str, str]:
        """Return a proof and its verification."""
        members = {"purpose": purpose, **({"transaction": payment} if payment else {})}
        one = self.api.start(**members)
        body = {"code": self.api.code(one), **({"transaction": payment} if payment else {})}
        return str(self.api.post(f"{START}/{one}/check", body).json["proof"]), one


@pytest.fixture(params=["with_joserfc.py", "with_jose.mjs"])
def site(request: pytest.FixtureRequest, world: World, httpserver: HTTPServer) -> Iterator[Site]:
    program = (EXAMPLES / request.param).read_text()
    checker = _in_node if request.param.endswith(".mjs") else _in_python
    yield from sites(world, httpserver, lambda issuer: checker(program.replace("https://otp.example", issuer)))


def sites(world: World, httpserver: HTTPServer, checker: Callable[[str], Iterator[Check]]) -> Iterator[Site]:
    """Yield a service whose keys are served, and who checks its proofs; the clients' tests use it too."""
    issuer = httpserver.url_for("").rstrip("/")
    applications = tree(world.url)["applications"]
    shop = {**applications["shop"], "proofs": True}
    api = Api(world, proofs={"issuer": issuer}, applications={**applications, "shop": shop})
    keys = api.client.get("/.well-known/jwks.json").json
    httpserver.expect_request("/.well-known/jwks.json").respond_with_json(keys)
    for check in checker(issuer):
        yield Site(api, issuer, check)


def _in_python(program: str) -> Iterator[Check]:
    names: dict[str, Any] = {}
    exec(program, names)  # noqa: S102 - ours

    def check(proof: str, verification: str, payment: dict[str, Any] | None = None, later: float = 0) -> dict[str, Any]:
        with seconds_later(later):
            return dict(names["check_proof"](proof, verification, payment))

    yield check


@contextmanager
def seconds_later(seconds: float) -> Iterator[None]:
    """Let the clock be ahead by which programs in this process know the age of what they keep."""
    clock = time.monotonic
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: clock() + seconds)
        yield


def _in_node(text: str) -> Iterator[Check]:
    node = shutil.which("node")
    if node is None or not (PACKAGES / "jose").exists():
        missing("Node, and npm's jose (npm ci --prefix tests/npm)")
    program = PACKAGES / "check-proof.mjs"
    program.write_text(text + RUN_IN_NODE)
    with subprocess.Popen([node, program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        lines, answers = process.stdin, process.stdout

        def check(
            proof: str, verification: str, payment: dict[str, Any] | None = None, later: float = 0
        ) -> dict[str, Any]:
            asked = {"proof": proof, "verification": verification, "payment": payment, "later": later}
            lines.write(json.dumps(asked) + "\n")
            lines.flush()
            answer = json.loads(answers.readline())
            if "error" in answer:
                raise ValueError(answer["error"])
            return dict(answer)

        yield check
        lines.close()


def test_a_proof_is_taken_once(site: Site):
    proof, one = site.approve()
    assert site.check(proof, one, PAYMENT)["verification"] == one
    with pytest.raises(Exception, match="used before"):
        site.check(proof, one, PAYMENT)


Change = Callable[[dict[str, Any], dict[str, Any]], Any]
MISSING = ("iss", "aud", "exp", "jti", "auth_time", "purpose", "verification", "txn_digest", "txn_salt")
CHANGES: dict[str, Change] = {
    **{f"no {name}": (lambda claims, _, name=name: claims.pop(name)) for name in MISSING},
    "another issuer": lambda claims, _: claims.update(iss="https://other.example"),
    "another application": lambda claims, _: claims.update(aud="bank"),
    "ended": lambda claims, _: claims.update(exp=int(time.time()) - 120),
    "long ago": lambda claims, _: claims.update(auth_time=int(time.time()) - 121, exp=int(time.time()) + 100),
    "another purpose": lambda claims, _: claims.update(purpose="login"),
    "of the attacker's own session": lambda claims, _: claims.update(verification="vf_k1_00" + "0" * 32),
    "another digest": lambda claims, _: claims.update(txn_digest="A" * 43),
    "another salt": lambda claims, _: claims.update(txn_salt="A" * 22),
    "another kind of token": lambda _, header: header.update(typ="JWT"),
    "no kind": lambda _, header: header.pop("typ"),
    "an unknown key's name": lambda _, header: header.update(kid="unknown"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_proof_with_one_thing_wrong_is_refused_though_the_service_itself_signed_it(site: Site, what: str):
    proof, one = site.approve()
    header, claims = _parts(proof)
    CHANGES[what](claims, header)
    assert refuses(site, sign(site, claims, header), one)
    assert site.check(proof, one, PAYMENT), "the same one, unchanged"


@pytest.mark.parametrize("other", [{"amount": "1500.01"}, {"payee": "Daraz "}, {"account": None}, {"reference": "1"}])
def test_a_proof_of_another_payment_is_refused(site: Site, other: dict[str, Any]):
    proof, one = site.approve()
    with pytest.raises(Exception, match="another payment"):
        site.check(proof, one, {**PAYMENT, **other})


def test_a_proof_of_a_payment_is_none_of_something_without_one_and_the_other_way_round(site: Site):
    proof, one = site.approve()
    with pytest.raises(Exception, match="another payment"):
        site.check(proof, one)
    header, claims = _parts(proof)
    del claims["txn_digest"], claims["txn_salt"]
    with pytest.raises(Exception, match="another payment"):
        site.check(sign(site, claims, header), one, PAYMENT)


def test_a_clock_that_is_a_little_behind_refuses_no_new_proof(site: Site):
    proof, one = site.approve()
    header, claims = _parts(proof)
    ahead = {name: claims[name] + 3 for name in ("iat", "auth_time", "exp")}
    assert site.check(sign(site, {**claims, **ahead}, header), one, PAYMENT)


def test_a_key_that_was_removed_is_known_for_five_minutes_at_most(site: Site, httpserver: HTTPServer):
    proof, one = site.approve()
    header, claims = _parts(proof)

    def signed_later(number: int, seconds: int) -> str:
        return sign(site, {**claims, "jti": f"ap_{number}", "auth_time": claims["auth_time"] + seconds}, header)

    assert site.check(signed_later(1, 0), one, PAYMENT)
    httpserver.clear()
    others = {"keys": [ProofKey(b"n" * 48).jwk]}
    httpserver.expect_request("/.well-known/jwks.json").respond_with_json(others)
    assert site.check(signed_later(2, 290), one, PAYMENT, later=290)
    with pytest.raises(Exception):  # noqa: B017 - each library has errors of its own
        site.check(signed_later(3, 301), one, PAYMENT, later=301)


def test_a_new_key_is_looked_for_once_it_signs(site: Site, httpserver: HTTPServer):
    proof, one = site.approve()
    header, claims = _parts(proof)
    assert site.check(proof, one, PAYMENT)
    httpserver.clear()
    new, keys = ProofKey(b"n" * 48), site.api.client.get("/.well-known/jwks.json").json["keys"]
    httpserver.expect_request("/.well-known/jwks.json").respond_with_json({"keys": [new.jwk, *keys]})
    later = {**claims, "jti": "ap_2", "auth_time": claims["auth_time"] + 61}

    assert site.check(jwt.encode(later, new._private, "ES256", {**header, "kid": new.kid}), one, PAYMENT, later=61)


def sign(site: Site, claims: dict[str, Any], header: dict[str, Any]) -> str:
    """Sign claims with the service's own key."""
    signer = ProofKey(site.api.installation.context.keyring.proof_seeds[0])._private
    return jwt.encode(claims, signer, "ES256", header)


def refuses(site: Site, proof: str, verification: str) -> bool:
    """Tell whether a proof is refused, in whichever way the library does."""
    try:
        site.check(proof, verification, PAYMENT)
    except Exception:  # noqa: BLE001 - each library has errors of its own
        return True
    return False


def _unsigned(site: Site, claims: dict[str, Any], header: dict[str, Any]) -> str:
    return jwt.encode(claims, None, "none", header)


def _by_the_public_key(site: Site, claims: dict[str, Any], header: dict[str, Any]) -> str:
    """Return one whose MAC is made with the public key (CVE-2015-9235)."""
    key = site.api.installation.context.proof_signer.keys[header["kid"]]
    return jwt.encode(claims, key.jwk["x"].encode(), "HS256", header)


def _by_a_stranger(site: Site, claims: dict[str, Any], header: dict[str, Any]) -> str:
    return jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", header)


def _by_a_key_that_comes_along(site: Site, claims: dict[str, Any], header: dict[str, Any]) -> str:
    own = ProofKey(b"k" * 48)
    return jwt.encode(claims, own._private, "ES256", {"typ": header["typ"], "kid": own.kid, "jwk": own.jwk})


def _by_another_installation(site: Site, claims: dict[str, Any], header: dict[str, Any]) -> str:
    signer = ProofSigner(site.issuer, 300, [b"o" * 48])
    (own,) = signer.keys.values()
    return own.sign(claims)


@pytest.mark.parametrize(
    "forge", [_unsigned, _by_the_public_key, _by_a_stranger, _by_a_key_that_comes_along, _by_another_installation]
)
def test_what_the_service_did_not_sign_is_refused(site: Site, forge: Callable[..., str]):
    proof, one = site.approve()
    header, claims = _parts(proof)
    assert refuses(site, forge(site, claims, header), one)
    assert site.check(proof, one, PAYMENT)


def _parts(proof: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header = {name: value for name, value in jwt.get_unverified_header(proof).items() if name != "alg"}
    return header, jwt.decode(proof, options={"verify_signature": False})
