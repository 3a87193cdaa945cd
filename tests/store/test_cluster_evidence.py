"""On a cluster a start looks at an earlier approval where that is in the number's slot, and passes elsewhere."""

from typing import Any

import pytest
from support_caller import Caller
from support_cluster import Cluster
from support_installation import NUMBER, key, tree

from otp_service import bootstrap
from otp_service.domain.consents import SuppressionSource
from otp_service.domain.numbers import SubjectKey, parse_destination, subject_key
from otp_service.errors import InvalidProofError, StepUpRequiredError
from otp_service.services.factors import user_key
from otp_service.services.proofs import redeem
from otp_service.services.subjects import freeze
from otp_service.services.verifications import check
from otp_service.settings import settings_from

PURPOSES = {"login": {"resend_delays": [0]}, "transfer": {"after": ["login"], "resend_delays": [0]}}


@pytest.fixture
def shop(cluster: Cluster) -> Caller:
    url = cluster.nodes[0].url
    own: dict[str, Any] = tree(
        url,
        redis={"url": url, "cluster": True, "replicas": 0},
        keys={"root": f"k1:{key()}", "pseudonym": key(), "bucket_bits": 8},
        purposes=PURPOSES,
        proofs={"issuer": "https://otp.example"},
    )
    own["applications"]["shop"] |= {"proofs": True, "purposes": [*PURPOSES], "client_ip": "none"}
    installation = bootstrap.install(settings_from(own))
    bootstrap.prepare(installation)
    return Caller(installation)


def number(shop: Caller, to: str) -> SubjectKey:
    return subject_key(shop.context.keyring, parse_destination(to, None))


def log_in(shop: Caller, user: str) -> str:
    one = shop.start(NUMBER, user=user)
    proof = check(shop.context, shop.application, one, shop.code(one)).proof
    assert proof
    return proof


def test_a_start_uses_up_the_approval_of_its_own_number_and_no_other_is_an_error(shop: Caller) -> None:
    numbers = (f"+92300123{last:04d}" for last in range(1000))
    elsewhere = next(one for one in numbers if number(shop, one).bucket != number(shop, NUMBER).bucket)
    user = next(one for one in map(str, range(1000)) if user_bucket(shop, one) != number(shop, NUMBER).bucket)
    proof, other = log_in(shop, user), log_in(shop, user)
    one = shop.start(elsewhere, user=user, purpose="transfer", after=other)

    assert shop.check(one, shop.code(one))[1]
    assert shop.start(NUMBER, user=user, purpose="transfer", after=proof)
    with pytest.raises(StepUpRequiredError):
        shop.start(NUMBER, user=user, purpose="transfer", after=proof)


def user_bucket(shop: Caller, user: str) -> str:
    return user_key(shop.context, "shop", user).bucket


def test_a_frozen_number_proves_nothing_and_a_frozen_user_in_its_slot_neither(shop: Caller) -> None:
    near = next(one for one in map(str, range(10_000)) if user_bucket(shop, one) == number(shop, NUMBER).bucket)
    proof = log_in(shop, near)
    freeze(shop.context, user_key(shop.context, "shop", near), "shop", SuppressionSource.API)
    with pytest.raises(InvalidProofError):
        redeem(shop.context, shop.application, proof)

    other = log_in(shop, "somebody else")
    freeze(
        shop.context, subject_key(shop.context.keyring, parse_destination(NUMBER, None)), "shop", SuppressionSource.API
    )
    with pytest.raises(InvalidProofError):
        redeem(shop.context, shop.application, other)
