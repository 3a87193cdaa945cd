"""`proofs.verify` of the Python client, held to all that the programs of examples/proofs are."""

from collections.abc import Iterator
from typing import Any

import pytest
from otp_service_client import InvalidProof, proofs
from pytest_httpserver import HTTPServer
from support_installation import World
from support_programs import programs_of

(programs,) = programs_of("tests/docs", "test_proofs")
globals().update({name: one for name, one in vars(programs).items() if name.startswith("test_")})


@pytest.fixture
def site(world: World, httpserver: HTTPServer) -> Iterator[Any]:
    proofs.keys_of.cache_clear()
    yield from programs.sites(world, httpserver, _checker)


def _checker(issuer: str) -> Iterator[Any]:
    used: set[str] = set()

    def first_use(approval: str) -> bool:
        return approval not in used and used.add(approval) is None

    def check(proof: str, verification: str, payment: dict[str, Any] | None = None) -> dict[str, Any]:
        about: Any = {"issuer": issuer, "application": "shop", "purpose": "payment", "first_use": first_use}
        return dict(proofs.verify(proof, verification=verification, transaction=payment, **about))

    yield check


def test_a_proof_of_an_app_is_one_of_its_user(site: Any):
    _, claims = programs._parts(site.approve()[0])
    header = {"typ": "otp-proof+jwt", "kid": next(iter(site.api.installation.context.proof_signer.keys))}
    of_app = {**claims, "sub": "u-17", "amr": ["otp"], "purpose": "login", "factor": "fa_1"}
    for name in ("verification", "txn_digest", "txn_salt"):
        del of_app[name]

    def check(changes: dict[str, Any], **expected: Any) -> Any:
        proof = programs.sign(site, {**of_app, **changes}, header)
        about: Any = {"issuer": site.issuer, "application": "shop", "purpose": "login", "first_use": lambda _: True}
        return proofs.verify(proof, **about, **expected)

    assert check({}, user="u-17")["factor"] == "fa_1"
    assert check({"amr": ["recovery"]}, user="u-17", amr=["otp", "recovery"])
    for changes in ({"sub": "u-18"}, {"amr": ["recovery"]}, {"amr": ["sms"]}, {"amr": []}):
        with pytest.raises(InvalidProof):
            check(changes, user="u-17")
    with pytest.raises(InvalidProof):
        check({}, verification="vf_1")
    with pytest.raises(TypeError):
        check({})


def test_keys_are_fetched_once_however_many_unknown_ones_are_named(site: Any, httpserver: HTTPServer):
    proof, one = site.approve()
    header, claims = programs._parts(proof)
    site.check(proof, one, programs.PAYMENT)
    for number in range(5):
        with pytest.raises(InvalidProof):
            site.check(programs.sign(site, claims, {**header, "kid": f"unknown-{number}"}), one, programs.PAYMENT)

    assert len(httpserver.log) == 1
