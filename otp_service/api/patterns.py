"""Patterns of strings in requests, and what is said of a string that does not match one."""

from collections.abc import Mapping
from typing import Final

from otp_service.core.application import LOCALE_PATTERN

REGION: Final = r"^[A-Z]{2}$"
NAME: Final = r"^[a-z0-9_-]{1,32}$"
WORD: Final = r"^[a-z0-9_-]+$"
SHA256: Final = r"^[0-9a-f]{64}$"
PRINTABLE: Final = r"^[^\x00-\x1f\x7f]*$"

FAULTS: Final[Mapping[str, str]] = {
    REGION: "is not two capital letters, such as PK",
    NAME: "is not a name of 1 to 32 characters a-z, 0-9, _ and -",
    WORD: "has other characters than a-z, 0-9, _ and -",
    SHA256: "is not 64 hexadecimal digits in lower case",
    PRINTABLE: "has control characters",
    LOCALE_PATTERN: "is not a language tag, such as ur-PK",
}
