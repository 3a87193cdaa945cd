"""Checks of the settings before a process starts.

`contradictions` finds unknown names and invalid limits. `start_refusals` finds settings that are valid but unsafe, some
of them in production only. docs/refusals.md explains each refusal.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations, pairwise, product
from pathlib import Path
from stat import S_IROTH, S_ISVTX, S_IWOTH, S_IXOTH
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import SecretStr

from otp_service.domain.applications import ASSERTION, NO_HUMAN_CHECK
from otp_service.domain.consents import ConsentMode
from otp_service.domain.guard import GUARD_RULES, LimitScope, Mode
from otp_service.domain.keyring import SampleKeyError, api_key_hash, parse_key, parse_root_keys
from otp_service.domain.payments import broken_name_rule, minor_digits
from otp_service.domain.sending_rules import Violation, sender_id_faults
from otp_service.domain.templates import MessageTemplates
from otp_service.domain.verification import Channel
from otp_service.errors import ConfigurationError, RefusalName, StartRefusal, StartRefusedError
from otp_service.plugins import DIALECTS, installed_names
from otp_service.settings.guard_ruleset import build_ruleset
from otp_service.settings.message_files import locale_faults, read_templates
from otp_service.settings.schema import (
    ALL_COUNTRIES,
    ApplicationSection,
    Configured,
    SpendSettings,
    walk_settings,
)
from otp_service.settings.settings import Settings
from otp_service.settings.urls import host_of, leads_elsewhere

_REGULATED: Final = tuple(channel for channel in Channel if channel.traits.is_regulated)


def start_refusals(settings: Settings, *, root_keys: bool = True) -> list[StartRefusal]:
    """Return all refusals to start; without ``root_keys`` missing root keys are allowed."""
    refusals = [*_keys(settings, root_keys=root_keys), *_residency_refusals(settings)]
    if settings.production:
        for check in (_equal_keys, _open_files, _sample_refusals, _empty_sections, _limits, _guard):
            refusals += check(settings)
        connections = unsafe_connections(settings)
        refusals += [line.refusal for line in connections if line.host not in settings.plaintext_hosts]
    refusals += _gateway_refusals(settings)
    for name, application in settings.applications.items():
        refusals += application_refusals(settings, name, application, f"applications.{name}.")
    return refusals


def _gateways_for(settings: Settings, country: str, channels: Iterable[Channel]) -> list[str]:
    """Return the gateways that may carry messages of any purpose to a country through channels."""
    names: dict[str, None] = {}
    for purpose, channel in product(settings.purposes, channels):
        names |= dict.fromkeys(settings.routing.gateways_for(country, purpose, channel))
    return list(names)


# --- Residency ---

_MEMBER: Final = "hosted_in"


def _residency_refusals(settings: Settings) -> Iterator[StartRefusal]:
    home = settings.residency
    if home is None:
        return
    exempt = _without_residency(settings, home)
    for path, country in _hosting_countries(settings):
        if path in exempt or country == home:
            continue
        place = "Its country is not set" if country is None else f"It is in {country}"
        if country is None:
            action = "Set the country where it runs."
        elif path.startswith("gateways."):
            action = f"Route messages to {home} through another gateway, and this gateway to other countries only."
        else:
            action = f"Use a system in {home}."
        sentence = f"{place}, and with residency = {home} personal data stay in {home}."
        yield StartRefusal(RefusalName.RESIDENCY, f"{path}.{_MEMBER}", sentence, action)


def _hosting_countries(settings: Settings) -> Iterator[tuple[str, str | None]]:
    """Yield path and country of each section with the member ``hosted_in``; ``None`` if it is not set."""
    for name in type(settings).model_fields:
        section = getattr(settings, name)
        if hasattr(section, _MEMBER):
            yield name, section.hosted_in
        for entry, member in section.items() if isinstance(section, Mapping) else ():
            if isinstance(member, Configured):
                yield f"{name}.{entry}", member.settings.hosted_in


def _without_residency(settings: Settings, home: str) -> set[str]:
    """Return the paths of sections that handle no data of the country ``home``."""
    carrying = _gateways_for(settings, home, Channel)
    routed = {name for route in settings.routes for name in route.gateways}
    gateways = {
        f"gateways.{name}"
        for name, gateway in settings.gateways.items()
        # inbound messages may come through a gateway that no route names
        if gateway.plugin_class.development_only or (name in routed and name not in carrying)
    }
    return gateways if settings.telemetry.traces else {*gateways, "telemetry"}


# --- Gateways and applications ---


def _gateway_refusals(settings: Settings) -> Iterator[StartRefusal]:
    for country, rules in settings.countries.items():
        action = f"Route messages to {country} through another gateway."
        for name in _gateways_for(settings, country, _REGULATED):
            path, gateway = f"gateways.{name}", settings.gateways[name].settings
            if rules.senders == "registered" and not gateway.sets_sender:
                sentence = f"It does not set the sender, and {country} requires registered senders."
                yield StartRefusal(RefusalName.SENDER_NOT_SHOWN, path, sentence, action)
            if settings.production and rules.sim_boxes == "refused" and gateway.sim_box:
                sentence = f"It sends through SIM cards, which {country} does not allow."
                yield StartRefusal(RefusalName.SIM_BOX, path, sentence, action)
    for name, entry in settings.gateways.items() if settings.production else ():
        path = f"gateways.{name}"
        if entry.plugin_class.development_only:
            sentence = f"{entry.kind} is for development only."
            yield StartRefusal(RefusalName.GATEWAY_FOR_DEVELOPMENT, path, sentence, "Use a kind that sends messages.")
        if free := sorted(key for key, price in settings.prices[name].of.items() if not price):
            sentence = f"The price of {', '.join(free)} is 0: no ceiling would count its messages."
            action = 'Set the price of a message; for a flat rate, a share of it or "0.000001".'
            yield StartRefusal(RefusalName.PRICE, f"{path}.prices", sentence, action)


# An expired registration does not refuse a start, which would stop messages to all other countries too. The worker
# refuses messages that need the registration, and ``doctor`` reports it.

_NO_SENDER = {
    Violation.SENDER_MISSING: "No sender is registered in {country} for the application {application}.",
    Violation.SENDER_CATEGORY: "The senders in {country} for the application {application} are of another category.",
}


def application_refusals(
    settings: Settings, name: str, application: ApplicationSection, path: str
) -> Iterator[StartRefusal]:
    """Yield the refusals for an application; ``path`` is the prefix of its settings, such as ``applications.shop.``."""
    for country, rules in settings.countries.items():
        if not {country, ALL_COUNTRIES}.intersection(application.countries):
            continue
        if rules.consent == "required" and application.consent is not ConsentMode.REQUIRED:
            sentence, action = f"Messages to {country} need a consent.", 'Set it to "required".'
            yield StartRefusal(RefusalName.CONSENT_NOT_REQUIRED, f"{path}consent", sentence, action)
        violation = settings.sending_rules.why_not_sender(country, name, datetime.now(UTC).date())
        if violation in _NO_SENDER:
            sentence = _NO_SENDER[violation].format(country=country, application=name)
            action = "Register a sender, and add a section [senders.NAME] with its reference."
            yield StartRefusal(RefusalName.NO_SENDER, "senders", sentence, action)
    if settings.production:
        yield from _production_refusals(settings, name, application, path)


def _production_refusals(
    settings: Settings, name: str, application: ApplicationSection, path: str
) -> Iterator[StartRefusal]:
    if ALL_COUNTRIES in application.countries:
        sentence, action = "'*' is for development only.", "List the countries you send to."
        yield StartRefusal(RefusalName.ALL_COUNTRIES, f"{path}countries", sentence, action)
    if plain := application.plain_origins:
        sentence, action = f"{', '.join(plain)}: for development only.", "List only https:// origins."
        yield StartRefusal(RefusalName.ORIGIN_FOR_DEVELOPMENT, f"{path}browser_origins", sentence, action)
    spend = application.spend
    if not spend.is_decided_for(application.countries):
        sentence = "Nothing limits its spending: a stolen key or inflated traffic could cost any amount."
        action = 'Set a ceiling such as day = "4000", or day = "none" to allow any spending.'
        yield StartRefusal(RefusalName.NO_CEILING, f"{path}spend", sentence, action)
    elif off := sorted(country for country in application.countries if not _has_ceiling(settings, spend, country)):
        sentence = f"The ceilings of {name} limit nothing in {', '.join(off)}: their rules are off."
        action = 'Set spend.application and spend.country to "enforce", or to "record_only" to observe.'
        yield StartRefusal(RefusalName.NO_CEILING, "guard.modes", sentence, action)


def _has_ceiling(settings: Settings, spend: SpendSettings, country: str) -> bool:
    """Whether a ceiling whose rule is on limits spending for a country, or ``none`` waives it."""
    by_rule = {"spend.application": spend, "spend.country": spend.of_country(country)}
    return any(
        ceilings.is_waived or (ceilings.is_set and settings.guard.mode(rule) is not Mode.OFF)
        for rule, ceilings in by_rule.items()
    )


# --- Templates ---


def load_templates(settings: Settings) -> MessageTemplates:
    """Return `read_templates`; raise `StartRefusedError` for a needed template that its country has not approved."""
    templates = read_templates(settings)
    missing = [
        f"countries.{country}.languages: there is no file of messages for {tag}."
        for country, rules in settings.countries.items()
        for tag in rules.languages
        if tag.lower() not in templates.languages
    ]
    for name, application in settings.applications.items():
        missing += [f"applications.{name}.{fault}" for fault in locale_faults(templates, application.locale)]
    if missing:
        raise ConfigurationError("\n".join(missing))
    if unmet := _unapproved(settings, templates):
        raise StartRefusedError(*unmet)
    return templates


def _unapproved(settings: Settings, templates: MessageTemplates) -> list[StartRefusal]:
    unmet: dict[StartRefusal, None] = {}
    for country, rules in settings.countries.items():
        languages = {tag.lower() for tag in rules.languages}
        chosen = [language for tag, language in templates.languages.items() if not languages or tag in languages]
        for purpose, language, channel in product(settings.named_purposes.values(), chosen, _REGULATED):
            texts = language.texts_for(purpose, channel) if channel in purpose.channels else None
            if not texts:
                continue
            reference = language.references[texts.name, channel]
            violation = settings.sending_rules.why_not_template(country, reference, datetime.now(UTC).date())
            if violation is Violation.TEMPLATE_NOT_APPROVED:
                sentence = f"{reference.id} is not approved in {country}. Its digest is {reference.sha256}."
                action = "Have it approved, and add a section [approvals.NAME]."
                unmet[StartRefusal(RefusalName.TEMPLATE_NOT_APPROVED, "approvals", sentence, action)] = None
    return list(unmet)


# --- Connections ---

_ENCRYPTED: Final = frozenset({"require", "verify-ca", "verify-full"})
"""Values of PostgreSQL's ``sslmode`` that never fall back to plain text; the default ``prefer`` does."""
_UNENCRYPTED: Final = "without encryption"


