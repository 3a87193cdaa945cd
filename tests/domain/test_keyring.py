"""Keys: every use has its own, every input counts, and nothing shows them."""

import base64

import pytest

from otp_service.domain.keyring import (
    Keyring,
    SealBrokenError,
    api_key_hash,
    block_of,
    byte_of_id,
    first_byte,
    new_dispatch_id,
    new_key,
    parse_key,
    parse_root_keys,
    sealing_root,
)
from otp_service.domain.payments import Transaction
from otp_service.errors import ConfigurationError

OLD, NEW, PSEUDONYM = (bytes(range(start, start + 32)) for start in (0, 32, 64))
VERIFICATION = "vf_k1_00" + "a" * 32
BOUND = ("shop", VERIFICATION, "pseudonym", "login", "")


@pytest.fixture
def keyring() -> Keyring:
    return Keyring({"k1": OLD}, PSEUDONYM)


@pytest.mark.parametrize(
    "changed",
    [
        ("bank", VERIFICATION, "pseudonym", "login", ""),
        ("shop", "vf_k1_00" + "b" * 32, "pseudonym", "login", ""),
        ("shop", VERIFICATION, "another", "login", ""),
        ("shop", VERIFICATION, "pseudonym", "payment", ""),
        ("shop", VERIFICATION, "pseudonym", "login", "x"),
        ("shop", VERIFICATION, "pseudonymlogin", "", ""),
    ],
)
def test_a_code_is_bound_to_everything_it_is_for(keyring: Keyring, changed: tuple[str, ...]):
    assert keyring.code_key(*changed) != keyring.code_key(*BOUND)


def test_a_tag_is_bound_to_verification_application_transaction_and_code(keyring: Keyring):
    one, other = VERIFICATION, "vf_k1_00" + "b" * 32
    tags = {
        keyring.tag(*parts)
        for parts in [
            (one, "shop", "", "123456"), (other, "shop", "", "123456"), (one, "bank", "", "123456"),
            (one, "shop", "x", "123456"), (one, "shop", "", "123457"),
        ]
    }  # fmt: skip

    assert len(tags) == 5


def test_after_a_rotation_old_identifiers_still_work_and_new_ones_name_the_new_key(keyring: Keyring):
    rotated = Keyring({"k2": NEW, "k1": OLD}, PSEUDONYM)

    assert rotated.code_key(*BOUND) == keyring.code_key(*BOUND)
    assert rotated.new_verification_id("00").startswith("vf_k2_00")
    assert keyring.bucket_of_id(rotated.new_verification_id("00")) is None, "the key is not known there"


def test_a_rotation_changes_no_pseudonym(keyring: Keyring):
    rotated = Keyring({"k2": NEW, "k1": OLD}, PSEUDONYM)

    assert rotated.pseudonym("+923001234567") == keyring.pseudonym("+923001234567")
    assert rotated.network_pseudonym("192.0.2.1") == keyring.network_pseudonym("192.0.2.1")
    assert rotated.installation == keyring.installation


def test_without_root_keys_nothing_is_made_that_needs_one_and_the_rest_is_as_ever(keyring: Keyring):
    without, made = Keyring({}, PSEUDONYM), keyring.new_verification_id("00")
    needing = (
        lambda: without.new_verification_id("00"),
        lambda: without.seal_secret(b"x", owner="x", application="shop", kind="secret"),
        lambda: without.active_root,
    )
    for make in needing:
        with pytest.raises(ConfigurationError, match="OTP_SERVICE_ROOT_KEYS is needed"):
            make()
    with pytest.raises(SealBrokenError):
        without.seal(b"x", verification_id=made, application="shop", kind="mask")

    assert (without.root_ids, without.proof_seeds) == ((), ())
    assert without.pseudonym("+923001234567") == keyring.pseudonym("+923001234567")
    assert without.signer.public_key == keyring.signer.public_key
    sealed = keyring.seal_without_root_key(b"x", owner="asha", kind="secret")
    assert without.unseal_without_root_key(sealed, owner="asha", kind="secret") == b"x"


