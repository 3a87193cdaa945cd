"""Recovery codes of users who lost their authenticator app."""

import re
from typing import Final

from otp_service.errors import InvalidCodeError

RECOVERY_CODES: Final = 10
RECOVERY_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base32, without look-alikes."""
_LENGTH: Final = 24
_BYTES: Final = 15
_GROUP: Final = 4
_LOOKS_LIKE: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None})
_CODE: Final = re.compile(f"[{RECOVERY_ALPHABET}]{{{_LENGTH}}}")
_MAX_TYPED: Final = 64


def recovery_code(material: bytes) -> str:
    """Return the recovery code of the first 120 bits, ``XXXX-XXXX-…``."""
    bits = int.from_bytes(material[:_BYTES])
    code = "".join(RECOVERY_ALPHABET[bits >> 5 * place & 31] for place in range(_LENGTH))
    return "-".join(code[place : place + _GROUP] for place in range(0, _LENGTH, _GROUP))


def normalise_recovery_code(typed: str) -> str:
    """Return the 24 characters of a typed recovery code; raise `InvalidCodeError` for a text that is no guess."""
    code = typed.upper().translate(_LOOKS_LIKE) if typed.isascii() and len(typed) <= _MAX_TYPED else ""
    if not _CODE.fullmatch(code):
        raise InvalidCodeError(f"A recovery code has {_LENGTH} letters and digits.")
    return code