@dataclass(frozen=True, slots=True)
class UnsafeConnection:
    """A connection that an attacker on the network path could read or take over."""

    host: str
    how: str
    """``without encryption`` or ``without a check of its certificate``."""
    refusal: StartRefusal


def unsafe_connections(settings: Settings) -> Iterator[UnsafeConnection]:
    """Yield every unsafe connection to another host, also to a host of ``plaintext_hosts``."""
    url = settings.redis.url.get_secret_value()
    if settings.redis.sentinels or leads_elsewhere(url):  # Sentinels may name any host
        if urlsplit(url).scheme == "redis":
            sentence = "Redis is on another host and the connection is not encrypted."
            refusal = StartRefusal(RefusalName.REDIS_UNENCRYPTED, "redis.url", sentence, "Use rediss://.")
            yield UnsafeConnection(host_of(url), _UNENCRYPTED, refusal)
        elif "none" in _parameters(url).get("ssl_cert_reqs", []):
            action = "Remove ssl_cert_reqs=none, and set ssl_ca_certs to the certificate authority."
            yield _unverified_connection(url, "redis.url", action)
    url = settings.ledger.url.get_secret_value()
    if leads_elsewhere(url):
        parameters = _parameters(url)
        modes = parameters.get("sslmode", [])
        if not modes or not _ENCRYPTED.issuperset(modes):
            sentence = "PostgreSQL is on another host and the connection may not be encrypted."
            action = "Add sslmode=verify-full and sslrootcert."
            refusal = StartRefusal(RefusalName.LEDGER_UNENCRYPTED, "ledger.url", sentence, action)
            yield UnsafeConnection(host_of(url), _UNENCRYPTED, refusal)
        elif "require" in modes and "sslrootcert" not in parameters:  # with sslrootcert, require means verify-ca
            action = "Set sslmode=verify-full, and set sslrootcert to the certificate authority."
            yield _unverified_connection(url, "ledger.url", action)
    yield from _plain_http(settings, "gateways", RefusalName.GATEWAY_UNENCRYPTED, "numbers and codes")
    yield from _plain_http(settings, "policies", RefusalName.POLICY_UNENCRYPTED, "numbers and credentials")
    yield from _plain_http(settings, "human_checks", RefusalName.POLICY_UNENCRYPTED, "tokens and credentials")


