"""Checks of the settings before a process starts.

`contradictions` finds unknown names and invalid limits. `start_refusals` finds settings that are valid but unsafe, some
of them in production only. docs/refusals.md explains each refusal.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import combinations, pairwise, product
from pathlib import Path
from stat import S_IROTH, S_ISVTX, S_IWOTH, S_IXOTH
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import SecretStr

from otp_service.domain.applications import ASSERTION, NO_HUMAN_CHECK
from otp_service.domain.consents import ConsentMode
from otp_service.domain.guard import GUARD_RULES, Mode
from otp_service.domain.keyring import SampleKeyError, api_key_hash, parse_key, parse_root_keys
from otp_service.domain.payments import broken_name_rule, minor_digits
from otp_service.domain.sending_rules import Violation, sender_id_faults
from otp_service.domain.templates import MessageTemplates, TemplateRef
from otp_service.domain.verification import Channel
from otp_service.errors import ConfigurationError, RefusalName, StartRefusal, StartRefusedError
from otp_service.plugins import DIALECTS, installed_names
from otp_service.settings.guard_ruleset import build_ruleset
from otp_service.settings.message_files import locale_faults, read_templates
from otp_service.settings.schema import (
    ALL_COUNTRIES,
    ApplicationSection,
    Configured,
    RedisSettings,
    SpendSettings,
    walk_settings,
)
from otp_service.settings.settings import Settings
from otp_service.settings.urls import host_of, leads_elsewhere

_REGULATED: Final = tuple(channel for channel in Channel if channel.traits.is_regulated)


def gateways_for_country(settings: Settings, country: str, *channels: Channel) -> list[str]:
    """Return the names of the gateways that may carry messages of any purpose to a country through channels."""
    names: dict[str, None] = {}
    for purpose in settings.purposes:
        for channel in channels:
            names |= dict.fromkeys(settings.routing.gateways_for(country, purpose, channel))
    return list(names)


_MEMBER: Final = "hosted_in"


def residency_refusals(settings: Settings) -> Iterator[StartRefusal]:
    """Yield a refusal for each system outside the country of ``residency``, or without a country."""
    home = settings.residency
    if home is None:
        return
    exempt = _without_residency(settings, home)
    for path, country in _hosting_countries(settings):
        if path not in exempt and country != home:
            yield _residency_refusal(path, country, home)


def _residency_refusal(path: str, country: str | None, home: str) -> StartRefusal:
    rule = f"with residency = {home} personal data stay in {home}"
    if country is None:
        sentence, action = f"Its country is not set, and {rule}.", "Find out where it is, and set that country."
    elif path.startswith("gateways."):
        sentence = f"It is in {country}, and {rule}."
        action = f"Send to {home} through another, and give this one a route of other countries only."
    else:
        sentence, action = f"It is in {country}, and {rule}.", f"Move it, or use another that is in {home}."
    return StartRefusal(RefusalName.RESIDENCY, f"{path}.{_MEMBER}", sentence, action)


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
    """Return the paths of sections that handle no data of the country ``home``.

    These are gateways that routes name for other countries only, gateways for development, and telemetry while traces
    are off. A gateway that no route names still counts, since inbound messages may come through it.
    """
    carrying, routed = (
        gateways_for_country(settings, home, *Channel),
        {name for route in settings.routes for name in route.gateways},
    )
    gateways = {
        f"gateways.{name}"
        for name, gateway in settings.gateways.items()
        if gateway.plugin_class.development_only or (name in routed and name not in carrying)
    }
    return gateways if settings.telemetry.traces else {*gateways, "telemetry"}


# An expired registration does not refuse a start, which would stop messages to all other countries too. The worker
# refuses messages that need the registration, and ``doctor`` reports it.

_NO_SENDER = {
    Violation.SENDER_MISSING: "No sender is registered in {country} for the application {application}.",
    Violation.SENDER_CATEGORY: "The senders in {country} for the application {application} are of another category.",
}
_REGISTER = "Register one, and add a section [senders.NAME] with its reference."


def country_refusals(settings: Settings) -> list[StartRefusal]:
    """Return a refusal for each rule of a country that the settings do not meet."""
    unmet = [*residency_refusals(settings), *_gateways_without_sender(settings)]
    for name, application in settings.applications.items():
        unmet += consent_refusals(settings, f"applications.{name}.", application)
        unmet += sender_refusals(settings, name, application)
    return unmet


def consent_refusals(settings: Settings, path: str, application: ApplicationSection) -> Iterator[StartRefusal]:
    """Yield a refusal for each country that requires consents, if the application does not.

    ``path`` is the prefix of the application's settings in refusals, such as ``applications.shop.``.
    """
    for country in _ruled_countries(settings, application):
        if settings.countries[country].consent == "required" and application.consent is not ConsentMode.REQUIRED:
            yield StartRefusal(
                RefusalName.CONSENT_NOT_REQUIRED,
                f"{path}consent",
                f"Messages to {country} need a consent.",
                'Set it to "required".',
            )


def sender_refusals(settings: Settings, name: str, application: ApplicationSection) -> Iterator[StartRefusal]:
    """Yield a refusal for each country that requires a registered sender, if the application has none there."""
    for country in _ruled_countries(settings, application):
        violation = settings.sending_rules.why_not_sender(country, name, datetime.now(UTC).date())
        if violation in _NO_SENDER:
            sentence = _NO_SENDER[violation].format(country=country, application=name)
            yield StartRefusal(RefusalName.NO_SENDER, "senders", sentence, _REGISTER)


def load_templates(settings: Settings) -> MessageTemplates:
    """Return the templates of messages, as `read_templates` does.

    Raises `ConfigurationError` also when a country or an application uses a language without templates, and
    `StartRefusedError` when a message could need a template that its country has not approved.
    """
    templates = read_templates(settings)
    if missing := list(_missing_languages(settings, templates)):
        raise ConfigurationError("\n".join(missing))
    if unmet := _unapproved(settings, templates):
        raise StartRefusedError(*unmet)
    return templates


def _missing_languages(settings: Settings, templates: MessageTemplates) -> Iterator[str]:
    for country, rules in settings.countries.items():
        for tag in rules.languages:
            if tag.lower() not in templates.languages:
                yield f"countries.{country}.languages: there is no file of messages for {tag}."
    for name, application in settings.applications.items():
        yield from (f"applications.{name}.{fault}" for fault in locale_faults(templates, application.locale))


def _unapproved(settings: Settings, templates: MessageTemplates) -> list[StartRefusal]:
    unmet: dict[StartRefusal, None] = {}
    for country in settings.countries:
        for reference in _needed(settings, templates, country):
            violation = settings.sending_rules.why_not_template(country, reference, datetime.now(UTC).date())
            if violation is Violation.TEMPLATE_NOT_APPROVED:
                sentence = f"{reference.id} is not approved in {country}. Its digest is {reference.sha256}."
                action = "Have it approved, and add a section [approvals.NAME]."
                unmet[StartRefusal(RefusalName.TEMPLATE_NOT_APPROVED, "approvals", sentence, action)] = None
    return list(unmet)


def _needed(settings: Settings, templates: MessageTemplates, country: str) -> Iterator[TemplateRef]:
    """Yield the templates of all messages under rules that an application may send to a country."""
    languages = {tag.lower() for tag in settings.countries[country].languages}
    chosen = [language for tag, language in templates.languages.items() if not languages or tag in languages]
    for purpose, language, channel in product(settings.named_purposes.values(), chosen, _REGULATED):
        if channel in purpose.channels and (texts := language.texts_for(purpose, channel)):
            yield language.references[texts.name, channel]


def _gateways_without_sender(settings: Settings) -> Iterator[StartRefusal]:
    for country, rules in settings.countries.items():
        for name in gateways_for_country(settings, country, *_REGULATED) if rules.senders == "registered" else ():
            if not settings.gateways[name].settings.sets_sender:
                sentence = (
                    f"It does not show the sender that a message names, and {country} takes registered ones only."
                )
                action = f"Route messages to {country} through another."
                yield StartRefusal(RefusalName.SENDER_NOT_SHOWN, f"gateways.{name}", sentence, action)


def _ruled_countries(settings: Settings, application: ApplicationSection) -> Collection[str]:
    """Return the countries to which an application sends and that have a section in ``countries``."""
    if ALL_COUNTRIES in application.countries:
        return settings.countries
    return [country for country in application.countries if country in settings.countries]


_ENCRYPTED: Final = frozenset({"require", "verify-ca", "verify-full"})
"""Values of PostgreSQL's ``sslmode`` that never fall back to plain text; the default ``prefer`` does."""
_UNENCRYPTED: Final = "without encryption"
_UNVERIFIED: Final = "without a check of its certificate"


