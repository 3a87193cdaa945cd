"""The mirror in Redis: what it lets through, what it keeps back, and when it is not to be relied on."""

import json
from dataclasses import replace

import pytest
from support_caller import Caller
from support_frozen import FrozenValkey
from support_installation import NUMBER, World
from support_ledger_events import EVIDENCE
from support_messages import PAYMENT
from support_records import entries_of

from otp_service.domain.consents import ConsentMode, LedgerPosition, MirrorChanges, NumberState
from otp_service.errors import (
    ConsentOutdatedError,
    ConsentRequiredError,
    FrozenError,
    LedgerUnavailableError,
    OtpServiceError,
    SuppressedError,
)
from otp_service.services.start import StartRequest, start
from otp_service.store import keys
from otp_service.store.mirror import MirrorHead

IDENTITY, OTHER = "i" * 32, "o" * 32
PSEUDONYM = "p" * 22


@pytest.fixture
def mirror(frozen: FrozenValkey):
    made = installed(frozen).context.store.mirror
    building = made.begin(IDENTITY)
    building.forget()
    assert building.finish(at(0))
    return made


def at(sequence, identity=IDENTITY, history=""):
    return LedgerPosition(identity, sequence, 10 * sequence, f"{history}link{sequence}")


def installed(frozen, **sections):
    """Return an installation whose mirror is built."""
    made = frozen.world().install(**sections)
    made.context.mirror_sync.refresh()
    return made


def changes(reached, after=0, read_at=None, identity=IDENTITY, **suppressed):
    return of(NumberState(PSEUDONYM, suppressed, {}), reached, after, read_at, identity)


def of(one, reached, after=0, read_at=None, identity=IDENTITY):
    return MirrorChanges(at(after, identity), at(reached, identity), reached if read_at is None else read_at, (one,))


def place(mirror):
    return mirror.head().place


def write(mirror, changes):
    """Write changes of numbers of the only bucket; return whether the mirror was brought on."""
    (written,) = mirror.write(changes, ["00"], mirror.parts)
    return written


def kept(frozen):
    found = frozen.client.hgetall(keys.mirrored("00", PSEUDONYM))
    return {name.decode(): value.decode() for name, value in found.items()}


def test_a_change_brings_the_mirror_to_its_place(frozen, mirror):
    assert write(mirror, changes(1, shop=None, bank=5000))
    assert kept(frozen) == {"n": "1", "s:shop": "", "s:bank": "5000"}
    assert place(mirror) == at(1)


def test_a_freeze_is_in_a_field_of_its_own_and_stays_whatever_ends(frozen, mirror):
    one = NumberState(PSEUDONYM, {"shop": frozen.now + 1}, {}, frozenset({"shop", "*"}))
    write(mirror, of(one, 1))

    assert kept(frozen) == {"n": "1", "s:shop": str(frozen.now + 1), "f:shop": "", "f:*": ""}
    assert frozen.client.pttl(keys.mirrored("00", PSEUDONYM)) == -1


def test_where_a_freeze_was_lifted_is_remembered_for_a_day(frozen, mirror):
    one = NumberState(PSEUDONYM, {}, {}, frozenset(), {"shop": 7, "*": 9})
    write(mirror, of(one, 9))

    assert kept(frozen) == {"n": "9", "l:shop": "7", "l:*": "9"}
    assert frozen.client.pttl(keys.mirrored("00", PSEUDONYM)) == 86_400_000


def test_where_a_number_was_erased_is_remembered_for_a_day(frozen, mirror):
    write(mirror, of(NumberState(PSEUDONYM, {}, {}, erased={"shop": 7, "*": 9}), 9))

    assert kept(frozen) == {"n": "9", "e:shop": "7", "e:*": "9"}
    assert frozen.client.pttl(keys.mirrored("00", PSEUDONYM)) == 86_400_000


