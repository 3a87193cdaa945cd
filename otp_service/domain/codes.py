"""One-time codes: made by HOTP (RFC 4226), read as a person typed them."""

import re
import unicodedata

import pyotp

from otp_service.errors import InvalidCodeError

_TYPED = re.compile(r"[0-9]{6,8}")
_SEPARATORS = " -\u00a0\u2010\u2011\u2012\u2013"
_MAX_TYPED = 32


class _Hotp(pyotp.HOTP):
    """HOTP over a key as it is: written in base 32 and read again, it would cost as much as all MACs of a start."""

    def __init__(self, key: bytes, digits: int) -> None:
        self._key = key
        super().__init__("", digits=digits)

    def byte_secret(self) -> bytes:
        """Return the key."""
        return self._key


def generate_code(key: bytes, generation: int, length: int) -> str:
    """Return the HOTP value (RFC 4226) of a verification's key at a generation, leading zeros kept."""
    return _Hotp(key, length).at(generation)


def normalise_code(typed: str) -> str:
    """Return what a person typed as 6 to 8 ASCII digits.

    Decimal digits of any script (Urdu, Arabic, full-width) are accepted, spaces and hyphens dropped.
    Raises `InvalidCodeError` for anything else: such an input is not a guess, and is not counted.
    """
    if len(typed) > _MAX_TYPED:
        raise InvalidCodeError("A code has 6 to 8 digits.")
    digits = typed if _TYPED.fullmatch(typed) else "".join(map(_ascii_digit, typed))
    if not _TYPED.fullmatch(digits):
        raise InvalidCodeError("A code has 6 to 8 digits.")
    return digits


def _ascii_digit(character: str) -> str:
    if character in _SEPARATORS:
        return ""
    digit = unicodedata.decimal(character, None)
    if digit is None:
        raise InvalidCodeError("A code has digits only.")
    return str(digit)