def _parameters(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query)


def _unverified_connection(url: str, place: str, action: str) -> UnsafeConnection:
    sentence = "The certificate is not verified: an attacker on the network path could pose as the server."
    refusal = StartRefusal(RefusalName.CERTIFICATE_NOT_VERIFIED, place, sentence, action)
    return UnsafeConnection(host_of(url), "without a check of its certificate", refusal)


def _plain_http(settings: Settings, section: str, name: RefusalName, content: str) -> Iterator[UnsafeConnection]:
    for entry_name, entry in getattr(settings, section).items():
        for place, value in walk_settings(entry.settings, f"{section}.{entry_name}", tables=False):
            address = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            if address.lower().startswith("http://") and leads_elsewhere(address):
                sentence = f"The connection is not encrypted: {content} can be read on the network path."
                refusal = StartRefusal(name, place, sentence, "Use https://.")
                yield UnsafeConnection(host_of(address), _UNENCRYPTED, refusal)


# --- Sample secrets ---

MIN_PASSWORD_LENGTH: Final = 8
"""Minimum characters of a password; a shorter password can be guessed."""
_WORDS: Final = (
    "16charactersormore", "sixteencharactersormore", "anywordsthatnobodyelseknows", "secretofyouraccount",
    "0123456789abcdef", "abc", "abcd", "admin", "api", "auth", "changeit", "default", "demo", "dummy", "example",
    "foobared", "guest", "hunter2", "key", "letmein", "my", "password", "postgres", "qwerty", "redis", "replaceme",
    "root", "sample", "secret", "super", "test", "testing", "token", "top", "your",
)  # fmt: skip
"""Words of sample secrets, in letters and digits: from our own documents, and from often copied documents."""
_MADE_OF_WORDS: Final = re.compile(f"(?:{'|'.join(_WORDS)})+")
_PLACEHOLDERS: Final = ("changeme", "placeholder")
"""Words that make any secret a sample that contains them, in upper or lower case."""
_MARK: Final = "EXAMPLE"
"""The mark in the samples of providers. Only in capitals: in lower case, a passphrase may contain the word."""
_PLACEHOLDER: Final = re.compile(
    r"[$#@]\{.+\}#?|\$\(.+\)|\{\{.+\}\}"  # ${VAR}, $(command), {{ value }}
    r"|<[\w .:-]+>|\[[\w .:-]+\]|\{[\w .:-]+\}"  # <password>
    r"|(%|@|__)\w+\1"  # %VAR%, @VAR@, __VAR__
    r"|\$[A-Z_][A-Z0-9_]*"  # $VAR
)
"""Placeholders of templates, shells and tools that were not replaced by a value."""
_SEPARATORS: Final = re.compile(r"[-_.:/\s]")
_NUMBER: Final = re.compile(r"[0-9]*$")
_ANY_NUMBER: Final = 4
"""Maximum arbitrary digits after a sample word, such as a year; more digits must be a run."""
_RUNS: Final = (frozenset({0, 1, -9}), frozenset({0, -1, 9}))
"""Differences between neighbouring characters in ``11223344``, ``7890123``, ``abcdef`` and ``xxxx``, and backwards."""
_SAMPLE_KEYS: Final = ("", "...", "change me", "changeme", "abc123", "abcd1234", "12345678", "123456789", "1234567890")
_KNOWN_KEYS: Final = frozenset(map(api_key_hash, (*_SAMPLE_KEYS, *_WORDS, *map("".join, product(_WORDS, repeat=2)))))
"""Hashes of sample API keys, and of keys made of one or two words: the settings have only the hash of an API key."""


