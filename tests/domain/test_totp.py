"""TOTP by RFC 6238's own values, secrets from elsewhere, recovery codes."""

import base64
import json
from hashlib import sha256
from urllib.parse import parse_qs, quote, urlsplit

import pyotp
import pytest

from otp_service.domain.recovery_codes import RECOVERY_ALPHABET, normalise_recovery_code, recovery_code
from otp_service.domain.totp import (
    SealedFactor,
    TotpParameters,
    matching_steps,
    new_secret,
    otpauth_uri,
    parse_otpauth_uri,
    secret_text,
)
from otp_service.errors import InvalidCodeError, InvalidSecretError

SECRETS = {name: (b"1234567890" * 7)[:size] for name, size in {"SHA1": 20, "SHA256": 32, "SHA512": 64}.items()}
VECTORS = [
    (59, ("94287082", "46119246", "90693936")),
    (1111111109, ("07081804", "68084774", "25091201")),
    (1111111111, ("14050471", "67062674", "99943326")),
    (1234567890, ("89005924", "91819424", "93441116")),
    (2000000000, ("69279037", "90698825", "38618901")),
    (20000000000, ("65353130", "77737706", "47863826")),
]
"""RFC 6238, appendix B: a time, and the code of each algorithm."""


@pytest.mark.parametrize(
    ("algorithm", "time", "code"),
    [(name, time, code) for time, codes in VECTORS for name, code in zip(SECRETS, codes, strict=True)],
)
def test_the_codes_of_the_rfc_are_those_of_their_steps_alone(algorithm, time, code):
    parameters = TotpParameters(algorithm, 8, 30)
    step = parameters.step_at(1000 * time + 999)

    assert matching_steps(SECRETS[algorithm], parameters, code, range(max(0, step - 2), step + 3)) == (step,)


@pytest.mark.parametrize("typed", ["287 082", "۲۸۷۰۸۲", "２８７０８２", "287-082"])
def test_a_code_is_read_by_the_rule_of_all_codes(typed):
    assert matching_steps(SECRETS["SHA1"], TotpParameters(), typed, range(3)) == (1,)


@pytest.mark.parametrize("typed", ["94287082", "28708", "²87082", "28708a", ""])
def test_what_is_no_code_of_the_factor_is_no_guess(typed):
    with pytest.raises(InvalidCodeError):
        matching_steps(SECRETS["SHA1"], TotpParameters(), typed, range(3))


def test_a_new_secret_has_160_bits():
    assert len(new_secret()) * 8 == 160
    assert new_secret() != new_secret()


@pytest.mark.parametrize("label", ["ali@example.com", "Ali Khan", "علی", "50% & more?", "a+b=c/d#e"])
def test_a_uri_is_read_back_as_it_was_written(label):
    secret = new_secret()
    uri = otpauth_uri(secret, TotpParameters(), "Acme: Shop", label)

    other = pyotp.parse_uri(uri)
    assert (other.byte_secret(), other.name, other.issuer) == (secret, label, "Acme Shop")
    assert parse_otpauth_uri(uri) == (secret, TotpParameters())
    assert set(parse_qs(urlsplit(uri).query)) == {"secret", "issuer"}  # apps obey no others alike
    assert "%3A" not in uri


def from_keycloak(credential: dict[str, str]) -> str:
    """Return the URI of a credential in a realm export of Keycloak."""
    data, secret = json.loads(credential["credentialData"]), json.loads(credential["secretData"])["value"]
    text = secret if data.get("secretEncoding") == "BASE32" else base64.b32encode(secret.encode()).decode()
    algorithm = data["algorithm"].removeprefix("Hmac")
    return f"otpauth://totp/x?secret={text.rstrip('=')}&algorithm={algorithm}&digits={data['digits']}&period={data['period']}"


def from_privacyidea(token: dict[str, str]) -> str:
    """Return the URI of a token in an export of privacyIDEA."""
    text = base64.b32encode(bytes.fromhex(token["otpkey"])).decode().rstrip("=")
    about = f"algorithm={token['hashlib']}&digits={token['otplen']}&period={token['timeStep']}"
    return f"otpauth://totp/{quote(token['serial'])}?secret={text}&{about}"