@dataclass(frozen=True, slots=True)
class UnsafeConnection:
    """A connection that an attacker on the network path could read or take over."""

    host: str
    """The host that the service connects to."""
    how: str
    """``without encryption`` or ``without a check of its certificate``."""
    refusal: StartRefusal
    """The refusal in production."""


def connection_refusals(settings: Settings) -> Iterator[StartRefusal]:
    """Yield the refusal of each unsafe connection, except to a host of ``plaintext_hosts``."""
    for connection in unsafe_connections(settings):
        if connection.host not in settings.plaintext_hosts:
            yield connection.refusal


def unsafe_connections(settings: Settings) -> Iterator[UnsafeConnection]:
    """Yield every unsafe connection to another host, also to a host of ``plaintext_hosts``."""
    yield from _redis(settings.redis)
    yield from _ledger(settings.ledger.url.get_secret_value())
    yield from _web(RefusalName.GATEWAY_UNENCRYPTED, "gateways", settings.gateways, "numbers and codes")
    yield from _web(RefusalName.POLICY_UNENCRYPTED, "policies", settings.policies, "numbers and credentials")
    yield from _web(RefusalName.POLICY_UNENCRYPTED, "human_checks", settings.human_checks, "tokens and credentials")


def _redis(redis: RedisSettings) -> Iterator[UnsafeConnection]:
    url = redis.url.get_secret_value()
    if not redis.sentinels and not leads_elsewhere(url):  # Sentinels may name any host
        return
    if urlsplit(url).scheme == "redis":
        sentence = "Redis is on another host and the connection is not encrypted."
        refusal = StartRefusal(RefusalName.REDIS_UNENCRYPTED, "redis.url", sentence, "Use rediss://.")
        yield UnsafeConnection(host_of(url), _UNENCRYPTED, refusal)
    elif "none" in _parameters(url).get("ssl_cert_reqs", []):
        action = "Take ssl_cert_reqs=none away, and name the authority of the certificate in ssl_ca_certs."
        yield _unverified_connection(url, "redis.url", action)


