"""On a cluster a start claims an earlier approval and a user in their buckets, and freezes of any bucket revoke."""

from typing import Any

import pytest
from support_caller import Caller
from support_cluster import Cluster
from support_installation import NUMBER, key, tree

from otp_service import bootstrap
from otp_service.domain.consents import SuppressionSource
from otp_service.domain.numbers import SubjectKey, parse_destination, subject_key
from otp_service.domain.verification import Status
from otp_service.errors import (
    FrozenError,
    InvalidProofError,
    LedgerUnavailableError,
    StepUpRequiredError,
    StoreUnavailableError,
)
from otp_service.services.factors import user_key
from otp_service.services.proofs import redeem
from otp_service.services.subjects import freeze, unfreeze
from otp_service.services.verifications import check
from otp_service.settings import settings_from
from otp_service.store import keys
from otp_service.store.script_runner import ScriptCall, ScriptRunner

PURPOSES = {"login": {"resend_delays": [0]}, "transfer": {"after": ["login"], "resend_delays": [0]}}


@pytest.fixture
def shop(cluster: Cluster) -> Caller:
    url = cluster.nodes[0].url
    own: dict[str, Any] = tree(
        url,
        redis={"url": url, "replicas": 0},
        keys={"root": f"k1:{key()}", "pseudonym": key(), "buckets": 256},
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


def elsewhere(shop: Caller) -> str:
    """Return a number of another bucket than `NUMBER`'s."""
    numbers = (f"+92300{last:03d}4567" for last in range(1000))
    return next(one for one in numbers if number(shop, one).bucket != number(shop, NUMBER).bucket)


def user_elsewhere(shop: Caller) -> str:
    """Return a user of another bucket than `NUMBER`'s."""
    return next(one for one in map(str, range(1000)) if user_bucket(shop, one) != number(shop, NUMBER).bucket)


@pytest.mark.parametrize("is_near", [True, False], ids=["its own number's", "another number's"])
def test_an_approval_of_any_bucket_is_used_once(shop: Caller, is_near: bool) -> None:
    user = user_elsewhere(shop)
    proof, to = log_in(shop, user), NUMBER if is_near else elsewhere(shop)

    one = shop.start(to, user=user, purpose="transfer", after=proof)
    assert shop.check(one, shop.code(one))[1]
    for another in (NUMBER, elsewhere(shop)):
        with pytest.raises(StepUpRequiredError):
            shop.start(another, user=user, purpose="transfer", after=proof)


def test_a_start_that_is_repeated_with_its_key_used_the_approval_once(shop: Caller) -> None:
    user, to = user_elsewhere(shop), elsewhere(shop)
    proof = log_in(shop, user)

    retry = shop.retry("the same", "start", to, proof)
    first, again = (shop.start(to, retry, user=user, purpose="transfer", after=proof) for _ in range(2))
    assert first == again


def test_a_refused_start_gives_the_approval_back_and_a_lost_one_uses_it_up(
    shop: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, to = user_elsewhere(shop), elsewhere(shop)
    proof, other = log_in(shop, user), log_in(shop, user)
    freeze_number = subject_key(shop.context.keyring, parse_destination(to, None))
    freeze(shop.context, freeze_number, "shop", SuppressionSource.API)
    with pytest.raises(FrozenError):
        shop.start(to, user=user, purpose="transfer", after=proof)
    assert shop.start(NUMBER, user=user, purpose="transfer", after=proof), "it was given back"

    run = ScriptRunner.run

    def lose(runner: ScriptRunner, call: ScriptCall) -> Any:
        answer = run(runner, call)
        if call.name == "start":
            raise StoreUnavailableError("The answer is lost.")
        return answer

    monkeypatch.setattr(ScriptRunner, "run", lose)
    with pytest.raises(StoreUnavailableError):
        shop.start(to, user=user, purpose="transfer", after=other)
    monkeypatch.undo()
    with pytest.raises(StepUpRequiredError):
        shop.start(NUMBER, user=user, purpose="transfer", after=other)


def test_a_freeze_of_a_user_ends_what_names_it_in_other_buckets_and_lets_no_more_begin(shop: Caller) -> None:
    user = user_elsewhere(shop)
    pending = shop.start(NUMBER, user=user)
    code = shop.code(pending)

    freeze(shop.context, user_key(shop.context, "shop", user), "shop", SuppressionSource.API)
    assert shop.check(pending, code)[0] is Status.CANCELED
    with pytest.raises(FrozenError):
        shop.start(NUMBER, user=user)


def freeze_user(shop: Caller, user: str) -> None:
    freeze(shop.context, user_key(shop.context, "shop", user), "shop", SuppressionSource.API)


def test_a_frozen_user_of_another_bucket_revokes_every_approval(shop: Caller) -> None:
    user = user_elsewhere(shop)
    approved = shop.start(NUMBER, user=user)
    code, retry = shop.code(approved), shop.retry("check", "check", approved)
    proof = check(shop.context, shop.application, approved, code, retry=retry).proof
    assert proof
    later = shop.start(elsewhere(shop), user=user, purpose="transfer", after=log_in(shop, user))
    after_code = shop.code(later)
    unused = log_in(shop, user)
    assert read_approved(shop, approved) is Status.APPROVED

    freeze_user(shop, user)
    unfreeze(shop.context, user_key(shop.context, "shop", user), "shop", SuppressionSource.API)

    with pytest.raises(InvalidProofError):
        redeem(shop.context, shop.application, proof)
    assert read_approved(shop, approved) is Status.CANCELED
    assert check(shop.context, shop.application, approved, code, retry=retry).reason == "revoked"
    assert shop.check(later, after_code)[0] is Status.CANCELED
    with pytest.raises(StepUpRequiredError):
        shop.start(NUMBER, user=user, purpose="transfer", after=unused)


def test_nothing_is_approved_or_redeemed_without_the_mirror_of_another_bucket(shop: Caller) -> None:
    user = user_elsewhere(shop)
    proof, pending = log_in(shop, user), shop.start(NUMBER, user=user)
    shop.context.store.client.delete(keys.mirror(user_bucket(shop, user)))

    with pytest.raises(LedgerUnavailableError):
        redeem(shop.context, shop.application, proof)
    with pytest.raises(LedgerUnavailableError):
        check(shop.context, shop.application, pending, shop.code(pending))


def read_approved(shop: Caller, one: str) -> Status:
    bucket = shop.context.keyring.bucket_of_id(one)
    assert bucket
    verification = shop.context.store.verifications.read_approved(bucket, one)
    assert verification
    return verification.status


def test_a_frozen_number_revokes_what_came_after_its_approval_in_another_bucket(shop: Caller) -> None:
    user = user_elsewhere(shop)
    later = shop.start(elsewhere(shop), user=user, purpose="transfer", after=log_in(shop, user))
    code = shop.code(later)
    freeze(shop.context, number(shop, NUMBER), "shop", SuppressionSource.API)

    assert shop.check(later, code)[0] is Status.CANCELED


@pytest.mark.parametrize("is_lifted", [False, True])
def test_a_start_that_a_freeze_of_its_user_overtakes_is_never_approved(
    shop: Caller, monkeypatch: pytest.MonkeyPatch, is_lifted: bool
) -> None:
    user, run = user_elsewhere(shop), ScriptRunner.run

    def freeze_before_the_start(runner: ScriptRunner, call: ScriptCall) -> Any:
        if call.name == "start":
            monkeypatch.undo()
            freeze_user(shop, user)
            if is_lifted:
                unfreeze(shop.context, user_key(shop.context, "shop", user), "shop", SuppressionSource.API)
        return run(runner, call)

    monkeypatch.setattr(ScriptRunner, "run", freeze_before_the_start)
    one = shop.start(NUMBER, user=user)

    assert shop.check(one, shop.code(one))[0] is Status.CANCELED


def test_a_wrong_code_reads_no_other_bucket_and_counts_once(shop: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    user, run, called = user_elsewhere(shop), ScriptRunner.run, list[str]()
    one = shop.start(NUMBER, user=user)
    code, wrong = shop.code(one), shop.wrong(one)

    def note(runner: ScriptRunner, call: ScriptCall) -> Any:
        called.append(call.name)
        return run(runner, call)

    monkeypatch.setattr(ScriptRunner, "run", note)
    assert shop.check(one, wrong)[2] == 4
    assert called == ["check"]
    assert shop.check(one, code)[0] is Status.APPROVED
    assert called == ["check"] * 3, "a right code is checked again once the user's bucket was read"


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
