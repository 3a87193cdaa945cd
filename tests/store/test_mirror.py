"""The mirror in Redis: what it lets through, what it keeps back, and when it is not to be relied on."""

import json
from dataclasses import replace

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_happenings import EVIDENCE
from support_installation import NUMBER, World

from otp_service.core.consent import ConsentMode
from otp_service.core.errors import (
    ConsentOutdatedError,
    ConsentRequiredError,
    FrozenError,
    LedgerUnavailableError,
    OtpServiceError,
    SuppressedError,
)
from otp_service.core.mirrored import Changes, Mirrored
from otp_service.services.start import StartRequest, start
from otp_service.store import keys
from otp_service.store.mirror import FOREIGN

IDENTITY, OTHER = "i" * 32, "o" * 32
PSEUDONYM = "p" * 22


@pytest.fixture
def mirror(frozen: FrozenValkey):
    made = installed(frozen).context.store.mirror
    building = made.begin(IDENTITY)
    building.forget()
    assert building.finish(IDENTITY, 0)
    return made


def installed(frozen, **sections):
    """Return an installation whose mirror is built."""
    made = frozen.world().install(**sections)
    made.context.reflection.refresh()
    return made


def changes(upto, newest=None, identity=IDENTITY, **suppressed):
    one = Mirrored(PSEUDONYM, suppressed, {})
    return Changes(identity, upto, upto if newest is None else newest, (one,))


def kept(frozen):
    found = frozen.client.hgetall(keys.mirrored("00", PSEUDONYM))
    return {name.decode(): value.decode() for name, value in found.items()}


def test_a_change_brings_the_mirror_to_its_place(frozen, mirror):
    assert mirror.reflect(changes(1, shop=None, bank=5000), 0, ["00"]) == 1
    assert kept(frozen) == {"n": "1", "s:shop": "", "s:bank": "5000"}
    assert mirror.place(IDENTITY) == 1


def test_a_freeze_is_in_a_field_of_its_own_and_stays_whatever_ends(frozen, mirror):
    one = Mirrored(PSEUDONYM, {"shop": frozen.now + 1}, {}, frozenset({"shop", "*"}))
    mirror.reflect(Changes(IDENTITY, 1, 1, (one,)), 0, ["00"])

    assert kept(frozen) == {"n": "1", "s:shop": str(frozen.now + 1), "f:shop": "", "f:*": ""}
    assert frozen.client.pttl(keys.mirrored("00", PSEUDONYM)) == -1


def test_where_a_freeze_was_lifted_is_remembered_for_a_day(frozen, mirror):
    one = Mirrored(PSEUDONYM, {}, {}, frozenset(), {"shop": 7, "*": 9})
    mirror.reflect(Changes(IDENTITY, 9, 9, (one,)), 0, ["00"])

    assert kept(frozen) == {"n": "9", "l:shop": "7", "l:*": "9"}
    assert frozen.client.pttl(keys.mirrored("00", PSEUDONYM)) == 86_400_000


def test_a_lift_neither_shortens_nor_ends_what_holds(frozen, mirror):
    suppressed = Mirrored(PSEUDONYM, {"shop": frozen.now + 9000}, {}, frozenset(), {"shop": 7})
    mirror.reflect(Changes(IDENTITY, 8, 8, (suppressed,)), 0, ["00"])
    assert frozen.client.pttl(keys.mirrored("00", PSEUDONYM)) == 86_400_000 + 9000
    for_ever = Mirrored(PSEUDONYM, {}, {}, frozenset({"bank"}), {"shop": 7})
    mirror.reflect(Changes(IDENTITY, 9, 9, (for_ever,)), 8, ["00"])

    assert frozen.client.pttl(keys.mirrored("00", PSEUDONYM)) == -1


def test_a_freeze_that_is_lifted_leaves_nothing_where_no_lift_is_told(frozen, mirror):
    mirror.reflect(Changes(IDENTITY, 1, 1, (Mirrored(PSEUDONYM, {}, {}, frozenset({"shop"})),)), 0, ["00"])
    mirror.reflect(changes(2), 1, ["00"])

    assert kept(frozen) == {"n": "2"}


