"""Phone numbers and end users' addresses, with their pseudonyms."""

import ipaddress
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import cache
from typing import Final, Protocol

import phonenumbers
from phonenumbers import PhoneNumberType

from otp_service.domain.applications import Application
from otp_service.domain.keyring import Keyring, block_of
from otp_service.errors import Fault, InvalidNumberError, InvalidRequestError, NumberTypeNotAllowedError

MAX_SPELLING = 32
"""In characters: E.164 allows 15 digits, the rest is punctuation."""
MAX_NUMBER_LENGTH = 16
"""A plus and up to 15 digits."""
MAX_MASK_LENGTH = MAX_NUMBER_LENGTH + 2
_PUNCTUATION = frozenset("+-./() \u00a0\u2010\u2011\u2012\u2013\u2212\uff0b\uff0d\uff08\uff09\uff0e\uff0f\u3000")
"""Everything but digits that a person may write in a number. No letter (vanity spelling, extension), no
comma, semicolon, ``#``, ``*`` (extensions, dialling pauses), no control, bidi or zero-width character."""


class NumberType(StrEnum):
    """libphonenumber's types of numbers that may receive codes, without those that cost the caller."""

    MOBILE = "mobile"
    FIXED_LINE_OR_MOBILE = "fixed_line_or_mobile"
    """Where the numbering plan does not tell them apart, as in the United States."""
    FIXED_LINE = "fixed_line"
    VOIP = "voip"
    PERSONAL_NUMBER = "personal_number"
    PAGER = "pager"
    UAN = "uan"
    """A company's number that is answered anywhere."""


RECEIVES_SMS = frozenset({NumberType.MOBILE, NumberType.FIXED_LINE_OR_MOBILE})
ANY_TYPE = frozenset(NumberType)
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_CALLING_CODE_LENGTHS: Final = (2, 3, 1)
"""No calling code begins with another, so any order is right; that of Pakistan has two digits."""
_TYPES = {getattr(PhoneNumberType, number_type.name): number_type for number_type in NumberType}
_WORLD = "001"
"""libphonenumber's region of numbers without a country (satellite, shared cost)."""
_FEW_DIGITS: Final = 6
"""Too few for a phone number."""
_DIGITS: Final = frozenset(range(10))
_LETTER: Final = "a"
"""In place of any letter."""
_OF_A_DATE: Final = frozenset("-./")
_DATE: Final = re.compile(r"(?<![0-9])([0-9]{1,4})([-./])([0-9]{1,2})\2([0-9]{1,4})(?![0-9])")
_YEARS: Final = range(1900, 2100)


@dataclass(frozen=True, slots=True)
class Destination:
    """A phone number in canonical form. The ``repr`` shows the mask only."""

    e164: str
    """``+`` and up to 15 digits (ITU-T E.164)."""
    country: str
    mask: str
    """The calling code and the last three digits: ``+92 ••• ••••567``."""
    type: NumberType = NumberType.MOBILE

    @property
    def block(self) -> str:
        """The number without its last four digits, which rented ranges of numbers share."""
        return block_of(self.e164)

    @property
    def number_prefix(self) -> str:
        """The calling code and three digits, mostly a carrier's; fewer where `mask` would leave less than five open."""
        return self.e164[1 : min(self.mask.index(" ") + 3, len(self.e164) - 5)]

    def __repr__(self) -> str:
        return f"Destination({self.mask})"


def parse_destination(spelling: str, region: str | None, types: Collection[NumberType] = RECEIVES_SMS) -> Destination:
    """Return the destination of a spelling; ``region`` (ISO 3166-1 alpha-2) is that of national spellings.

    Raises `InvalidNumberError` for no valid number, and `NumberTypeNotAllowedError` for a number of another type.
    """
    plain = parse_plain_mobile(spelling) if NumberType.MOBILE in types else None
    return plain or parse_any_number(spelling, region, types)


def parse_any_number(spelling: str, region: str | None, types: Collection[NumberType]) -> Destination:
    """Do the same as `parse_destination`, by libphonenumber alone."""
    try:
        number = phonenumbers.parse(_ascii_spelling(spelling), region)
    except phonenumbers.NumberParseException as unparsable:
        hint = "" if region or spelling.lstrip().startswith("+") else " In national spelling it needs a region."
        raise InvalidNumberError(f"This is not a phone number.{hint}") from unparsable
    library_type = phonenumbers.number_type(number)
    if number.extension or library_type == PhoneNumberType.UNKNOWN:  # of every number that is not valid
        raise InvalidNumberError("This is not a valid phone number.")
    country = phonenumbers.region_code_for_number(number)
    number_type = _TYPES.get(library_type)
    if country is None or country == _WORLD or number_type is None or number_type not in types:
        raise NumberTypeNotAllowedError("Numbers of this type do not receive codes.")
    e164 = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return Destination(e164=e164, country=country, mask=mask(e164, number.country_code or 0), type=number_type)