def is_sample_key(key: bytes) -> bool:
    """Whether a key of the installation is a sample in letters, or the SHA-256 digest of a sample."""
    return f"sha256:{key.hex()}" in _KNOWN_KEYS or (key.isascii() and is_sample(key.decode()))


def is_sample(secret: str) -> bool:
    """Whether a secret is made of sample words (``secret2024``), a placeholder, or a run such as ``abcdef``."""
    if not secret:
        return False
    plain = "".join(filter(str.isalnum, secret.casefold()))
    number = _NUMBER.findall(plain)[0]
    words = _MADE_OF_WORDS.fullmatch(plain.removesuffix(number)) or _MADE_OF_WORDS.fullmatch(plain)
    return bool(
        _PLACEHOLDER.fullmatch(secret.strip())
        or _is_run(_SEPARATORS.sub("", secret) or secret)
        or (words and (len(number) <= _ANY_NUMBER or _is_run(number)))
        or _MARK in secret
        or any(word in plain for word in _PLACEHOLDERS)
    )


def _is_run(text: str) -> bool:
    """Whether each character equals its predecessor or follows it, always in the same direction."""
    steps = {ord(after) - ord(before) for before, after in pairwise(text.casefold())}
    return any(steps <= run for run in _RUNS)


def _sample_refusals(settings: Settings) -> Iterator[StartRefusal]:
    """Yield a refusal for each secret of the settings that is a sample, except the keys of the installation."""
    yield from _password("redis.url", settings.redis.url)
    yield from _password("ledger.url", settings.ledger.url)
    for name, application in settings.applications.items():
        for position, key in enumerate(application.keys):
            if key in _KNOWN_KEYS or len(set(key.removeprefix("sha256:"))) == 1:
                place = f"applications.{name}.keys.{position}"
                yield _sample_refusal(place, "It is the hash of a sample.", f"Make a key: otp-service key new {name}")
    for place, secret in provider_secrets(settings):
        if is_sample(secret):
            yield _sample_refusal(place, f"It is {_PUBLIC}.", "Set the real secret.")