def test_a_pseudonym_needs_the_key(keyring: Keyring):
    other = Keyring({"k1": OLD}, NEW)

    assert other.pseudonym("+923001234567") != keyring.pseudonym("+923001234567")
    assert other.installation != keyring.installation


def test_what_is_sealed_opens_only_where_it_belongs(keyring: Keyring):
    where = {"verification_id": VERIFICATION, "application": "shop", "kind": "destination"}
    sealed = keyring.seal(b"+923001234567", **where)

    assert keyring.unseal(sealed, **where) == b"+923001234567"
    for member, value in {"verification_id": "vf_k1_00" + "b" * 32, "application": "bank", "kind": "details"}.items():
        with pytest.raises(SealBrokenError):
            keyring.unseal(sealed, **{**where, member: value})
    with pytest.raises(SealBrokenError):
        keyring.unseal(sealed[:-1] + bytes([sealed[-1] ^ 1]), **where)
    with pytest.raises(SealBrokenError):
        keyring.unseal(b"", **where)


def test_a_secret_that_is_sealed_for_long_opens_only_where_it_belongs(keyring: Keyring):
    where = {"owner": "we_1", "application": "shop", "kind": "webhook"}
    sealed = keyring.seal_secret(b"secret", **where)

    assert b"secret" not in sealed.encode()
    assert sealed != keyring.seal_secret(b"secret", **where)
    assert keyring.unseal_secret(sealed, **where) == b"secret"
    for member, value in {"owner": "we_2", "application": "bank", "kind": "factor"}.items():
        with pytest.raises(SealBrokenError):
            keyring.unseal_secret(sealed, **{**where, member: value})
    for broken in ("", "k1.", "k1", sealed[:-2], sealed + "A", sealed.replace("k1.", "k2."), sealed.swapcase()):
        with pytest.raises(SealBrokenError):
            keyring.unseal_secret(broken, **where)


def test_a_sealed_secret_names_its_root_key_and_outlives_its_rotation(keyring: Keyring):
    where = {"owner": "we_1", "application": "shop", "kind": "webhook"}
    sealed, rotated = keyring.seal_secret(b"secret", **where), Keyring({"k2": NEW, "k1": OLD}, PSEUDONYM)

    assert rotated.unseal_secret(sealed, **where) == b"secret"
    assert (sealing_root(sealed), sealing_root(rotated.seal_secret(b"secret", **where))) == ("k1", "k2")
    with pytest.raises(SealBrokenError):
        Keyring({"k1": NEW}, PSEUDONYM).unseal_secret(sealed, **where)


def test_what_a_browser_carries_is_read_for_its_use_alone_and_to_the_last_character(keyring: Keyring):
    verification = keyring.new_verification_id("00")
    text = keyring.signed("page", verification, "a", "b")
    moved = [text.replace(".a.b.", other) for other in (".b.a.", ".ab.", ".a..b.", ".")]
    altered = [
        *moved,
        text[:-1],
        f"{text}A",
        f"{text}.",
        f"{text}é",
        text.replace("k1_", "k2_"),
        verification,
        "",
        "\ud800.x",
    ]

    assert keyring.read_signed("page", text) == [verification, "a", "b"]
    assert keyring.read_signed("end", text) is None
    assert [keyring.read_signed("page", one) for one in altered] == [None] * len(altered)


def test_a_transaction_is_digested_with_a_key(keyring: Keyring):
    transaction = Transaction("1500.00", "PKR", "Daraz")
    digest = keyring.transaction_digest(VERIFICATION, transaction)

    assert digest != keyring.transaction_digest("vf_k1_00" + "b" * 32, transaction)
    assert digest != keyring.transaction_digest(VERIFICATION, Transaction("1500.01", "PKR", "Daraz"))
    assert keyring.transaction_digest(VERIFICATION, None) == ""


def test_buckets_are_the_first_bits_of_a_pseudonym():
    keyring = Keyring({"k1": OLD}, PSEUDONYM, buckets=4)
    buckets = {keyring.bucket(keyring.pseudonym(f"+92300{number:03d}1234")) for number in range(64)}

    assert buckets == set(keyring.buckets) == {"00", "01", "02", "03"}


