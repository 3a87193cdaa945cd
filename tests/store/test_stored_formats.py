"""A release reads one format of what is stored, and refuses others."""

import pytest
from redis.exceptions import ResponseError
from support_caller import Caller
from support_frozen import FrozenValkey
from support_outbox import jobs_of, letters, queue
from support_records import change_record, record_of

from otp_service.bootstrap import prepare
from otp_service.errors import RefusalName, StartRefusedError
from otp_service.store import keys


@pytest.fixture
def shop(frozen: FrozenValkey) -> Caller:
    return Caller(frozen.world().install())


def test_a_start_notes_the_format(frozen: FrozenValkey) -> None:
    prepare(frozen.world().install())

    assert frozen.client.hget(keys.INSTALLATION, "format") == keys.FORMAT.encode()


@pytest.mark.parametrize(("noted", "shown"), [(None, "1"), ("1", "1"), ("3", "3")])
def test_a_server_of_another_format_is_refused_and_left_as_it_is(
    frozen: FrozenValkey, noted: str | None, shown: str
) -> None:
    installation = frozen.world().install()
    prepare(installation)
    frozen.client.hdel(keys.INSTALLATION, "format")
    if noted:
        frozen.client.hset(keys.INSTALLATION, "format", noted)
    before = frozen.client.hgetall(keys.INSTALLATION)
    with pytest.raises(StartRefusedError, match=f"Redis has data of format {shown}: this release reads") as refused:
        prepare(installation)

    assert [refusal.name for refusal in refused.value.refusals] == [RefusalName.OTHER_FORMAT]
    assert frozen.client.hgetall(keys.INSTALLATION) == before


def test_another_installation_of_another_format_is_another_installation(frozen: FrozenValkey) -> None:
    installation = frozen.world().install()
    prepare(installation)
    frozen.client.hset(keys.INSTALLATION, mapping={"format": "1", "pseudonym_key": "another"})
    with pytest.raises(StartRefusedError, match="another pseudonym_key and another format") as refused:
        prepare(installation)

    assert [refusal.name for refusal in refused.value.refusals] == [RefusalName.OTHER_INSTALLATION]


def test_a_record_of_another_form_is_neither_read_nor_checked(frozen: FrozenValkey, shop: Caller) -> None:
    one = shop.start()
    code, key = shop.code(one), keys.record("00", one)
    change_record(frozen.client, key, v="3")
    before = frozen.client.hgetall(key)
    with pytest.raises(ValueError, match="form 3"):
        shop.read(one)
    for act in (lambda: shop.check(one, code), lambda: shop.cancel(one), lambda: shop.resend(one)):
        with pytest.raises((ResponseError, ValueError), match="form 3"):
            act()

    assert frozen.client.hgetall(key) == before


def test_a_job_of_another_format_becomes_a_dead_letter(frozen: FrozenValkey, shop: Caller) -> None:
    shop.start()
    frozen.client.xadd(queue(), {"json": '{"v": "2", "id": "vf"}'})

    assert len(jobs_of(shop.context)) == 1
    assert letters(frozen.client) == ["unreadable"]


def test_a_record_has_126_bits_of_a_tag(frozen: FrozenValkey, shop: Caller) -> None:
    assert len(record_of(frozen.client, keys.record("00", shop.start()))["tag"]) == 21
