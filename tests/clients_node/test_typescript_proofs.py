"""`proofs.verify` of the TypeScript client, held to all that the programs of examples/proofs are."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from support_installation import World
from support_programs import programs_of
from support_typescript import CLIENT

(programs,) = programs_of("tests/docs", "test_proofs")
globals().update({name: one for name, one in vars(programs).items() if name.startswith("test_")})


@pytest.fixture
def site(world: World, httpserver: HTTPServer, specification: Path) -> Iterator[Any]:
    yield from programs.sites(world, httpserver, _checker)


def _checker(issuer: str) -> Iterator[Any]:
    program = CLIENT / "build" / "test" / "prove.js"
    with subprocess.Popen(["node", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        lines, answers = process.stdin, process.stdout

        def check(proof: str, verification: str | None = None, payment: Any = None, **others: Any) -> dict[str, Any]:
            about = {"issuer": issuer, "application": "shop", "purpose": "payment", "proof": proof, **others}
            about |= {"verification": verification} if verification else {}
            about |= {"transaction": payment} if payment else {}
            lines.write(json.dumps(about) + "\n")
            lines.flush()
            answer = dict(json.loads(answers.readline()))
            if "error" in answer:
                raise ValueError(answer["error"])
            return answer

        yield check
        lines.close()


def test_a_proof_of_an_app_is_one_of_its_user(site: Any):
    header, claims = programs._parts(site.approve()[0])
    of_app = {**claims, "sub": "u-17", "amr": ["otp"], "purpose": "login", "factor": "fa_1", "jti": "ap_1"}
    for name in ("verification", "txn_digest", "txn_salt"):
        del of_app[name]

    def check(changes: dict[str, Any], **expected: Any) -> Any:
        return site.check(programs.sign(site, {**of_app, **changes}, header), purpose="login", **expected)

    assert check({}, user="u-17")["factor"] == "fa_1"
    assert check({"amr": ["recovery"], "jti": "ap_2"}, user="u-17", amr=["otp", "recovery"])
    for changes in ({"sub": "u-18"}, {"amr": ["recovery"]}, {"amr": ["sms"]}, {"amr": []}):
        with pytest.raises(ValueError, match=r"^InvalidProof: it is of another user"):
            check({**changes, "jti": "ap_3"}, user="u-17")
    with pytest.raises(ValueError, match="needs either verification or user"):
        check({})


def test_keys_are_fetched_once_however_many_unknown_ones_are_named(site: Any, httpserver: HTTPServer):
    proof, one = site.approve()
    header, claims = programs._parts(proof)
    site.check(proof, one, programs.PAYMENT)
    for number in range(5):
        with pytest.raises(ValueError, match="no key of the issuer"):
            site.check(programs.sign(site, claims, {**header, "kid": f"unknown-{number}"}), one, programs.PAYMENT)

    assert len(httpserver.log) == 1


def test_keys_are_looked_for_once_for_all_who_ask_and_not_again_at_once_where_that_fails(
    site: Any, httpserver: HTTPServer, tmp_path: Path
):
    proof, one = site.approve()
    header, claims = programs._parts(proof)
    unknown = [programs.sign(site, claims, {**header, "kid": f"unknown-{number}"}) for number in range(20)]
    about = {"issuer": site.issuer, "application": "shop", "purpose": "payment", "transaction": programs.PAYMENT}
    program = tmp_path / "storm.mjs"
    program.write_text(STORM.replace("DIST", (CLIENT / "dist" / "index.js").as_uri()))

    def storm(wait: int) -> list[str]:
        asked = {"about": {**about, "verification": one}, "proof": proof, "unknown": unknown, "wait": wait}
        told = subprocess.run(["node", program], input=json.dumps(asked), check=True, capture_output=True, text=True)
        return told.stdout.split()

    assert storm(61) == ["good"] + ["InvalidProof"] * 20 + ["good"]
    assert len(httpserver.log) == 2
    httpserver.clear()
    httpserver.expect_ordered_request("/.well-known/jwks.json").respond_with_json(
        {"keys": [{"kty": "AKP", "kid": "later"}, *site.api.client.get("/.well-known/jwks.json").json["keys"]]}
    )
    httpserver.expect_ordered_request("/.well-known/jwks.json").respond_with_data("down", status=500)
    assert storm(61) == ["good"] + ["ConnectionFailed"] * 20 + ["good"]
    assert len(httpserver.log) == 2


STORM = """
import { text } from "node:stream/consumers";
import { proofs } from "DIST";

const { about, proof, unknown, wait } = JSON.parse(await text(process.stdin));
const first_use = () => true;
const say = (found) => found.then(() => "good", (error) => error.name);
const told = [await say(proofs.verify(proof, { ...about, first_use }))];
const now = performance.now.bind(performance);
performance.now = () => now() + wait * 1000;
told.push(...await Promise.all(unknown.map((one) => say(proofs.verify(one, { ...about, first_use })))));
told.push(await say(proofs.verify(proof, { ...about, first_use })));
console.log(told.join(" "));
"""
