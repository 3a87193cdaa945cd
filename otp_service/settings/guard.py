"""The rules against abuse: how much is too much, and what each rule does then."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from otp_service.domain.guard import RULES, DestinationRules, Mode
from otp_service.domain.numbers import NumberType, parse_destination
from otp_service.errors import OtpServiceError
from otp_service.settings.faults import suggestion
from otp_service.settings.sections import Notations, Section

_PREFIX = re.compile(r"\+[1-9][0-9]{0,14}")
_DAY = 86_400


def _rule(name: str) -> str:
    if name not in RULES:
        raise ValueError(f"is not a rule.{suggestion(name, RULES)} otp-service guard rules lists them")
    return name


def _prefix(text: str) -> str:
    if not _PREFIX.fullmatch(text):
        raise ValueError("is the beginning of a number in international form, + and up to 15 digits")
    return text


def _whole_number(text: str) -> str:
    try:
        e164 = parse_destination(text, None, tuple(NumberType)).e164
    except OtpServiceError:
        e164 = ""
    if e164 != text:
        raise ValueError("is no whole number in international form, such as +923001234567")
    return text


RuleId = Annotated[str, AfterValidator(_rule)]
WholeNumber = Annotated[str, AfterValidator(_whole_number)]
Prefix = Annotated[str, AfterValidator(_prefix)]
Growth = Annotated[tuple[Annotated[float, Field(ge=0, le=100)], ...], Field(min_length=1, max_length=10)]
Wait = Annotated[int, Field(ge=0, le=_DAY)]


class DestinationSettings(Section):
    """Where codes go at all; the countries are each application's own."""

    types: tuple[NumberType, ...] = Field(default=(NumberType.MOBILE, NumberType.FIXED_LINE_OR_MOBILE), min_length=1)
    """Types of numbers that receive codes, as libphonenumber names them."""
    denied: tuple[Prefix, ...] = ()
    """Beginnings of numbers that receive none."""
    allowed: tuple[Prefix, ...] = ()
    """Exceptions from what is denied: of two prefixes that fit the longer one decides."""
    safe: tuple[WholeNumber, ...] = Field(default=(), repr=False)
    """Whole numbers that pass the rules against fraud, such as your own test handsets; never their own limits."""


class NumberSettings(Section):
    """What one number may receive and be guessed, beside ``limits.number`` and ``limits.failed_checks``."""

    reserved: float = Field(default=0.4, ge=0, lt=1)
    """Share of its messages and guesses that is kept for contexts that are known; strangers cannot use it up."""
    cooldown: tuple[Wait, ...] = Field(default=(30, 60, 120), max_length=20)
    """Seconds to wait after the first, second … message in a row that nobody approved; the last one repeats."""
    guess_waits: tuple[Wait, ...] = Field(default=(0, 0, 0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600), max_length=50)
    """Seconds to wait after the first, second … wrong code in a row; the last one repeats."""
    lock_after: int = Field(default=100, ge=10, le=100)
    """Wrong codes in a row that lock a number in an application (NIST SP 800-63B-4, 3.2.2: at most 100)."""
    lock_days: int = Field(default=30, ge=1, le=90)
    """Days until the lock ends, unless it is lifted."""
    known_days: int = Field(default=90, ge=1, le=365)
    """Days for which an approved number, or context of it, is known."""
    contexts: int = Field(default=8, ge=1, le=50)
    """Contexts that are remembered of a number; a new one takes the place of the oldest."""


class AddressSettings(Section):
    """What may come from one end-user address unapproved, and one more for each that is approved there."""

    unapproved: Notations = ("40/day",)
    """Starts."""
    numbers: Notations = ("20/day",)
    """Different numbers."""
    countries: Notations = ("3/day",)
    """Different countries."""
    network: Notations = ("200/day",)
    """Starts from one IPv6 /48."""
    provider: Notations = ("2000/day",)
    """Starts from one IPv6 /32."""


class BlockSettings(Section):
    """Messages into one block of 10,000 numbers unapproved, and how many more for each that is approved there."""

    unapproved: Notations = ("4/hour", "4/2 days")
    growth: Growth = (1.0, 1.5)
    """How many more for each approval, of each of these in turn; the last one repeats."""


