"""What refuses to start: without keys anywhere, and in production whatever is unsafe or does nothing."""

from collections.abc import Callable, Iterator

from pydantic import SecretStr

from otp_service.core.errors import ConfigurationError
from otp_service.core.guard.rules import RULES, Mode
from otp_service.core.keyring import parse_key, parse_root_keys
from otp_service.settings.policy import ALL_COUNTRIES
from otp_service.settings.tree import Settings

MAX_GUESSES = 100
"""Wrong codes in an hour at most, of a million possible ones."""
_HOUR = 3600


def refusals(settings: Settings) -> list[str]:
    """Return one sentence for each reason not to start, with what to do about it."""
    reasons = [*_keys(settings)]
    if settings.production:
        for further in (_equal_keys, _empty_sections, _limits, _vital_rules, _countries, _gateways):
            reasons += further(settings)
    return reasons


def _keys(settings: Settings) -> Iterator[str]:
    keys = settings.keys
    yield from _key("OTP_SERVICE_ROOT_KEYS", "root", keys.root, parse_root_keys)
    yield from _key("OTP_SERVICE_PSEUDONYM_KEY", "pseudonym", keys.pseudonym, parse_key)


def _key(variable: str, command: str, secret: SecretStr | None, parse: Callable[[str], object]) -> Iterator[str]:
    if secret is None:
        yield f"{variable}: is missing. Make a key (otp-service key {command}) and set {variable}_FILE."
        return
    try:
        parse(secret.get_secret_value())
    except ConfigurationError as refused:
        yield f"{variable}: {refused}"


def _equal_keys(settings: Settings) -> Iterator[str]:
    root, pseudonym = settings.keys.root, settings.keys.pseudonym
    if root is None or pseudonym is None or any(_keys(settings)):
        return
    if parse_key(pseudonym.get_secret_value()) in parse_root_keys(root.get_secret_value()).values():
        yield "OTP_SERVICE_PSEUDONYM_KEY: is a root key too. Make another: otp-service key pseudonym"


def _empty_sections(settings: Settings) -> Iterator[str]:
    if not settings.purposes:
        yield "purposes: there is none. Add a section such as [purposes.login]."
    if not settings.gateways:
        yield "gateways: there is none. Add a section such as [gateways.primary]."


def _limits(settings: Settings) -> Iterator[str]:
    limits = settings.core_limits
    if not limits.number:
        yield "limits.number: there is none: anybody could flood a number. Set at least one."
    elif all(limit.seconds < _HOUR for limit in limits.number):
        yield "limits.number: no window is an hour long: anybody could flood a number. Add one such as '10/day'."
    if not limits.failed_checks:
        yield "limits.failed_checks: there is none: a new verification would buy new guesses. Set at least one."
    elif not any(limit.seconds >= _HOUR and limit.amount <= MAX_GUESSES for limit in limits.failed_checks):
        yield (
            f"limits.failed_checks: no window of an hour or longer allows at most {MAX_GUESSES} wrong codes: "
            "a code could be guessed. Add one such as '10/day'."
        )


def _vital_rules(settings: Settings) -> Iterator[str]:
    for rule in RULES.values():
        if rule.vital and settings.guard.mode(rule.id) is not Mode.ENFORCE:
            yield f"guard.modes: {rule.id} is not enforced: anybody could flood numbers or guess codes. Enforce it."


def _countries(settings: Settings) -> Iterator[str]:
    for name, application in settings.applications.items():
        if ALL_COUNTRIES in application.countries:
            yield f"applications.{name}.countries: '*' is for development only. List the countries you send to."


def _gateways(settings: Settings) -> Iterator[str]:
    for name, gateway in settings.gateways.items():
        if gateway.gateway_class.development_only:
            yield f"gateways.{name}: {gateway.kind} is for development only. Choose a kind that really sends."