@pytest.mark.parametrize(
    "hostile",
    [
        "",
        "vf_",
        "vf_k1_00",
        "vf_k9_00" + "a" * 32,
        "vf_k1_zz" + "a" * 32,
        "x" * 5000,
        "vf_k1_00" + "A" * 32,
        "vf_k1_00" + "a" * 32 + "\n",
        "vf_k1_{x}" + "a" * 32,
    ],
)
def test_a_foreign_identifier_has_no_bucket(keyring: Keyring, hostile: str):
    assert keyring.bucket_of_id(hostile) is None


def test_an_identifier_has_120_random_bits(keyring: Keyring):
    for begin, made in {"vf_k1_0000": keyring.new_verification_id, "dp_00": new_dispatch_id}.items():
        texts = [made("00") for _ in range(200)]
        numbers = [int(text.removeprefix(begin), 16) for text in texts]
        assert {len(text) for text in texts} == {len("vf_k1_00" if "vf" in begin else begin) + 32}
        assert len(set(numbers)) == 200
        for bit in range(120):
            assert len({number >> bit & 1 for number in numbers}) == 2, bit


@pytest.mark.parametrize("buckets", [1 << bits for bits in range(9)])
def test_an_identifier_is_found_by_its_last_32_digits_whatever_the_buckets(buckets: int):
    keyring = Keyring({"k2": NEW, "k1": OLD}, PSEUDONYM, buckets=buckets)

    for last in range(64):
        pseudonym = keyring.pseudonym(f"+92300{last:03d}1234")
        made = keyring.new_verification_id(first_byte(pseudonym))
        assert keyring.bucket_of_id(made) == keyring.bucket(pseudonym)
        assert keyring.bucket_of_dispatch(new_dispatch_id(byte_of_id(made))) == keyring.bucket(pseudonym)
        assert keyring.verification_ids(made[-32:]) == (made, made.replace("vf_k2_", "vf_k1_"))


def test_a_number_is_in_the_bucket_of_its_block_and_keeps_its_pseudonym_whatever_the_buckets():
    one, many = Keyring({"k1": OLD}, PSEUDONYM), Keyring({"k1": OLD}, PSEUDONYM, buckets=256)

    for last in range(64):
        number = f"+9230012{last:02d}345"
        pseudonym = many.pseudonym(number)
        assert one.pseudonym(number) == pseudonym
        assert many.bucket(pseudonym) == many.bucket(many.block_pseudonym(block_of(number)))


def test_the_repr_shows_no_key(keyring: Keyring):
    assert base64.b64encode(OLD).decode() not in repr(keyring)
    assert OLD.hex() not in repr(keyring)


@pytest.mark.parametrize(
    "text",
    ["", "k1", "k1:", "K1:" + new_key(), "k1:c2hvcnQ=", "k1:" + "A" * 44, "toolongid:" + new_key(), "k1:!!!"],
    ids=range(8),  # random keys would name the tests differently in each process
)
def test_bad_root_keys_refuse_to_start(text: str):
    with pytest.raises(ConfigurationError):
        parse_root_keys(text)


def test_a_root_key_id_appears_once():
    with pytest.raises(ConfigurationError):
        parse_root_keys(f"k1:{new_key()} k1:{new_key()}")


def test_the_ids_of_the_root_keys_are_told_the_active_one_first():
    assert Keyring({"k2": NEW, "k1": OLD}, PSEUDONYM).root_ids == ("k2", "k1")


def test_root_keys_are_a_list_and_the_first_is_active():
    assert list(parse_root_keys(f" k2:{new_key()}\nk1:{new_key()}, k0:{new_key()}\n")) == ["k2", "k1", "k0"]


def test_an_error_about_a_key_does_not_show_it():
    secret = base64.b64encode(b"s" * 20).decode()
    with pytest.raises(ConfigurationError) as refused:
        parse_key(secret)

    assert secret not in str(refused.value)


def test_api_keys_are_kept_as_hashes():
    assert api_key_hash("abc") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