IMPORTED = [
    (
        from_keycloak(
            {
                "type": "otp",
                "secretData": '{"value":"DUxnJx2mPSgIhPgf6C3H"}',
                "credentialData": '{"subType":"totp","digits":6,"counter":0,"period":30,"algorithm":"HmacSHA1"}',
            }
        ),
        (b"DUxnJx2mPSgIhPgf6C3H", TotpParameters()),
    ),
    (
        from_keycloak(
            {
                "type": "otp",
                "secretData": '{"value":"GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}',
                "credentialData": '{"subType":"totp","digits":8,"counter":0,"period":30,"algorithm":"HmacSHA256",'
                '"secretEncoding":"BASE32"}',
            }
        ),
        (b"12345678901234567890", TotpParameters("SHA256", 8, 30)),
    ),
    (
        from_privacyidea(
            {
                "serial": "TOTP0001A2B3", "type": "totp", "otplen": "6", "timeStep": "60", "hashlib": "sha1",
                "otpkey": "3132333435363738393031323334353637383930",
            }
        ),
        (b"12345678901234567890", TotpParameters("SHA1", 6, 60)),
    ),
    (
        "otpauth://totp/Acme:ali?secret=gezdgnbvgy3tqojqgezdgnbvgy3tqojq&issuer=Acme&algorithm=sha-512&digits=7",
        (b"12345678901234567890", TotpParameters("SHA512", 7, 30)),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("uri", "found"), IMPORTED)
def test_secrets_are_taken_over_from_keycloak_and_privacyidea(uri, found):
    assert parse_otpauth_uri(uri) == found


LONG = secret_text(bytes(range(20)))


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("otpauth://totp/x?secret=JBSWY3DPEHPK3PXP", "fewer than 112 bits"),
        (f"otpauth://hotp/x?secret={LONG}&counter=0", "TOTP"),
        (f"otpauth://totp/x?secret={LONG}&encoder=steam", "TOTP"),
        (f"otpauth://totp/x?secret={LONG}&period=10", "15"),
        (f"otpauth://totp/x?secret={LONG}&period=121", "TOTP"),
        (f"otpauth://totp/x?secret={LONG}&digits=5", "TOTP"),
        (f"otpauth://totp/x?secret={LONG}&digits=10", "TOTP"),
        (f"otpauth://totp/x?secret={LONG}&algorithm=MD5", "TOTP"),
        (f"otpauth://totp/x?secret={LONG}&secret={LONG}", "TOTP"),
        (f"otpauth://totp/x?secret={LONG}1", "TOTP"),
        (f"otpauth://totp/x?secret={secret_text(bytes(129))}", "128 bytes"),
        ("otpauth://totp/x", "TOTP"),
        ("otpauth-migration://offline?data=CjEKCkhlbGxvId6tvu8", "TOTP"),
        (f"https://totp/x?secret={LONG}", "TOTP"),
        ("otpauth://[", "TOTP"),
    ],
)
def test_what_cannot_be_taken_over_is_refused_without_showing_it(uri, sentence):
    with pytest.raises(InvalidSecretError, match=sentence) as refused:
        parse_otpauth_uri(uri)

    assert LONG not in str(refused.value)
    assert refused.value.__context__ is None or refused.value.__suppress_context__  # its text may show it


def test_the_shortest_secret_that_is_taken_over_has_112_bits():
    assert parse_otpauth_uri(f"otpauth://totp/x?secret={secret_text(bytes(14))}")[0] == bytes(14)


def test_a_factor_is_unpacked_as_it_was_packed():
    one = SealedFactor("fa_1", "shop", "k1.abc", TotpParameters("SHA256", 8, 60), 5, 9)

    assert SealedFactor.unpack("fa_1", one.packed) == one


def test_a_recovery_code_has_120_bits_that_nobody_mistakes():
    codes = {recovery_code(sha256(bytes([*divmod(place, 256)])).digest()) for place in range(1000)}

    assert len(codes) == 1000
    assert {character for code in codes for character in code} == {*RECOVERY_ALPHABET, "-"}
    assert {len(code.replace("-", "")) * 5 for code in codes} == {120}


def test_a_recovery_code_is_read_as_people_type_it():
    code = "0011-22AB-CDEF-GHJK-MNPQ-RSTV"

    assert normalise_recovery_code(code) == "001122ABCDEFGHJKMNPQRSTV"
    assert normalise_recovery_code("oOil 22ab cdef ghjk mnpq rstv") == normalise_recovery_code(code)


@pytest.mark.parametrize("typed", ["", "123456", "U011-22AB-CDEF-GHJK-MNPQ-RSTV", "0" * 65, "0" * 25, "ſ" * 24])
def test_what_is_no_recovery_code_is_no_guess(typed):
    with pytest.raises(InvalidCodeError):
        normalise_recovery_code(typed)
