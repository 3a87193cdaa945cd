"""What refuses to start: without keys anywhere, and in production whatever is unsafe or does nothing."""

from collections.abc import Callable, Iterator

from pydantic import SecretStr

from otp_service.core.errors import ConfigurationError
from otp_service.core.guard.rules import RULES, Mode
from otp_service.core.keyring import SampleKeyError, parse_key, parse_root_keys
from otp_service.core.purpose import Channel
from otp_service.core.start_refusal import RefusalName, StartRefusal
from otp_service.settings.carriers import carriers
from otp_service.settings.demands import demands
from otp_service.settings.lines import line_refusals
from otp_service.settings.policy import ALL_COUNTRIES
from otp_service.settings.samples import sample_refusals
from otp_service.settings.tree import Settings

MAX_GUESSES = 100
"""Wrong codes in an hour at most, of a million possible ones."""
_HOUR = 3600


def refusals(settings: Settings) -> list[StartRefusal]:
    """Return all reasons not to start that the settings alone give. docs/refusals.md explains each by its name."""
    found = [*_keys(settings), *demands(settings)]
    if settings.production:
        for further in _OF_PRODUCTION:
            found += further(settings)
    return found


def _keys(settings: Settings) -> Iterator[StartRefusal]:
    keys = settings.keys
    yield from _key("OTP_SERVICE_ROOT_KEYS", "root", keys.root, parse_root_keys)
    yield from _key("OTP_SERVICE_PSEUDONYM_KEY", "pseudonym", keys.pseudonym, parse_key)


def _key(
    variable: str, command: str, secret: SecretStr | None, parse: Callable[[str], object]
) -> Iterator[StartRefusal]:
    made = f"otp-service key {command}"
    if secret is None:
        action = f"Make a key ({made}) and set {variable}_FILE."
        yield StartRefusal(RefusalName.KEY_MISSING, variable, "The variable is not set.", action)
        return
    try:
        parse(secret.get_secret_value())
    except SampleKeyError as sample:
        yield StartRefusal(RefusalName.SAMPLE_KEY, variable, str(sample), f"Make another: {made}")
    except ConfigurationError as unfit:
        yield StartRefusal(RefusalName.KEY_UNFIT, variable, str(unfit), f"Correct it, or make another: {made}")


def _equal_keys(settings: Settings) -> Iterator[StartRefusal]:
    root, pseudonym = settings.keys.root, settings.keys.pseudonym
    if root is None or pseudonym is None or any(_keys(settings)):
        return
    if parse_key(pseudonym.get_secret_value()) in parse_root_keys(root.get_secret_value()).values():
        yield StartRefusal(
            RefusalName.KEY_USED_TWICE,
            "OTP_SERVICE_PSEUDONYM_KEY",
            "It is a root key too.",
            "Before the first start, make another: otp-service key pseudonym. After it, take this root key away.",
        )


def _empty_sections(settings: Settings) -> Iterator[StartRefusal]:
    if not settings.purposes:
        action = "Add a section such as [purposes.login]."
        yield StartRefusal(RefusalName.NO_PURPOSE, "purposes", "There is none.", action)
    if not settings.gateways:
        action = "Add a section such as [gateways.primary]."
        yield StartRefusal(RefusalName.NO_GATEWAY, "gateways", "There is none.", action)


def _number_limit(settings: Settings) -> Iterator[StartRefusal]:
    limits, place = settings.core_limits.number, "limits.number"
    if not limits:
        sentence = "There is none: anybody could flood a number."
        yield StartRefusal(RefusalName.NUMBER_LIMIT, place, sentence, "Set one such as '10/day'.")
    elif all(limit.seconds < _HOUR for limit in limits):
        sentence = "No window is an hour long: anybody could flood a number."
        yield StartRefusal(RefusalName.NUMBER_LIMIT, place, sentence, "Add one such as '10/day'.")


def _guess_limit(settings: Settings) -> Iterator[StartRefusal]:
    limits, place = settings.core_limits.failed_checks, "limits.failed_checks"
    if not limits:
        sentence = "There is none: a new verification would buy new guesses."
        yield StartRefusal(RefusalName.GUESS_LIMIT, place, sentence, "Set one such as '10/day'.")
    elif not any(limit.seconds >= _HOUR and limit.amount <= MAX_GUESSES for limit in limits):
        sentence = f"No window of an hour or longer allows at most {MAX_GUESSES} wrong codes: a code could be guessed."
        yield StartRefusal(RefusalName.GUESS_LIMIT, place, sentence, "Add one such as '10/day'.")


def _vital_rules(settings: Settings) -> Iterator[StartRefusal]:
    for rule in RULES.values():
        if rule.vital and settings.guard.mode(rule.id) is not Mode.ENFORCE:
            sentence = f"{rule.id} is not enforced: anybody could flood numbers or guess codes."
            yield StartRefusal(RefusalName.VITAL_RULE, "guard.modes", sentence, 'Set it to "enforce".')


def _countries(settings: Settings) -> Iterator[StartRefusal]:
    for name, application in settings.applications.items():
        if ALL_COUNTRIES in application.countries:
            yield StartRefusal(
                RefusalName.ALL_COUNTRIES,
                f"applications.{name}.countries",
                "'*' is for development only.",
                "List the countries you send to.",
            )


def _gateways(settings: Settings) -> Iterator[StartRefusal]:
    for name, gateway in settings.gateways.items():
        if gateway.gateway_class.development_only:
            yield StartRefusal(
                RefusalName.GATEWAY_FOR_DEVELOPMENT,
                f"gateways.{name}",
                f"{gateway.kind} is for development only.",
                "Choose a kind that really sends.",
            )


def _sim_boxes(settings: Settings) -> Iterator[StartRefusal]:
    for country, asked in settings.countries.items():
        for name in carriers(settings, country, Channel.SMS) if asked.sim_boxes == "refused" else ():
            if settings.gateways[name].settings.sim_box:
                sentence = f"It leaves by SIM cards, and may carry no messages to {country}."
                action = f"Route messages to {country} through another."
                yield StartRefusal(RefusalName.SIM_BOX, f"gateways.{name}", sentence, action)


_OF_PRODUCTION: tuple[Callable[[Settings], Iterator[StartRefusal]], ...] = (
    _equal_keys,
    sample_refusals,
    line_refusals,
    _empty_sections,
    _number_limit,
    _guess_limit,
    _vital_rules,
    _countries,
    _gateways,
    _sim_boxes,
)