def parse_plain_mobile(spelling: str) -> Destination | None:
    """Return the destination of a plain mobile number in a fifteenth of libphonenumber's time, ``None`` for others."""
    if not _E164.fullmatch(spelling):
        return None
    for length in _CALLING_CODE_LENGTHS:
        plan = _mobile_plan(spelling[1 : 1 + length])
        if plan:
            national = spelling[1 + length :]
            if not plan.national.fullmatch(national):
                return None
            hidden = "•" * (len(national) - 6)
            return Destination(spelling, plan.country, f"{plan.mask}{hidden}{national[-3:]}")
    return None


@dataclass(frozen=True, slots=True)
class _MobilePlan:
    """The mobile numbers of a country with a calling code of its own."""

    country: str
    mask: str
    """The beginning of the masks."""
    national: re.Pattern[str]


@cache
def _mobile_plan(calling_code: str) -> _MobilePlan | None:
    """Return the plan of a calling code from libphonenumber's metadata; ``None`` where a pattern is not enough."""
    countries = phonenumbers.region_codes_for_country_code(int(calling_code))
    if len(countries) != 1 or countries[0] == _WORLD:
        return None
    plan = phonenumbers.PhoneMetadata.metadata_for_region(countries[0])
    if plan is None or plan.mobile is None or plan.general_desc is None or plan.same_mobile_and_fixed_line_pattern:
        return None
    others = (
        *(plan.premium_rate, plan.toll_free, plan.shared_cost, plan.voip, plan.personal_number),
        *(plan.pager, plan.uan, plan.voicemail, plan.fixed_line),
    )
    patterns = [kind.national_number_pattern for kind in others if kind and kind.national_number_pattern]
    lengths = plan.mobile.possible_length or plan.general_desc.possible_length
    prefix = plan.national_prefix_for_parsing  # a number that begins with it may be another without it
    national = (
        "(?!0)",
        f"(?!{prefix})" if prefix else "",
        f"(?={'|'.join(f'[0-9]{{{length}}}$' for length in lengths)})",
        f"(?=(?:{plan.general_desc.national_number_pattern})$)",
        *(f"(?!(?:{pattern})$)" for pattern in patterns),
        f"(?:{plan.mobile.national_number_pattern})",
    )
    return _MobilePlan(countries[0], f"+{calling_code} ••• ", re.compile("".join(national)))


def _ascii_spelling(spelling: str) -> str:
    """Return the spelling in ASCII; raise `InvalidNumberError` for characters that no number contains."""
    if not spelling or len(spelling) > MAX_SPELLING:
        raise InvalidNumberError(f"A phone number has 1 to {MAX_SPELLING} characters.")
    if spelling.isascii() and spelling.lstrip("+").isdigit():
        return spelling
    digits = "".join(str(unicodedata.decimal(character, character)) for character in spelling)
    if not _PUNCTUATION.issuperset(character for character in digits if character not in "0123456789"):
        raise InvalidNumberError("A phone number is written with digits, spaces and the signs + - . / ( ) only.")
    return unicodedata.normalize("NFKC", digits)


def is_region(region: str) -> bool:
    """Tell whether libphonenumber has the numbering plan of a region (ISO 3166-1 alpha-2)."""
    return region in phonenumbers.SUPPORTED_REGIONS


def mask(e164: str, calling_code: int) -> str:
    """Return the calling code and the last three digits, with a bullet for each digit between."""
    national = e164[1 + len(str(calling_code)) :]
    hidden = "•" * max(len(national) - 3, 3)
    return f"+{calling_code} {hidden[:3]} {hidden[3:]}{national[-3:]}"


def may_hold_number(text: str) -> bool:
    """Tell whether a text has enough digits, without a letter between, for a phone number; dates do not count."""
    if text.isascii() and (len(text) <= _FEW_DIGITS or sum(map(text.count, "0123456789")) <= _FEW_DIGITS):
        return False  # nearly always
    spelt = "".join(map(_digit_letter_or_sign, unicodedata.normalize("NFKC", text)))
    return any(_is_long(part) for part in spelt.split(_LETTER))


def _digit_letter_or_sign(character: str) -> str:
    value = unicodedata.numeric(character, None)
    if value is not None and value in _DIGITS:
        return str(int(value))
    category = unicodedata.category(character)
    if category[0] == "L" and category != "Lm":  # the sign that stretches an Arabic word is no letter
        return _LETTER
    return character if character in _OF_A_DATE else " "


def _is_long(part: str) -> bool:
    """Tell whether a part has too many digits, dates aside."""
    compact = re.fullmatch(r"\D*(\d{4})(\d\d)(\d\d)\D*", part, re.ASCII)
    if compact and _is_date(*compact.groups()):
        return False
    return len(re.sub(r"[^0-9]", "", _DATE.sub(_without_date, part))) > _FEW_DIGITS