def provider_secrets(settings: Settings) -> Iterator[tuple[str, str]]:
    for section in ("gateways", "policies", "human_checks"):
        entries = getattr(settings, section)
        for name, entry in entries.items():
            for place, value in walk_settings(entry.settings, f"{section}.{name}"):
                if isinstance(value, SecretStr):
                    yield place, value.get_secret_value()


def holds_secrets(settings: Settings, table: Mapping[str, Any]) -> bool:
    """Whether the table of a configuration file contains a secret."""
    places = [place for place, secret in provider_secrets(settings) if secret]
    urls = (_value_at(table, place) for place in ("redis.url", "ledger.url"))
    return any(_value_at(table, place) for place in places) or any(url and urlsplit(url).password for url in urls)


def _value_at(table: Mapping[str, Any], place: str) -> Any:  # noqa: ANN401 - any value of the file
    value: Any = table
    for step in place.split("."):
        if isinstance(value, list):
            value = dict(enumerate(map(str, value))).get(int(step))
        else:
            value = value.get(step) if isinstance(value, Mapping) else None
    return value


_PUBLIC: Final = "a sample or an unreplaced placeholder, so it is public"


def _password(place: str, url: SecretStr) -> Iterator[StartRefusal]:
    quoted = urlsplit(url.get_secret_value()).password or ""
    password, action = unquote(quoted), "Set a random password: openssl rand -hex 16"
    if is_sample(quoted) or is_sample(password):  # unquoting would change a placeholder such as %DB_PASSWORD%
        yield _sample_refusal(place, f"Its password is {_PUBLIC}.", action)
    elif 0 < len(password) < MIN_PASSWORD_LENGTH:
        sentence = f"Its password has fewer than {MIN_PASSWORD_LENGTH} characters: it can be guessed."
        yield _sample_refusal(place, sentence, action)