def test_what_is_kept_of_a_number_stays(frozen, mirror):
    mirror.reflect(changes(1, shop=None), 0, ["00"])

    assert frozen.client.pttl(keys.mirrored("00", PSEUDONYM)) == -1


def test_a_change_that_is_mirrored_late_does_not_take_the_mirror_back(mirror):
    mirror.reflect(changes(3, shop=None), 0, ["00"])

    assert mirror.reflect(changes(1, newest=3, shop=None), 0, ["00"]) == 3
    assert mirror.place(IDENTITY) == 3


def test_a_change_whose_forerunner_is_missing_is_written_and_brings_it_no_further(frozen, mirror):
    assert mirror.reflect(changes(3, shop=None), 2, ["00"]) == 0
    assert kept(frozen)["s:shop"] == ""


def test_a_state_that_was_read_earlier_does_not_replace_a_later_one(frozen, mirror):
    mirror.reflect(changes(2, shop=None), 0, ["00"])
    mirror.reflect(changes(1), 0, ["00"])

    assert kept(frozen) == {"n": "2", "s:shop": ""}


def test_that_nothing_is_kept_of_a_number_is_remembered_for_a_while(frozen, mirror):
    mirror.reflect(changes(2), 0, ["00"])
    mirror.reflect(changes(1, shop=None), 0, ["00"])

    assert kept(frozen) == {"n": "2"}
    assert 0 < frozen.client.pttl(keys.mirrored("00", PSEUDONYM)) <= 86_400_000


@pytest.mark.parametrize(
    ("suppressed", "life"),
    [
        ({"shop": 5000}, 5000),
        ({"shop": 9000, "bank": 5000}, 9000),
        ({"shop": 9000, "bank": None}, None),
        ({"shop": -1}, 0),
    ],
)
def test_a_number_is_remembered_for_a_day_longer_than_what_holds(frozen, mirror, suppressed, life):
    ends = {name: None if at is None else frozen.now + at for name, at in suppressed.items()}
    mirror.reflect(changes(1, **ends), 0, ["00"])

    assert frozen.client.pttl(keys.mirrored("00", PSEUDONYM)) == (-1 if life is None else 86_400_000 + life)


def test_a_number_with_a_consent_stays_whatever_ends(frozen, mirror):
    one = Mirrored(PSEUDONYM, {"shop": frozen.now + 1}, {("shop", "login"): (False, 1, 5)})
    mirror.reflect(Changes(IDENTITY, 1, 1, (one,)), 0, ["00"])

    assert frozen.client.pttl(keys.mirrored("00", PSEUDONYM)) == -1


def test_another_ledger_neither_moves_the_mirror_nor_changes_what_is_in_it(frozen, mirror):
    """Whatever is recorded there, by a process with a wrong address, must forget nobody's opt-out here."""
    mirror.reflect(changes(1, shop=None), 0, ["00"])

    assert mirror.reflect(changes(5, identity=OTHER), 0, ["00"]) is None
    assert mirror.place(OTHER) == FOREIGN
    assert mirror.place(IDENTITY) == 1
    assert kept(frozen) == {"n": "1", "s:shop": ""}


@pytest.mark.parametrize(("identity", "written"), [(IDENTITY, {"n": "1", "s:shop": ""}), (OTHER, {})])
def test_what_changes_while_the_mirror_is_built_is_written_if_it_is_of_the_same_ledger(
    frozen, mirror, identity, written
):
    mirror.begin(IDENTITY).forget()

    assert mirror.reflect(changes(1, identity=identity, shop=None), 0, ["00"]) is None
    assert kept(frozen) == written


def test_into_a_mirror_that_is_lost_nothing_is_written(frozen, mirror):
    mirror.drop()

    assert mirror.reflect(changes(1, shop=None), 0, ["00"]) is None
    assert kept(frozen) == {}