def _without_date(match: re.Match[str]) -> str:
    """Return nothing for a date, any other text unchanged; digits after the same sign make more than a date."""
    first, sign, second, third = match.groups()
    before, after = match.string[: match.start()], match.string[match.end() :]
    goes_on = re.search(rf"[0-9]{re.escape(sign)}$", before) or re.match(rf"{re.escape(sign)}[0-9]{{3}}", after)
    is_date = any(
        _is_date(*parts) for parts in ((first, second, third), (third, second, first), (third, first, second))
    )
    return "" if is_date and not goes_on else match[0]


def _is_date(year: str, month: str, day: str) -> bool:
    try:
        return date(int(year), int(month), int(day)).year in _YEARS
    except ValueError:
        return False


class Named(Protocol):
    """A number or user stored under a pseudonym."""

    @property
    def pseudonym(self) -> str:
        """The name in Redis and in the ledger."""

    @property
    def bucket(self) -> str:
        """The bucket of Redis."""


@dataclass(frozen=True, slots=True)
class SubjectKey:
    """A number and its pseudonym."""

    destination: Destination
    pseudonym: str
    bucket: str

    @property
    def mask(self) -> str:
        """The number's mask."""
        return self.destination.mask


@dataclass(frozen=True, slots=True)
class SubjectName:
    """A pseudonym without its number or user."""

    pseudonym: str
    bucket: str


def destination_of(application: Application, to: str, region: str | None) -> Destination:
    """Return the destination of an application's request; raise `InvalidRequestError` or a subclass."""
    if region is not None and not is_region(region):
        raise InvalidRequestError("region is not known.", (Fault("/region", "is not a country with a numbering plan"),))
    return parse_destination(to, region or application.region, ANY_TYPE)


def subject_key(keyring: Keyring, destination: Destination) -> SubjectKey:
    """Return a destination with its pseudonym."""
    pseudonym = keyring.pseudonym(destination.e164)
    return SubjectKey(destination, pseudonym, keyring.bucket(pseudonym))


_AT_THE_END = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::ffff:0:0:0/96", "::/96")))
"""Networks whose addresses end with an IPv4 address: NAT64 (RFC 6052), SIIT (RFC 2765), IPv4-compatible (RFC 4291)."""
_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_PLAIN_IPV4 = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")


def ip_prefix_of(address: str) -> str:
    """Return an IPv4 address, also of an IPv6 address, or else its IPv6 /64; raise `InvalidRequestError`."""
    if _PLAIN_IPV4.fullmatch(address):
        return address
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError as malformed:
        raise _malformed() from malformed
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.scope_id is not None:  # link-local: no address of the internet
        raise _malformed()
    return str(_ipv4_of(parsed) or ipaddress.ip_network((int(parsed), 64), strict=False).network_address)


def _ipv4_of(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address in an IPv6 address; its holder has all such addresses."""
    if address.teredo:
        return address.teredo[1]  # the client's; the server's, which comes first, is the client's choice
    last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    embedded = int(last) > 1 and any(address in network for network in _AT_THE_END)  # neither :: nor ::1
    return address.ipv4_mapped or address.sixtofour or (last if embedded else None)


def require_end_users(address: str) -> None:
    """Raise `InvalidRequestError` for an address that no end user has, since all would count together under it.

    A back end sends such an address when it reads the wrong end of a connection. Other texts are left to
    `ip_prefix_of`.
    """
    try:
        ip_prefix = ipaddress.ip_address(ip_prefix_of(address))
    except InvalidRequestError:
        return
    if ip_prefix.is_loopback or ip_prefix.is_unspecified or ip_prefix.is_multicast or ip_prefix.is_link_local:
        fault = Fault("/client_ip", "is a loopback, unspecified, multicast or link-local address")
        raise InvalidRequestError("client_ip is not the address of an end user.", (fault,))


def wider_prefix(ip_prefix: str, length: int) -> str | None:
    """Return the IPv6 /48 of a network, which a customer may hold, or the /32 of its provider; ``None`` for IPv4."""
    if ":" not in ip_prefix:
        return None
    return str(ipaddress.ip_network((int(ipaddress.IPv6Address(ip_prefix)), length), strict=False))


def prefix_of(ip_prefix: str) -> str:
    """Return the prefix for a consent's evidence: an IPv4 /24, or an IPv6 /48."""
    return wider_prefix(ip_prefix, 48) or f"{ip_prefix.rpartition('.')[0]}.0/24"


def _malformed() -> InvalidRequestError:
    fault = Fault("/client_ip", "is not an IPv4 or IPv6 address")
    return InvalidRequestError("client_ip is not an IP address.", (fault,))