def _sample_refusal(place: str, sentence: str, action: str) -> StartRefusal:
    return StartRefusal(RefusalName.SAMPLE_SECRET, place, sentence, action)


# --- Keys of the installation ---


def _keys(settings: Settings, *, root_keys: bool = True) -> Iterator[StartRefusal]:
    keys = settings.keys
    if root_keys or keys.root:
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
        yield StartRefusal(RefusalName.KEY_INVALID, variable, str(unfit), f"Correct it, or make a key: {made}")
        return
    if is_sample:
        sentence = "A key is a sample, not random."
        yield StartRefusal(RefusalName.SAMPLE_KEY, variable, sentence, f"Make a random key: {made}")


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
                f"{first} and {second} are the same key.",
                "Set a new key for either id (otp-service key root), or remove it.",
            )
    if parse_key(pseudonym.get_secret_value()) in roots.values():
        yield StartRefusal(
            RefusalName.KEY_USED_TWICE,
            "OTP_SERVICE_PSEUDONYM_KEY",
            "It is a root key too.",
            "Before the first start, make another key: otp-service key pseudonym. After it, remove this root key.",
        )


# --- Limits, guard, files ---

_MAX_HOURLY: Final = 100
"""Maximum messages to a number, and maximum wrong codes of a million possible codes, in an hour."""
_HOUR: Final = 3600
_AGAINST_FRAUD: Final = frozenset({"address", "block", "country"})
"""Scopes of the rules that detect traffic whose codes are not entered."""


def _empty_sections(settings: Settings) -> Iterator[StartRefusal]:
    if not settings.purposes:
        action = "Add a section such as [purposes.login]."
        yield StartRefusal(RefusalName.NO_PURPOSE, "purposes", "No purpose is set.", action)
    if not settings.gateways:
        action = "Add a section such as [gateways.primary]."
        yield StartRefusal(RefusalName.NO_GATEWAY, "gateways", "No gateway is set.", action)


def _limits(settings: Settings) -> Iterator[StartRefusal]:
    limits = settings.limits.parsed
    for name, scope, noun, risk in (
        (RefusalName.NUMBER_LIMIT, LimitScope.NUMBER, "messages", "a number could be flooded"),
        (RefusalName.GUESS_LIMIT, LimitScope.FAILED_CHECKS, "wrong codes", "a code could be guessed"),
    ):
        if not any(window.seconds >= _HOUR and window.amount <= _MAX_HOURLY for window in limits[scope]):
            sentence = f"No limit of an hour or longer allows at most {_MAX_HOURLY} {noun}: {risk}."
            yield StartRefusal(name, f"limits.{scope}", sentence, "Add a limit such as '10/day'.")