class CountrySettings(Section):
    """Messages of an application into a country unapproved, and how many more for each that is approved there."""

    unapproved: Notations = ("20/day",)
    """Into any other country than its own."""
    home: Notations = ("1000/day",)
    """Into its own."""
    growth: Growth = (2.0,)
    """How many more for each approval, of each of these in turn; the last one repeats."""


class ConversionSettings(Section):
    """When hardly anybody types the codes in."""

    sends: int = Field(default=20, ge=5, le=100_000)
    """Verifications from which on the rate is judged."""
    rate: float = Field(default=0.15, gt=0, lt=1)
    """Share of approved ones below which a block or country is closed."""
    closed_for: int = Field(default=900, ge=60, le=_DAY)
    """Seconds that it is closed at first; the time doubles each time that it was no better."""
    max_closed_for: int = Field(default=_DAY, ge=60, le=7 * _DAY)
    """Seconds that it is closed at most."""
    trickle: Annotated[str, Field(max_length=64)] = "10/10 minutes"
    """What passes afterwards, until it shows whether it is better."""
    home_sends: int = Field(default=200, ge=5, le=100_000)
    """The same as ``sends`` for the application's own country, which a few blocks shall not close to newcomers."""
    home: Annotated[str, Field(max_length=64)] = "100/day"
    """What goes on into the application's own country while that is closed, and a quarter of what is approved."""
    home_block: Annotated[str, Field(max_length=64)] = "2/2 days"
    """What goes on then into one block of it."""


class FailureSettings(Section):
    """When most codes that an application checks are wrong."""

    wrong: int = Field(default=100, ge=10, le=1_000_000)
    """Wrong codes in a window from which on the share is judged."""
    share: float = Field(default=0.5, gt=0, lt=1)
    """Share of wrong ones above which it is an alarm."""
    window: int = Field(default=600, ge=60, le=_DAY)
    """Seconds."""


class GuardSettings(Section):
    """All rules, and what each does: ``enforce``, ``record_only`` or ``off``."""

    modes: dict[RuleId, Mode] = Field(default_factory=dict)
    """What a rule does, by its id, where that is not its default."""
    destinations: DestinationSettings = DestinationSettings()
    number: NumberSettings = NumberSettings()
    address: AddressSettings = AddressSettings()
    block: BlockSettings = BlockSettings()
    country: CountrySettings = CountrySettings()
    conversion: ConversionSettings = ConversionSettings()
    failures: FailureSettings = FailureSettings()
    currency: str = Field(default="PKR", pattern=r"^[A-Z]{3}$")
    """Of all prices and ceilings: ISO 4217."""
    decisions: int = Field(default=100_000, ge=1000, le=10_000_000)
    """Refusals, and would-have-been ones, that are kept at most, for as long as events are."""
    attempts: int = Field(default=100_000, ge=0, le=10_000_000)
    """Starts, resends and codes that are kept for ``otp-service guard replay``, pseudonyms only; 0 for none."""

    @model_validator(mode="before")
    @classmethod
    def _reads_dotted_ids(cls, given: Any) -> Any:  # noqa: ANN401 - whatever stands in the file
        """Take ``[guard.modes] number.sends = "off"`` too, which TOML reads as a table in a table."""
        modes = given.get("modes") if isinstance(given, dict) else None
        if not isinstance(modes, dict):
            return given
        flat: dict[str, Any] = {}
        for name, mode in modes.items():
            if isinstance(mode, dict):
                flat.update({f"{name}.{rule}": one for rule, one in mode.items()})
            else:
                flat[name] = mode
        return {**given, "modes": flat}

    def destination_rules(self) -> DestinationRules:
        """Return the rules that count nothing."""
        own = self.destinations
        return DestinationRules(frozenset(own.types), own.denied, own.allowed, frozenset(own.safe), self.modes)

    def mode(self, rule: str) -> Mode:
        """Return what a rule does."""
        return self.modes.get(rule, RULES[rule].mode)