def test_to_forget_takes_all_numbers_and_nothing_else(frozen, mirror):
    mirror.reflect(changes(1, shop=None), 0, ["00"])
    before = {name for name in frozen.client.scan_iter() if b"mirror" not in name}
    mirror.begin(IDENTITY).forget()
    frozen.client.delete(keys.MIRROR_BUILDER)

    assert set(frozen.client.scan_iter()) == before


def test_one_process_builds_at_a_time(mirror):
    building = mirror.begin(IDENTITY)

    assert mirror.begin(IDENTITY) is None
    assert building.go_on()
    building.give_up()
    assert mirror.begin(IDENTITY)


def test_who_was_silent_for_too_long_can_neither_end_nor_disturb_what_another_builds(frozen, mirror):
    late = mirror.begin(IDENTITY)
    frozen.advance(31)
    other = mirror.begin(IDENTITY)
    mirror.reflect(changes(1, shop=None), 0, ["00"])

    assert not late.go_on()
    late.forget()
    assert not late.finish("o" * 32, 7)
    late.give_up()
    assert mirror.begin(IDENTITY) is None, "it is the other's turn still"
    assert other.finish(IDENTITY, 3)
    assert mirror.place(IDENTITY) == 3
    assert kept(frozen)["s:shop"] == ""


def test_a_mirror_that_was_shut_is_shut_until_it_is_built_anew(frozen, mirror):
    mirror.shut()
    mirror.reflect(changes(1, shop=None), 0, ["00"])
    assert mirror.is_ahead()
    building = mirror.begin(IDENTITY)
    building.finish(IDENTITY, 1)

    assert not mirror.is_ahead()


# --- what a start is told ------------------------------------------------------------------------------------


def begin(installation, consent=None):
    context = installation.context
    return start(context, context.applications["shop"], StartRequest(NUMBER, consent=consent))


def put(frozen, installation, **fields):
    pseudonym = installation.context.keyring.pseudonym(NUMBER)
    mapping = {name.replace("_", ":"): value for name, value in fields.items()}
    frozen.client.hset(keys.mirrored("00", pseudonym), mapping=mapping)


@pytest.mark.parametrize(
    ("fields", "consent", "refused"),
    [
        ({}, "off", None),
        ({"s_shop": ""}, "off", SuppressedError),
        ({"s_*": ""}, "off", SuppressedError),
        ({"s_bank": ""}, "off", None),
        ({"s_shop": "FUTURE"}, "off", SuppressedError),
        ({"s_shop": "PAST"}, "off", None),
        ({"f_shop": ""}, "off", FrozenError),
        ({"f_*": ""}, "off", FrozenError),
        ({"f_bank": ""}, "off", None),
        ({"f_shop": "", "s_shop": ""}, "required", FrozenError),
        ({"l_shop": "7", "l_*": "9"}, "off", None),
        ({}, "required", ConsentRequiredError),
        ({"c_shop_login": "given|1|5"}, "required", None),
        ({"c_shop_payment": "given|1|5"}, "required", ConsentRequiredError),
        ({"c_bank_login": "given|1|5"}, "required", ConsentRequiredError),
        ({"c_shop_login": "withdrawn|1|5"}, "required", ConsentRequiredError),
        ({"c_shop_login": "withdrawn|1|5"}, "recorded", ConsentRequiredError),
        ({"c_shop_login": "withdrawn|1|5"}, "off", None),
        ({}, "recorded", None),
    ],
)
def test_a_start_goes_by_what_the_mirror_says(frozen: FrozenValkey, fields, consent, refused):
    shop = installed(frozen, applications={"shop": {**SHOP, "consent": consent}})
    times = {"FUTURE": str(frozen.now + 1), "PAST": str(frozen.now)}
    put(frozen, shop, **{"n": "0", **{name: times.get(value, value) for name, value in fields.items()}})
    try:
        begin(shop)
        found = None
    except OtpServiceError as error:
        found = type(error)

    assert found is refused