def _guard(settings: Settings) -> Iterator[StartRefusal]:
    for rule in GUARD_RULES.values():
        if rule.vital and settings.guard.mode(rule.id) is not Mode.ENFORCE:
            sentence = f"{rule.id} is not enforced: anyone could flood numbers or guess codes."
            yield StartRefusal(RefusalName.VITAL_RULE, "guard.modes", sentence, 'Set it to "enforce".')
    ruleset = build_ruleset(settings.guard, settings.limits.parsed, SpendSettings())
    active = {bucket.rule for bucket in ruleset.buckets} | {breaker.rule for breaker in ruleset.breakers}
    if all(GUARD_RULES[rule].scope not in _AGAINST_FRAUD for rule in active):
        sentence = "No rule against fraud is active, not even to record: fraud could cost a message for each start."
        action = 'Set rules of block, country or address to "enforce", or to "record_only" to observe.'
        yield StartRefusal(RefusalName.FRAUD_RULE, "guard.modes", sentence, action)
    if minor_digits(settings.guard.currency) is None:
        sentence = "It is not a currency of ISO 4217, so prices and ceilings mean nothing."
        action = "Set the currency in which your providers bill."
        yield StartRefusal(RefusalName.PRICE, "guard.currency", sentence, action)


def _open_files(settings: Settings) -> Iterator[StartRefusal]:
    for path, secret in settings.files.items():
        opened = _open_place(path, S_IROTH | S_IWOTH if secret else S_IWOTH)
        if opened == path:
            sentence = "Every user of this host can change it."
            if secret:
                sentence = "It holds secrets, and every user of this host can read or change it."
            action = f"Restrict it to the service's user: chmod 600 {path}"
            yield StartRefusal(RefusalName.OPEN_FILE, str(path), sentence, action)
        elif opened:
            sentence = f"Every user of this host can replace it: {opened} is open to all."
            yield StartRefusal(RefusalName.OPEN_FILE, str(path), sentence, f"Close the folder: chmod o-w {opened}")


def _open_place(path: Path, modes: int) -> Path | None:
    """Return a file on which all users have any of ``modes``, or a folder in which all users may rename files."""
    try:
        real = path.resolve(strict=True)
        if _is_mounted(real):
            return None
        if real.stat().st_mode & modes and _is_reached(real):
            return path
        # The sticky bit, as of /tmp, lets users rename their own files only.
        for folder in dict.fromkeys((*path.absolute().parents, *real.parents)):
            if folder.stat().st_mode & (S_IWOTH | S_IXOTH | S_ISVTX) == S_IWOTH | S_IXOTH and _is_reached(folder):
                return folder
    except OSError:  # a parent folder is closed even to this process
        return None
    return None


def _is_mounted(real: Path) -> bool:
    """Whether a container engine mounted a file, which may be open because the container has no other users."""
    # Docker and Podman mount in /run/secrets, Kubernetes in folders such as ``..2026_11_28_06_30_00.1``.
    return real.is_relative_to("/run/secrets") or any(part.startswith("..") for part in real.parts)


def _is_reached(path: Path) -> bool:
    """Whether users other than owner and group may pass all parent folders."""
    return all(folder.stat().st_mode & S_IXOTH for folder in path.parents)


# --- Contradictions ---


def contradictions(settings: Settings) -> list[str]:
    """Return a sentence with the setting for each unknown name and each invalid limit."""
    unknown = list(_unknown_names(settings))
    faults = [*unknown, *_key_faults(settings)]
    try:
        build_ruleset(settings.guard, settings.limits.parsed, SpendSettings())
    except ConfigurationError as malformed:
        faults.append(str(malformed))
    for name, application in settings.applications.items():
        own = [*brand_faults(name, application), *unmet_needs(settings, application)]
        faults += [f"applications.{name}.{fault}" for fault in own]
        if not unknown:
            faults += missing_prices(settings, name, application)
    for name, sender in settings.senders.items():
        rules = settings.countries.get(sender.country)
        for fault in sender_id_faults(sender.sender_id, rules.reserved_sender_ids if rules else ()):
            faults.append(f"senders.{name}.sender_id: {fault}.")
    return faults