def test_a_lift_neither_shortens_nor_ends_what_holds(frozen, mirror):
    suppressed = NumberState(PSEUDONYM, {"shop": frozen.now + 9000}, {}, frozenset(), {"shop": 7})
    write(mirror, of(suppressed, 8))
    assert frozen.client.pttl(keys.mirrored("00", PSEUDONYM)) == 86_400_000 + 9000
    for_ever = NumberState(PSEUDONYM, {}, {}, frozenset({"bank"}), {"shop": 7})
    write(mirror, of(for_ever, 9, after=8))

    assert frozen.client.pttl(keys.mirrored("00", PSEUDONYM)) == -1


def test_a_freeze_that_is_lifted_leaves_nothing_where_no_lift_is_told(frozen, mirror):
    write(mirror, of(NumberState(PSEUDONYM, {}, {}, frozenset({"shop"})), 1))
    write(mirror, changes(2, after=1))

    assert kept(frozen) == {"n": "2"}


def test_what_is_kept_of_a_number_stays(frozen, mirror):
    write(mirror, changes(1, shop=None))

    assert frozen.client.pttl(keys.mirrored("00", PSEUDONYM)) == -1


@pytest.mark.parametrize("after", [at(1), at(3), at(2, history="another "), at(2, OTHER)])
def test_changes_that_come_after_another_place_are_not_written(frozen, mirror, after):
    """Somebody else was faster, something between is missing, or the mirror has another history than the ledger."""
    write(mirror, changes(2, shop=None))
    late = MirrorChanges(after, at(4, after.identity), 4, (NumberState(PSEUDONYM, {}, {}),))

    assert not write(mirror, late)
    assert place(mirror) == at(2)
    assert kept(frozen) == {"n": "2", "s:shop": ""}


def test_a_state_that_was_read_earlier_does_not_replace_a_later_one(frozen, mirror):
    write(mirror, changes(1, read_at=2, shop=None))
    write(mirror, changes(2, after=1, read_at=1))

    assert kept(frozen) == {"n": "2", "s:shop": ""}


def test_that_nothing_is_kept_of_a_number_is_remembered_for_a_while(frozen, mirror):
    write(mirror, changes(1, read_at=2))
    write(mirror, changes(2, after=1, read_at=1, shop=None))

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
    write(mirror, changes(1, **ends))

    assert frozen.client.pttl(keys.mirrored("00", PSEUDONYM)) == (-1 if life is None else 86_400_000 + life)


def test_a_number_with_a_consent_stays_whatever_ends(frozen, mirror):
    one = NumberState(PSEUDONYM, {"shop": frozen.now + 1}, {("shop", "login"): (False, 1, 5)})
    write(mirror, of(one, 1))

    assert frozen.client.pttl(keys.mirrored("00", PSEUDONYM)) == -1


def test_while_the_mirror_is_built_its_builder_alone_writes_into_it(frozen, mirror):
    mirror.drop()
    building = mirror.begin(IDENTITY)

    assert not write(mirror, changes(1, shop=None))
    assert kept(frozen) == {}
    assert building.write(changes(1, shop=None), ["00"])
    assert kept(frozen) == {"n": "1", "s:shop": ""}
    assert place(mirror) is None


def test_into_a_mirror_that_is_lost_nothing_is_written(frozen, mirror):
    mirror.drop()

    assert not write(mirror, changes(1, shop=None))
    assert kept(frozen) == {}


def test_to_forget_takes_all_numbers_and_nothing_else(frozen, mirror):
    write(mirror, changes(1, shop=None))
    before = {name for name in frozen.client.scan_iter() if b"mirror" not in name}
    mirror.begin(IDENTITY).forget()
    frozen.client.delete(keys.mirror_builder("00"))

    assert set(frozen.client.scan_iter()) == before


def test_one_process_builds_at_a_time(mirror):
    building = mirror.begin(IDENTITY)

    assert mirror.begin(IDENTITY) is None
    assert building.renew()
    building.give_up()
    assert mirror.begin(IDENTITY)


def test_who_was_silent_for_too_long_can_neither_end_nor_disturb_what_another_builds(frozen, mirror):
    late = mirror.begin(IDENTITY)
    frozen.advance(31)
    other = mirror.begin(IDENTITY)
    other.write(changes(1, shop=None), ["00"])

    assert not late.renew()
    assert not late.write(changes(2), ["00"])
    late.forget()
    assert not late.finish(at(7, OTHER))
    late.give_up()
    assert mirror.begin(IDENTITY) is None, "it is the other's turn still"
    assert other.finish(at(3))
    assert place(mirror) == at(3)
    assert kept(frozen)["s:shop"] == ""


