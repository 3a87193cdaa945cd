"""Proofs of approvals: the keys to check them with, and their use once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, JsonValue

from otp_service.api.exchange import Exchange
from otp_service.api.routes import COMMON_PROBLEMS, Answer, Resource, Success, type_adapter
from otp_service.api.schemas import Body, ProofText
from otp_service.domain.applications import KeyScope
from otp_service.errors import NotFoundError
from otp_service.services.json_types import Time
from otp_service.services.proofs import redeem

JWKS_LIFE = 300
"""Seconds for which others may cache the keys: a new root key stands second for longer before it signs."""
_KEY_EXAMPLE: dict[str, JsonValue] = {
    "crv": "P-256",
    "kty": "EC",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "kid": "3LTOiROA6V8oO1mOnU0Vn_0-tI0-3Ue2vTqnLoKpJu4",
    "use": "sig",
    "alg": "ES256",
}


@dataclass(frozen=True, slots=True)
class KeySetAnswer:
    """A JSON Web Key Set (RFC 7517)."""

    __pydantic_config__ = ConfigDict(json_schema_extra={"examples": [{"keys": [_KEY_EXAMPLE]}]})

    keys: tuple[Mapping[str, str], ...]
    """The public keys, the one that signs now first."""


class RedeemBody(Body, json_schema_extra={"examples": [{"proof": "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiIifQ.c2ln"}]}):
    """A proof to use up."""

    proof: ProofText
    """As a check answered it."""


@dataclass(frozen=True, slots=True)
class RedeemedProofAnswer:
    """The claims of a proof."""

    claims: Mapping[str, Any]
    """All of them; check the time, the purpose and the payment yourself."""


@dataclass(frozen=True, slots=True)
class ProofKeyAnswer:
    """A key that signs proofs, or signed them before."""

    key: Mapping[str, str]
    """The public key (RFC 7517)."""
    first_used_at: Time
    retired_at: Time | None
    """When the service stopped using it: a proof with a later time is forged. Null while it is in use."""


_KEY_SET = type_adapter(KeySetAnswer)
key_set = Resource("proofs", "Proofs", problems=("internal",))
proofs = Resource("proofs", "Proofs", KeyScope.VERIFY, problems=COMMON_PROBLEMS)


@key_set.route(
    "GET /.well-known/jwks.json", {200: Success("The keys.", content=_KEY_SET)}, ("not-found",), endpoint="jwks"
)
def read_key_set(exchange: Exchange) -> Answer:
    """Read the public keys.

    Those that sign proofs now, or did a moment ago. Needs no API key, and may be kept for five minutes.
    """
    signer = exchange.context.proof_signer
    if signer is None:
        raise NotFoundError("Proofs are not enabled.")
    # private: a shared cache would add its five minutes to those for which each verifier keeps a removed key
    exchange.headers["Cache-Control"] = f"private, max-age={JWKS_LIFE}"
    return Answer(_KEY_SET.dump_json(KeySetAnswer(tuple(key.jwk for key in signer.keys.values()))))


@proofs.route("POST /v1/proofs/redeem", {200: "What it states."}, ("not-found", "invalid-proof", "already-redeemed"))
def redeem_proof(exchange: Exchange, body: RedeemBody) -> RedeemedProofAnswer:
    """Use up a proof.

    Answers its claims the first time, and to the application that it is for. Two proofs of one approval, as of a check
    that was asked for again with its `Idempotency-Key`, count as one.
    """
    return RedeemedProofAnswer(redeem(exchange.context, exchange.application, body.proof))


archive = Resource("proofs", "Proofs", KeyScope.VERIFY, problems=COMMON_PROBLEMS, asks_ledger=True)


@archive.route("GET /v1/proofs/keys", {200: "All keys."}, endpoint="keys")
def list_proof_keys(exchange: Exchange) -> list[ProofKeyAnswer]:
    """Read all keys that ever signed.

    To check a proof that was archived before the service's keys changed. The newest first.
    """
    return [ProofKeyAnswer(key.jwk, key.first, key.retired) for key in exchange.context.ledger.proof_keys.all()]