@pytest.mark.parametrize(
    ("field", "value", "given", "refused"),
    [
        ("c_shop_login", "withdrawn|1|5000", 5000, ConsentOutdatedError),
        ("c_shop_login", "withdrawn|1|5000", 4999, ConsentOutdatedError),
        ("c_shop_login", "withdrawn|1|5000", 5001, None),
        ("c_shop_login", "given|1|5000", 1, None),
        ("c_shop_payment", "withdrawn|1|5000", 1, None),
        ("c_bank_login", "withdrawn|1|5000", 1, None),
        ("c_bank_login", "withdrawn|1|5000", -1, None),
        ("s_shop", "", 5001, SuppressedError),
    ],
)
def test_a_consent_that_comes_with_a_start_has_to_be_newer_than_a_withdrawal(
    frozen: FrozenValkey, field, value, given, refused
):
    shop = installed(frozen, applications={"shop": {**SHOP, "consent": "required"}})
    put(frozen, shop, n="0", **{field: value})
    try:
        begin(shop, consent=replace(EVIDENCE, given=given))
        found = None
    except OtpServiceError as error:
        found = type(error)

    assert found is refused


SHOP = {
    "purposes": ["login", "payment"], "countries": ["PK"], "region": "PK", "client_ip": "none",
}  # fmt: skip


def test_a_refused_start_spends_nothing(frozen: FrozenValkey):
    shop = installed(frozen, applications={"shop": {**SHOP, "consent": "required"}})
    before = snapshot(frozen)
    with pytest.raises(ConsentRequiredError):
        begin(shop)

    assert snapshot(frozen) == before


def snapshot(frozen):
    return {name: frozen.client.dump(name) for name in frozen.client.scan_iter()}


@pytest.mark.parametrize("damage", ["lost", "behind", "ahead", "of another ledger"])
def test_nothing_is_accepted_while_the_mirror_is_not_to_be_relied_on(frozen: FrozenValkey, damage):
    shop = installed(frozen)
    head = frozen.client.hgetall(keys.MIRROR)
    least = shop.context.reflection.permission(ConsentMode.OFF).least
    match damage:
        case "lost":
            frozen.client.delete(keys.MIRROR)
        case "behind":
            frozen.client.hset(keys.MIRROR, "sequence", least - 1)
        case "ahead":
            shop.context.store.mirror.shut()
        case _:
            frozen.client.hset(keys.MIRROR, "identity", "x" * 32)
    with pytest.raises(LedgerUnavailableError):
        begin(shop)
    frozen.client.delete(keys.MIRROR)
    frozen.client.hset(keys.MIRROR, mapping=head)

    begin(shop)


def test_a_replayed_start_needs_no_mirror(frozen: FrozenValkey):
    shop = Caller(installed(frozen))
    retry = shop.retry("once", "start")
    first = shop.start(retry=retry)
    frozen.client.delete(keys.MIRROR)

    assert shop.start(retry=retry) == first


def test_a_start_says_who_it_was_for_and_at_which_place_of_the_ledger(frozen: FrozenValkey):
    shop = installed(frozen)
    one = begin(shop).view.verification
    ((_, event),) = frozen.client.xrange(keys.events("00"))

    assert event[b"pseudonym"].decode() == one.pseudonym
    assert event[b"ledger"] == frozen.client.hget(keys.MIRROR, "sequence")
    assert event[b"consent"] == b""
    assert json.dumps(NUMBER)[2:-1] not in str(event)


def test_nothing_is_accepted_while_too_much_is_not_recorded(world: World):
    shop = world.install(streams={"max_events": 1000})
    for _ in range(2000):
        world.client.xadd(keys.events("00"), {"type": "check.failed"})
    with pytest.raises(LedgerUnavailableError, match="not recorded"):
        begin(shop)
    world.client.xtrim(keys.events("00"), maxlen=1999, approximate=False)

    begin(shop)