def _ledger(url: str) -> Iterator[UnsafeConnection]:
    if not leads_elsewhere(url):
        return
    parameters = _parameters(url)
    modes = parameters.get("sslmode", [])
    if not modes or not _ENCRYPTED.issuperset(modes):
        sentence = "PostgreSQL is on another host and the connection may not be encrypted."
        action = "Add sslmode=verify-full and sslrootcert."
        refusal = StartRefusal(RefusalName.LEDGER_UNENCRYPTED, "ledger.url", sentence, action)
        yield UnsafeConnection(host_of(url), _UNENCRYPTED, refusal)
    elif "require" in modes and "sslrootcert" not in parameters:  # with sslrootcert, require means verify-ca
        action = "Set sslmode=verify-full, and name the authority of the certificate in sslrootcert."
        yield _unverified_connection(url, "ledger.url", action)


def _parameters(url: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(url).query)


def _unverified_connection(url: str, place: str, action: str) -> UnsafeConnection:
    sentence = "It is encrypted, but any certificate will do: an attacker on the way may pose as the server."
    return UnsafeConnection(
        host_of(url), _UNVERIFIED, StartRefusal(RefusalName.CERTIFICATE_NOT_VERIFIED, place, sentence, action)
    )


def _web(
    name: RefusalName,
    section: str,
    entries: Mapping[str, Configured[Any, Any]],
    what: str,
) -> Iterator[UnsafeConnection]:
    for entry_name, entry in entries.items():
        for place, value in walk_settings(entry.settings, f"{section}.{entry_name}", tables=False):
            address = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            if address.lower().startswith("http://") and leads_elsewhere(address):
                sentence = f"The connection is not encrypted: {what} can be read on the way."
                yield UnsafeConnection(
                    host_of(address), _UNENCRYPTED, StartRefusal(name, place, sentence, "Use https://.")
                )


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
    """Whether a root or pseudonym key is a sample in letters, or the SHA-256 digest of a sample."""
    return f"sha256:{key.hex()}" in _KNOWN_KEYS or (key.isascii() and is_sample(key.decode()))


def is_sample(secret: str) -> bool:
    """Whether a secret is a sample, an unreplaced placeholder, or a run such as ``abcdef``.

    A sample (``CHANGE-ME``, ``secret2024``) consists of sample words, in any case, and at most a number behind them.
    """
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


