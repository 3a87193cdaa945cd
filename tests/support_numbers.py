"""Numbers in E.164, at random and near the edges of the world's numbering plans."""

import random
from collections.abc import Iterator

import phonenumbers

from otp_service.domain.numbers import ANY_TYPE, Destination, parse_any_number, parse_plain_mobile
from otp_service.errors import InvalidNumberError, NumberTypeNotAllowedError

_TYPES = ("mobile", "mobile", "fixed_line", "voip", "uan", "pager", "personal_number", "toll_free", "premium_rate")


def random_numbers(count: int, seed: int) -> Iterator[str]:
    """Yield numbers of all calling codes: examples of libphonenumber with some digits changed, and any digits."""
    chance = random.Random(seed)
    codes = sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items())
    for _ in range(count):
        code, regions = chance.choice(codes)
        yield f"+{code}{_national(chance, chance.choice(regions))}"


def _national(chance: random.Random, region: str) -> str:
    plan = phonenumbers.PhoneMetadata.metadata_for_region(region)
    described = getattr(plan, chance.choice(_TYPES), None)
    if described is None or described.example_number is None or chance.random() < 0.1:
        return "".join(chance.choice("0123456789") for _ in range(chance.randint(4, 12)))
    digits = list(described.example_number)
    for _ in range(chance.choice((0, 1, 2, 4, 8))):
        digits[chance.randrange(len(digits))] = chance.choice("0123456789")
    return "".join(digits) + chance.choice(("", "", "", "1"))


def differs(number: str) -> bool | None:
    """Tell whether the short way sees a number otherwise than libphonenumber; ``None`` when it does not go that way."""
    plain = parse_plain_mobile(number)
    if plain is None:
        return None
    whole = _by_library(number)
    return whole is None or (plain, plain.mask) != (whole, whole.mask)


def _by_library(number: str) -> Destination | None:
    try:
        return parse_any_number(number, None, ANY_TYPE)
    except (InvalidNumberError, NumberTypeNotAllowedError):
        return None