def _unknown_names(settings: Settings) -> Iterator[str]:
    references = [(f"purposes.{name}.after", "purposes", purpose.after) for name, purpose in settings.purposes.items()]
    for name, application in settings.applications.items():
        references.append((f"applications.{name}.purposes", "purposes", application.purposes))
    for position, route in enumerate(settings.routes):
        references.append((f"routes.{position}.gateways", "gateways", route.gateways))
        references.append((f"routes.{position}.purposes", "purposes", route.purposes))
    for name, policy in settings.policies.items():
        references.append((f"policies.{name}.purposes", "purposes", policy.settings.purposes))
        references.append((f"policies.{name}.applications", "applications", policy.settings.applications))
    for path, section, names in references:
        for name in sorted(set(names) - getattr(settings, section).keys()):
            yield f"{path}: there is no section {section}.{name}."


def _key_faults(settings: Settings) -> Iterator[str]:
    owners: dict[str, str] = {}
    for name, application in settings.applications.items():
        for position, key in enumerate(application.keys):
            if key in owners:
                yield f"applications.{name}.keys.{position}: is a key of applications.{owners[key]} already."
            owners.setdefault(key, name)


def brand_faults(name: str, application: ApplicationSection) -> Iterator[str]:
    """Yield a fault if an application has no brand and its section's name is not a valid brand."""
    if application.name is None and (rule := broken_name_rule(name.replace("_", "-"))):
        yield f"name: is missing, and messages would show the section's own: it {rule}."


def unmet_needs(settings: Settings, application: ApplicationSection) -> Iterator[str]:
    if application.human_check not in {NO_HUMAN_CHECK, ASSERTION, *settings.human_checks}:
        yield f"human_check: must be {NO_HUMAN_CHECK}, {ASSERTION} or the name of a section of human_checks."
    if application.proofs and settings.proof_issuer is None:
        yield "proofs: needs proofs.issuer or http.public_url, which proofs name as their issuer."
    dialects = installed_names(DIALECTS)
    if not set(dialects).issuperset(application.dialects):
        yield f"dialects: a dialect is not installed; installed: {', '.join(dialects) or 'none'}."
    for name in (purpose for purpose in application.purposes if purpose in settings.purposes):
        after = settings.purposes[name].after
        if after and not application.proofs:
            yield f"proofs: must be true, because purposes.{name} comes after a proof of another purpose."
        if after and not set(after) & set(application.purposes):
            yield f"purposes: {name} comes after {' or '.join(after)}, which the application may not use."
    if application.page_return_urls:
        yield from _page_faults(settings, application.page_return_urls)


def _page_faults(settings: Settings, return_urls: tuple[str, ...]) -> Iterator[str]:
    public = settings.http.public_url
    if public is None:
        yield "page_return_urls: needs http.public_url, where the pages are."
    if settings.production and not all(url.startswith("https:") for url in (*return_urls, public or "https:")):
        yield "page_return_urls: these and http.public_url must begin with https:// in production."


def missing_prices(settings: Settings, name: str, application: ApplicationSection) -> Iterator[str]:
    """Yield a fault for each gateway without a price for messages that count towards the application's ceiling."""
    if not application.spend.is_set:
        return
    missing: dict[str, set[str]] = {}
    for purpose, country in product(application.purposes, application.countries):
        for channel in settings.purposes[purpose].channels if purpose in settings.purposes else ():
            for gateway in settings.routing.gateways_for(country, purpose, channel):
                if settings.prices[gateway].unit(country, channel) is None:
                    missing.setdefault(gateway, set()).add(f"{country}/{channel}")
    for gateway, places in missing.items():
        yield (
            f"gateways.{gateway}.prices: there is none for {', '.join(sorted(places))}: "
            f"applications.{name}.spend would not count these messages."
        )