def sample_refusals(settings: Settings) -> Iterator[StartRefusal]:
    """Yield a refusal for each secret of the settings that is a sample, except the keys of the installation."""
    yield from _password("redis.url", settings.redis.url)
    yield from _password("ledger.url", settings.ledger.url)
    yield from _api_keys(settings)
    for place, secret in provider_secrets(settings):
        if is_sample(secret):
            yield _sample_refusal(
                place, "It is a sample, or a placeholder that was not filled in, so it is public.", "Set the real one."
            )


def provider_secrets(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield path and value of each secret in the settings of gateways, policies and human checks."""
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


def _password(place: str, url: SecretStr) -> Iterator[StartRefusal]:
    quoted = urlsplit(url.get_secret_value()).password or ""
    password = unquote(quoted)
    if is_sample(quoted) or is_sample(password):  # unquoting would change a placeholder such as %DB_PASSWORD%
        yield _sample_refusal(
            place,
            "Its password is a sample, or a placeholder that was not filled in, so it is public.",
            "Choose one at random: openssl rand -hex 16",
        )
    elif 0 < len(password) < MIN_PASSWORD_LENGTH:
        sentence = f"Its password has fewer than {MIN_PASSWORD_LENGTH} characters: it can be guessed."
        yield _sample_refusal(place, sentence, "Choose one at random: openssl rand -hex 16")


def _api_keys(settings: Settings) -> Iterator[StartRefusal]:
    for name, application in settings.applications.items():
        for position, key in enumerate(application.keys):
            if key in _KNOWN_KEYS or len(set(key.removeprefix("sha256:"))) == 1:
                place = f"applications.{name}.keys.{position}"
                yield _sample_refusal(place, "It is the hash of a sample.", f"Make a key: otp-service key new {name}")


def _sample_refusal(place: str, sentence: str, action: str) -> StartRefusal:
    return StartRefusal(RefusalName.SAMPLE_SECRET, place, sentence, action)


MAX_GUESSES = 100
"""Maximum wrong codes for a number in an hour, of a million possible codes."""
MAX_MESSAGES = 100
"""Maximum messages to a number in an hour."""
AGAINST_FRAUD = frozenset({"address", "block", "country"})
"""Scopes of the rules that detect traffic whose codes are not entered."""
_HOUR = 3600
_WRITABLE = "Every user of this host can change it."


def start_refusals(settings: Settings, *, root_keys: bool = True) -> list[StartRefusal]:
    """Return all refusals to start; without ``root_keys`` missing root keys are allowed."""
    refusals = [*_keys(settings, root_keys=root_keys), *country_refusals(settings)]
    if settings.production:
        for check in _PRODUCTION_CHECKS:
            refusals += check(settings)
    return refusals


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
        yield StartRefusal(RefusalName.KEY_INVALID, variable, str(unfit), f"Correct it, or make another: {made}")
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
        yield StartRefusal(RefusalName.NO_PURPOSE, "purposes", "No purpose is set.", action)
    if not settings.gateways:
        action = "Add a section such as [gateways.primary]."
        yield StartRefusal(RefusalName.NO_GATEWAY, "gateways", "No gateway is set.", action)


def _number_limit(settings: Settings) -> Iterator[StartRefusal]:
    limits, place = settings.limits.parsed.number, "limits.number"
    if not limits:
        sentence = "No limit is set: anyone could flood a number."
        yield StartRefusal(RefusalName.NUMBER_LIMIT, place, sentence, "Set one such as '10/day'.")
    elif not any(limit.seconds >= _HOUR and limit.amount <= MAX_MESSAGES for limit in limits):
        sentence = (
            f"No window of an hour or longer allows at most {MAX_MESSAGES} messages: anyone could flood a number."
        )
        yield StartRefusal(RefusalName.NUMBER_LIMIT, place, sentence, "Add one such as '10/day'.")


def _guess_limit(settings: Settings) -> Iterator[StartRefusal]:
    limits, place = settings.limits.parsed.failed_checks, "limits.failed_checks"
    if not limits:
        sentence = "No limit is set: a new verification would buy new guesses."
        yield StartRefusal(RefusalName.GUESS_LIMIT, place, sentence, "Set one such as '10/day'.")
    elif not any(limit.seconds >= _HOUR and limit.amount <= MAX_GUESSES for limit in limits):
        sentence = f"No window of an hour or longer allows at most {MAX_GUESSES} wrong codes: a code could be guessed."
        yield StartRefusal(RefusalName.GUESS_LIMIT, place, sentence, "Add one such as '10/day'.")


def _vital_rules(settings: Settings) -> Iterator[StartRefusal]:
    for rule in GUARD_RULES.values():
        if rule.vital and settings.guard.mode(rule.id) is not Mode.ENFORCE:
            sentence = f"{rule.id} is not enforced: anyone could flood numbers or guess codes."
            yield StartRefusal(RefusalName.VITAL_RULE, "guard.modes", sentence, 'Set it to "enforce".')


def _fraud_rules(settings: Settings) -> Iterator[StartRefusal]:
    ruleset = build_ruleset(settings.guard, settings.limits.parsed, SpendSettings())
    active = {bucket.rule for bucket in ruleset.buckets} | {breaker.rule for breaker in ruleset.breakers}
    if all(GUARD_RULES[rule].scope not in AGAINST_FRAUD for rule in active):
        yield StartRefusal(
            RefusalName.FRAUD_RULE,
            "guard.modes",
            "No rule against fraud is active, not even to record: fraud could cost a message for each start.",
            'Set those of block, country or address to "enforce", or to "record_only" while you look.',
        )


def _ceilings(settings: Settings) -> Iterator[StartRefusal]:
    for name, application in settings.applications.items():
        yield from ceiling_refusals(settings, name, f"applications.{name}.", application)


def ceiling_refusals(
    settings: Settings, name: str, path: str, application: ApplicationSection
) -> Iterator[StartRefusal]:
    """Yield a refusal if an application has no effective spending ceiling in one of its countries.

    ``path`` is the prefix of the application's settings in refusals, such as ``applications.shop.``.
    """
    spend = application.spend
    if not spend.is_decided_for(application.countries):
        yield StartRefusal(
            RefusalName.NO_CEILING,
            f"{path}spend",
            "Nothing limits its spending: a stolen key or inflated traffic costs without end.",
            'Set a ceiling such as day = "4000", or day = "none" where you know that.',
        )
    elif unbound := sorted(filter(partial(_is_unbound, settings, spend), application.countries)):
        sentence = f"The ceilings of {name} bound nothing in {', '.join(unbound)}: their rules are off."
        action = 'Set spend.application and spend.country to "enforce", or to "record_only" while you look.'
        yield StartRefusal(RefusalName.NO_CEILING, "guard.modes", sentence, action)


def _is_unbound(settings: Settings, spend: SpendSettings, country: str) -> bool:
    """Whether no ceiling limits spending for a country, because the rules of its ceilings are off."""
    by_rule = {"spend.application": spend, "spend.country": spend.of_country(country)}
    return not any(
        ceilings.is_waived or (ceilings.is_set and settings.guard.mode(rule) is not Mode.OFF)
        for rule, ceilings in by_rule.items()
    )


def _prices(settings: Settings) -> Iterator[StartRefusal]:
    if minor_digits(settings.guard.currency) is None:
        sentence = "ISO 4217 has no such currency, so prices and ceilings mean nothing."
        action = "Set the one that your providers bill in."
        yield StartRefusal(RefusalName.PRICE, "guard.currency", sentence, action)
    for name, prices in settings.prices.items():
        if free := sorted(key for key, price in prices.of.items() if not price):
            sentence = f"{', '.join(free)} costs nothing: no ceiling would see its messages."
            action = 'Set what it costs; of a flat rate a share, or "0.000001".'
            yield StartRefusal(RefusalName.PRICE, f"gateways.{name}.prices", sentence, action)


def _open_files(settings: Settings) -> Iterator[StartRefusal]:
    for path, secret in settings.files.items():
        if _is_open(path, S_IROTH | S_IWOTH if secret else S_IWOTH):
            sentence = "It holds secrets, and every user of this host can read or change it." if secret else _WRITABLE
            action = f"Give it to the user of the service alone: chmod 600 {path}"
            yield StartRefusal(RefusalName.OPEN_FILE, str(path), sentence, action)
        elif folder := _open_folder(path):
            sentence = f"Every user of this host can put another in its place: {folder} is open to all."
            yield StartRefusal(RefusalName.OPEN_FILE, str(path), sentence, f"Close the folder: chmod o-w {folder}")


def _is_open(path: Path, modes: int) -> bool:
    """Whether users other than owner and group can reach a file, and have any of the permissions ``modes``."""
    try:
        real = path.resolve(strict=True)
        return not _is_mounted(real) and _is_reached(real) and bool(real.stat().st_mode & modes)
    except OSError:  # a parent folder is closed even to this process
        return False


def _open_folder(path: Path) -> Path | None:
    """Return a parent folder of a file, or of a link to it, in which users other than owner and group may rename files.

    A folder with the sticky bit, such as /tmp, does not count: users may rename only their own files there.
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
    """Whether a container engine mounted a file, which may be open because the container has no other users.

    Docker and Podman mount secrets in /run/secrets, Kubernetes in folders such as ``..2026_11_28_06_30_00.1``.
    """
    return real.is_relative_to("/run/secrets") or any(part.startswith("..") for part in real.parts)


def _is_reached(path: Path) -> bool:
    """Whether users other than owner and group may pass all parent folders."""
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


def _browser_origins(settings: Settings) -> Iterator[StartRefusal]:
    for name, application in settings.applications.items():
        if application.plain_origins:
            yield StartRefusal(
                RefusalName.ORIGIN_FOR_DEVELOPMENT,
                f"applications.{name}.browser_origins",
                f"{', '.join(application.plain_origins)}: for development only.",
                "List the https:// origins of your sites alone.",
            )


def _gateways(settings: Settings) -> Iterator[StartRefusal]:
    for name, gateway in settings.gateways.items():
        if gateway.plugin_class.development_only:
            yield StartRefusal(
                RefusalName.GATEWAY_FOR_DEVELOPMENT,
                f"gateways.{name}",
                f"{gateway.kind} is for development only.",
                "Choose a kind that really sends.",
            )


def _sim_boxes(settings: Settings) -> Iterator[StartRefusal]:
    for country, rules in settings.countries.items():
        for name in gateways_for_country(settings, country, *_REGULATED) if rules.sim_boxes == "refused" else ():
            if settings.gateways[name].settings.sim_box:
                sentence = f"It leaves by SIM cards, and may carry no messages to {country}."
                action = f"Route messages to {country} through another."
                yield StartRefusal(RefusalName.SIM_BOX, f"gateways.{name}", sentence, action)


_PRODUCTION_CHECKS: tuple[Callable[[Settings], Iterator[StartRefusal]], ...] = (
    _equal_keys,
    _open_files,
    sample_refusals,
    connection_refusals,
    _empty_sections,
    _number_limit,
    _guess_limit,
    _vital_rules,
    _fraud_rules,
    _ceilings,
    _prices,
    _countries,
    _browser_origins,
    _gateways,
    _sim_boxes,
)


def contradictions(settings: Settings) -> list[str]:
    """Return a sentence with the setting for each unknown name and each invalid limit."""
    return [
        *_limit_faults(settings),
        *_purpose_faults(settings),
        *_application_faults(settings),
        *_key_faults(settings),
        *_route_faults(settings),
        *_price_faults(settings),
        *_policy_faults(settings),
        *_sender_faults(settings),
    ]


def _limit_faults(settings: Settings) -> Iterator[str]:
    try:
        build_ruleset(settings.guard, settings.limits.parsed, SpendSettings())
    except ConfigurationError as malformed:
        yield str(malformed)


def _purpose_faults(settings: Settings) -> Iterator[str]:
    for name, purpose in settings.purposes.items():
        for before in sorted(set(purpose.after) - settings.purposes.keys()):
            yield f"purposes.{name}.after: there is no section purposes.{before}."


def unmet_needs(settings: Settings, application: ApplicationSection) -> Iterator[str]:
    """Yield a fault for each missing requirement of an application."""
    if application.human_check not in {NO_HUMAN_CHECK, ASSERTION, *settings.human_checks}:
        known = f"is {NO_HUMAN_CHECK}, {ASSERTION} or a section of human_checks"
        yield f"human_check: {known}; there is none of this name."
    if application.proofs and settings.proof_issuer is None:
        yield "proofs: needs proofs.issuer or http.public_url, which proofs name as their issuer."
    dialects = installed_names(DIALECTS)
    if not set(dialects).issuperset(application.dialects):
        yield f"dialects: a dialect is not installed; installed: {', '.join(dialects) or 'none'}."
    yield from _step_up_faults(settings, application)
    yield from _page_faults(settings, application)


def _step_up_faults(settings: Settings, application: ApplicationSection) -> Iterator[str]:
    for name in (purpose for purpose in application.purposes if purpose in settings.purposes):
        after = settings.purposes[name].after
        if after and not application.proofs:
            yield f"proofs: has to be true, because purposes.{name} comes after a proof of another purpose."
        if after and not set(after) & set(application.purposes):
            yield f"purposes: {name} comes after {' or '.join(after)}, which it may not use."


def _page_faults(settings: Settings, application: ApplicationSection) -> Iterator[str]:
    public = settings.http.public_url
    if not application.page_return_urls:
        return
    if public is None:
        yield "page_return_urls: needs http.public_url, where the pages are."
    shown = (*application.page_return_urls, *([public] if public else ()))
    if settings.production and not all(url.startswith("https:") for url in shown):
        yield "page_return_urls: these and http.public_url begin with https:// in production."


def _application_faults(settings: Settings) -> Iterator[str]:
    for name, application in settings.applications.items():
        for purpose in sorted(set(application.purposes) - settings.purposes.keys()):
            yield f"applications.{name}.purposes: there is no section purposes.{purpose}."
        yield from (f"applications.{name}.{fault}" for fault in brand_faults(name, application))
        needs = unmet_needs(settings, application)
        yield from (f"applications.{name}.{fault}" for fault in needs)


def brand_faults(name: str, application: ApplicationSection) -> Iterator[str]:
    """Yield a fault if an application has no brand and its section's name is not a valid brand."""
    if application.name is None and (rule := broken_name_rule(name.replace("_", "-"))):
        yield f"name: is missing, and messages would show the section's own: it {rule}."


def _key_faults(settings: Settings) -> Iterator[str]:
    owners: dict[str, str] = {}
    for name, application in settings.applications.items():
        for position, key in enumerate(application.keys):
            if key in owners:
                yield f"applications.{name}.keys.{position}: is a key of applications.{owners[key]} already."
            owners.setdefault(key, name)


def _route_faults(settings: Settings) -> Iterator[str]:
    for position, route in enumerate(settings.routes):
        for gateway in route.gateways:
            if gateway not in settings.gateways:
                yield f"routes.{position}.gateways: there is no section gateways.{gateway}."
        for purpose in sorted(set(route.purposes) - settings.purposes.keys()):
            yield f"routes.{position}.purposes: there is no section purposes.{purpose}."


def _policy_faults(settings: Settings) -> Iterator[str]:
    for name, policy in settings.policies.items():
        for purpose in sorted(set(policy.settings.purposes) - settings.purposes.keys()):
            yield f"policies.{name}.purposes: there is no section purposes.{purpose}."
        for application in sorted(set(policy.settings.applications) - settings.applications.keys()):
            yield f"policies.{name}.applications: there is no section applications.{application}."


def _sender_faults(settings: Settings) -> Iterator[str]:
    for name, sender in settings.senders.items():
        rules = settings.countries.get(sender.country)
        for fault in sender_id_faults(sender.sender_id, rules.reserved_sender_ids if rules else ()):
            yield f"senders.{name}.sender_id: {fault}."


def _price_faults(settings: Settings) -> Iterator[str]:
    if any(_route_faults(settings)):
        return
    for name, application in settings.applications.items():
        yield from missing_prices(settings, name, application)


def missing_prices(settings: Settings, name: str, application: ApplicationSection) -> Iterator[str]:
    """Yield a fault for each gateway without a price for messages that count towards the application's ceiling."""
    missing: dict[str, set[str]] = {}
    for gateway, country, channel in _deliveries(settings, application) if application.spend.is_set else ():
        if settings.prices[gateway].unit(country, channel) is None:
            missing.setdefault(gateway, set()).add(f"{country}/{channel}")
    for gateway, places in missing.items():
        yield (
            f"gateways.{gateway}.prices: there is none for {', '.join(sorted(places))}: "
            f"applications.{name}.spend would not see these messages."
        )


def _deliveries(settings: Settings, application: ApplicationSection) -> Iterator[tuple[str, str, str]]:
    """Yield gateway, country and channel of every message that an application may send."""
    for purpose, country in product(application.purposes, application.countries):
        if purpose in settings.purposes:
            for channel in settings.purposes[purpose].channels:
                for gateway in settings.routing.gateways_for(country, purpose, channel):
                    yield gateway, country, channel
