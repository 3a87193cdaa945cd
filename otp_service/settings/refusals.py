"""What refuses to start: without keys anywhere, and in production whatever is unsafe or does nothing."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import combinations
from pathlib import Path
from stat import S_IROTH, S_ISVTX, S_IWOTH, S_IXOTH

from pydantic import SecretStr

from otp_service.domain.guard import RULES, Mode
from otp_service.domain.keyring import SampleKeyError, parse_key, parse_root_keys
from otp_service.domain.payments import minor_digits
from otp_service.domain.verification import Channel
from otp_service.errors import ConfigurationError, RefusalName, StartRefusal
from otp_service.settings.carriers import carriers
from otp_service.settings.demands import demands
from otp_service.settings.lines import line_refusals
from otp_service.settings.policy import ALL_COUNTRIES, ApplicationSection
from otp_service.settings.ruleset import ruleset_of
from otp_service.settings.samples import is_sample_key, sample_refusals
from otp_service.settings.spend import SpendSettings
from otp_service.settings.tree import Settings

MAX_GUESSES = 100
"""Wrong codes in an hour at most, of a million possible ones."""
MAX_MESSAGES = 100
"""Messages to one number in an hour at most."""
AGAINST_FRAUD = frozenset({"address", "block", "country"})
"""Scopes of the rules that notice who never types a code in."""
_HOUR = 3600
_WRITABLE = "Every user of this host can change it."


def refusals(settings: Settings) -> list[StartRefusal]:
    """Return all reasons not to start that the settings alone give. docs/refusals.md explains each by its name."""
    found = [*_keys(settings), *demands(settings)]
    if settings.production:
        for further in _OF_PRODUCTION:
            found += further(settings)
    return found


def _keys(settings: Settings) -> Iterator[StartRefusal]:
    keys = settings.keys
    yield from _key("OTP_SERVICE_ROOT_KEYS", "root", keys.root, lambda text: parse_root_keys(text).values())
    yield from _key("OTP_SERVICE_PSEUDONYM_KEY", "pseudonym", keys.pseudonym, lambda text: [parse_key(text)])


def _key(
    variable: str, command: str, secret: SecretStr | None, parse: Callable[[str], Iterable[bytes]]
) -> Iterator[StartRefusal]:
    made = f"otp-service key {command}"
    if secret is None:
        action = f"Make a key ({made}) and set {variable}_FILE."
        yield StartRefusal(RefusalName.KEY_MISSING, variable, "The variable is not set.", action)
        return
    try:
        is_sample = any(map(is_sample_key, parse(secret.get_secret_value())))
    except SampleKeyError:
        is_sample = True
    except ConfigurationError as unfit:
        yield StartRefusal(RefusalName.KEY_UNFIT, variable, str(unfit), f"Correct it, or make another: {made}")
        return
    if is_sample:
        sentence = "A key is a sample, not a random one."
        yield StartRefusal(RefusalName.SAMPLE_KEY, variable, sentence, f"Make another: {made}")


def _equal_keys(settings: Settings) -> Iterator[StartRefusal]:
    root, pseudonym = settings.keys.root, settings.keys.pseudonym
    if root is None or pseudonym is None or any(_keys(settings)):
        return
    roots = parse_root_keys(root.get_secret_value())
    for first, second in combinations(sorted(roots), 2):
        if roots[first] == roots[second]:
            yield StartRefusal(
                RefusalName.KEY_USED_TWICE,
                "OTP_SERVICE_ROOT_KEYS",
                f"{first} and {second} are one key.",
                "A new name needs a new key: otp-service key root. Give one of the two another, or take it away.",
            )
    if parse_key(pseudonym.get_secret_value()) in roots.values():
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
    elif not any(limit.seconds >= _HOUR and limit.amount <= MAX_MESSAGES for limit in limits):
        sentence = (
            f"No window of an hour or longer allows at most {MAX_MESSAGES} messages: anybody could flood a number."
        )
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


def _fraud_rules(settings: Settings) -> Iterator[StartRefusal]:
    ruleset = ruleset_of(settings.guard, settings.core_limits, SpendSettings())
    at_work = {one.rule for one in ruleset.buckets} | {one.rule for one in ruleset.breakers}
    if all(RULES[rule].scope not in AGAINST_FRAUD for rule in at_work):
        yield StartRefusal(
            RefusalName.FRAUD_RULE,
            "guard.modes",
            "No rule against fraud is at work, not even to record: who is paid for messages to numbers of his own "
            "starts them.",
            'Set those of block, country or address to "enforce", or to "record_only" while you look.',
        )


def _ceilings(settings: Settings) -> Iterator[StartRefusal]:
    for name, application in settings.applications.items():
        yield from ceiling_refusals(settings, name, f"applications.{name}.", application)


def ceiling_refusals(
    settings: Settings, name: str, path: str, application: ApplicationSection
) -> Iterator[StartRefusal]:
    """Yield why nothing bounds what an application, whose members are at a path, may spend."""
    spend = application.spend
    if not spend.is_decided_for(application.countries):
        yield StartRefusal(
            RefusalName.NO_CEILING,
            f"{path}spend",
            "Nothing bounds what it may spend: who steals its key, or inflates its traffic, is paid without end.",
            'Set a ceiling such as day = "4000", or day = "none" where you know that.',
        )
    elif unbound := sorted(filter(partial(_is_unbound, settings, spend), application.countries)):
        sentence = f"The ceilings of {name} bound nothing in {', '.join(unbound)}: their rules are off."
        action = 'Set spend.application and spend.country to "enforce", or to "record_only" while you look.'
        yield StartRefusal(RefusalName.NO_CEILING, "guard.modes", sentence, action)


def _is_unbound(settings: Settings, spend: SpendSettings, country: str) -> bool:
    """Tell whether the ceilings that are said to bound a country are all of rules that are off."""
    said = {"spend.application": spend, "spend.country": spend.of_country(country)}
    at_work = (
        one.is_waived or (one.is_set and settings.guard.mode(rule) is not Mode.OFF) for rule, one in said.items()
    )
    return not any(at_work)


def _prices(settings: Settings) -> Iterator[StartRefusal]:
    if minor_digits(settings.guard.currency) is None:
        sentence = "ISO 4217 knows no such currency: nobody can tell what prices and ceilings are worth."
        action = "Set the one that your providers bill in."
        yield StartRefusal(RefusalName.PRICE, "guard.currency", sentence, action)
    for name, prices in settings.core_prices.items():
        if free := sorted(key for key, price in prices.of.items() if not price):
            sentence = f"{', '.join(free)} costs nothing: no ceiling would see its messages."
            action = 'Set what it costs; of a flat rate a share, or "0.000001".'
            yield StartRefusal(RefusalName.PRICE, f"gateways.{name}.prices", sentence, action)


def _open_files(settings: Settings) -> Iterator[StartRefusal]:
    for path, secret in settings.files.items():
        if _is_open(path, S_IROTH | S_IWOTH if secret else S_IWOTH):
            what = "It holds secrets, and every user of this host can read or change it." if secret else _WRITABLE
            action = f"Give it to the user of the service alone: chmod 600 {path}"
            yield StartRefusal(RefusalName.OPEN_FILE, str(path), what, action)
        elif folder := _open_folder(path):
            sentence = f"Every user of this host can put another in its place: {folder} is open to all."
            yield StartRefusal(RefusalName.OPEN_FILE, str(path), sentence, f"Close the folder: chmod o-w {folder}")


def _is_open(path: Path, modes: int) -> bool:
    """Tell whether users beside owner and group reach a file, and do with it what some modes allow."""
    try:
        real = path.resolve(strict=True)
        return not _is_mounted(real) and _is_reached(real) and bool(real.stat().st_mode & modes)
    except OSError:  # a folder above it is closed to us too
        return False


def _open_folder(path: Path) -> Path | None:
    """Return a folder above a file, or above a link to it, where users beside owner and group may rename what is there.

    Not one such as /tmp, which lets each rename his own.
    """
    try:
        real = path.resolve(strict=True)
        for folder in () if _is_mounted(real) else dict.fromkeys((*path.absolute().parents, *real.parents)):
            if folder.stat().st_mode & (S_IWOTH | S_IXOTH | S_ISVTX) == S_IWOTH | S_IXOTH and _is_reached(folder):
                return folder
    except OSError:
        return None
    return None


def _is_mounted(real: Path) -> bool:
    """Tell whether an engine mounted a file into a container, where nobody else is, so that it may be open.

    Docker and Podman do in /run/secrets, Kubernetes in a folder of its own making, such as ..2026_11_28_06_30_00.1.
    """
    return real.is_relative_to("/run/secrets") or any(part.startswith("..") for part in real.parts)


def _is_reached(path: Path) -> bool:
    """Tell whether users beside owner and group get through all folders above."""
    return all(folder.stat().st_mode & S_IXOTH for folder in path.parents)


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
    _open_files,
    sample_refusals,
    line_refusals,
    _empty_sections,
    _number_limit,
    _guess_limit,
    _vital_rules,
    _fraud_rules,
    _ceilings,
    _prices,
    _countries,
    _gateways,
    _sim_boxes,
)