def test_a_mirror_that_was_closed_is_closed_until_it_is_built_anew(frozen, mirror):
    mirror.close()
    write(mirror, changes(1, shop=None))
    assert mirror.head() == MirrorHead(at(1), is_closed=True)
    building = mirror.begin(IDENTITY)
    building.finish(at(1))

    assert mirror.head() == MirrorHead(at(1))


# --- what a start is told ------------------------------------------------------------------------------------


def begin(installation, **request):
    context = installation.context
    return start(context, context.applications["shop"], StartRequest(NUMBER, **request))


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


def test_a_consent_to_one_purpose_is_none_to_another(frozen: FrozenValkey):
    shop = installed(frozen, applications={"shop": {**SHOP, "consent": "required"}})
    put(frozen, shop, n="0", c_shop_login="given|1|5")
    with pytest.raises(ConsentRequiredError):
        begin(shop, purpose="payment", transaction=PAYMENT)
    put(frozen, shop, c_shop_payment="given|1|5")
    begin(shop, purpose="payment", transaction=PAYMENT)


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
        begin(shop, consent=replace(EVIDENCE, agreed_at=given))
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


@pytest.mark.parametrize("damage", ["lost", "behind", "closed", "of another ledger"])
def test_nothing_is_accepted_while_the_mirror_is_not_to_be_relied_on(frozen: FrozenValkey, damage):
    shop = installed(frozen)
    head = frozen.client.hgetall(keys.mirror("00"))
    least = shop.context.mirror_sync.query("00", ConsentMode.OFF).min_sequence
    match damage:
        case "lost":
            frozen.client.delete(keys.mirror("00"))
        case "behind":
            frozen.client.hset(keys.mirror("00"), "sequence", least - 1)
        case "closed":
            shop.context.store.mirror.close()
        case _:
            frozen.client.hset(keys.mirror("00"), "identity", "x" * 32)
    with pytest.raises(LedgerUnavailableError):
        begin(shop)
    frozen.client.delete(keys.mirror("00"))
    frozen.client.hset(keys.mirror("00"), mapping=head)

    begin(shop)


def test_a_replayed_start_needs_no_mirror(frozen: FrozenValkey):
    shop = Caller(installed(frozen))
    retry = shop.retry("once", "start")
    first = shop.start(retry=retry)
    frozen.client.delete(keys.mirror("00"))

    assert shop.start(retry=retry) == first


def test_a_start_says_who_it_was_for_when_it_ends_and_at_which_place_of_the_ledger(frozen: FrozenValkey):
    shop = installed(frozen)
    one = begin(shop).verification
    (event,) = entries_of(frozen.client, keys.events("00"))

    assert event["pseudonym"] == one.pseudonym
    assert event["expires"] == str(one.expires)
    assert event["ledger"].encode() == frozen.client.hget(keys.mirror("00"), "sequence")
    assert "consent" not in event
    assert json.dumps(NUMBER)[2:-1] not in str(event)


def test_a_start_says_by_which_names_its_payment_can_be_found(frozen: FrozenValkey):
    shop = installed(frozen)
    payment = replace(PAYMENT, reference="TRX-12345")
    agreed = begin(shop, purpose="payment", transaction=payment).details.transaction
    (event,) = entries_of(frozen.client, keys.events("00"))

    names = shop.context.keyring.payment_names("shop", agreed)
    assert (event["payment"], event["payment_reference"]) == (names.payment, names.reference)


def test_nothing_is_accepted_while_too_much_is_not_recorded(world: World):
    shop = world.install(streams={"max_events": 1000})
    for _ in range(2000):
        world.client.xadd(keys.events("00"), {"type": "check.failed"})
    with pytest.raises(LedgerUnavailableError, match="not recorded"):
        begin(shop)
    world.client.xtrim(keys.events("00"), maxlen=1999, approximate=False)

    begin(shop)
