"""Patterns of strings in requests, and what is said of a string that does not match one."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import AfterValidator, Field

from otp_service.domain.applications import LOCALE_PATTERN
from otp_service.domain.numbers import may_hold_number

REGION: Final = r"^[A-Z]{2}$"
NAME: Final = r"^[a-z0-9_-]{1,32}$"
WORD: Final = r"^[a-z0-9_-]+$"
SHA256: Final = r"^[0-9a-f]{64}$"
SHOWN: Final = r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$"
"""What is shown to operators: it has nothing that a terminal obeys, or that turns a line round."""
NUMBER: Final = r"^(?!.*(?:19|20)[0-9]{2}).*[0-9](?:[^A-Za-z]*[0-9]){6}"
"""What a text that is kept must not have, as far as a pattern tells: dates are judged by `without_number` alone."""
PRINTABLE: Final = r"^[^\x00-\x1f\x7f]*$"

FAULTS: Final[Mapping[str, str]] = {
    REGION: "is not two capital letters, such as PK",
    NAME: "is not a name of 1 to 32 characters a-z, 0-9, _ and -",
    WORD: "has other characters than a-z, 0-9, _ and -",
    SHA256: "is not 64 hexadecimal digits in lower case",
    SHOWN: "has characters that are not shown",
    PRINTABLE: "has control characters",
    LOCALE_PATTERN: "is not a language tag, such as ur-PK",
}


def without_number(text: str) -> str:
    """Return a text; raise `ValueError` when it may hold a phone number: nothing kept has one in the clear."""
    if may_hold_number(text):
        raise ValueError("has seven digits or more, such as a phone number; a date may be there")
    return text


WITHOUT_NUMBER: Final[tuple[Any, ...]] = (
    AfterValidator(without_number),
    Field(json_schema_extra={"not": {"pattern": NUMBER}}),
)
"""What is annotated to a text that is kept: how it is judged, and what the specification says of that."""
