"""What ``doctor`` finds unsafe in the settings: what refuses to start, and what only deserves a warning."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from otp_service.cli.findings import Finding, Level, ceiling_findings, refused
from otp_service.cli.output import duration
from otp_service.domain.guard import RULES, Mode
from otp_service.domain.verification import GRACE, LONGEST_LIFE
from otp_service.errors import RefusalName
from otp_service.settings import Settings
from otp_service.settings.sections import canonical, is_local, leads_elsewhere
from otp_service.settings.startup_checks import SHORTEST, is_sample, provider_secrets, refusals, unsafe_lines

_KEYS = frozenset({RefusalName.KEY_MISSING, RefusalName.KEY_UNFIT, RefusalName.SAMPLE_KEY, RefusalName.KEY_USED_TWICE})


def safety_findings(settings: Settings) -> Iterator[Finding]:
    """Yield what refuses a start with these settings, and what is allowed although it is not safe."""
    reasons = refusals(settings)
    yield from map(refused, reasons)
    if not any(reason.name in _KEYS for reason in reasons):
        yield _keys(settings)
    yield from _lines(settings)
    yield from _protocols(settings)
    yield from _exceptions_without_use(settings)
    yield from _redis_password(settings)
    yield from _short_secrets(settings)
    yield from _protections(settings) if settings.production else ()


def _keys(settings: Settings) -> Finding:
    """Name the root keys, and tell when those that make nothing new may go."""
    active, *others = settings.core_keyring().root_ids
    sentence = f"The pseudonym key is there. New verifications are made with the root key {active}"
    if not others:
        return Finding(Level.OK, "keys", f"{sentence}.")
    kept = duration(max((purpose.ttl for purpose in settings.purposes.values()), default=LONGEST_LIFE) + GRACE)
    return Finding(
        Level.OK,
        "keys",
        f"{sentence}; those of {', '.join(others)} are still known.",
        f"To retire one: it may go {kept} after the last process was reloaded with {active} in front.",
    )


def _lines(settings: Settings) -> Iterator[Finding]:
    for line in unsafe_lines(settings):
        if line.host in settings.plaintext_hosts:
            yield _exception(line.refusal.place, line.host, line.how)
        elif not settings.production:
            yield refused(line.refusal, Level.WARN)


def _protocols(settings: Settings) -> Iterator[Finding]:
    """Yield the gateways whose own protocol is not encrypted."""
    for name, host in _plain_protocols(settings).items():
        place = f"gateways.{name}"
        if host in settings.plaintext_hosts:
            yield _exception(place, host, "without encryption")
        else:
            kind = settings.gateways[name].kind
            yield Finding(
                Level.WARN,
                place,
                f"{kind} encrypts nothing by itself: numbers and codes can be read on the way to {host}.",
                "Set tls = true where the other end offers it; else use a private line or a VPN, and name the host in "
                "plaintext_hosts.",
            )


def _exception(place: str, host: str, how: str) -> Finding:
    return Finding(
        Level.WARN,
        place,
        f"{host} is reached {how}, which plaintext_hosts allows.",
        "Make sure that the network on the way is yours alone, or use TLS with a certificate that is verified and take "
        "the host out of the list.",
    )


def _exceptions_without_use(settings: Settings) -> Iterator[Finding]:
    used = {line.host for line in unsafe_lines(settings)} | set(_plain_protocols(settings).values())
    for host in settings.plaintext_hosts:
        if host not in used:
            yield Finding(
                Level.WARN,
                "plaintext_hosts",
                f"Nothing is reached at {host} without encryption.",
                "Take it out of the list, before something is.",
            )


def _plain_protocols(settings: Settings) -> dict[str, str]:
    """Return the other hosts that a gateway's own protocol reaches without encryption, by the gateways' names."""
    found = {name: one.settings.plaintext_host for name, one in settings.gateways.items()}
    return {name: canonical(host) for name, host in found.items() if host and not is_local(host)}


def _redis_password(settings: Settings) -> Iterator[Finding]:
    url = settings.redis.url.get_secret_value()
    if leads_elsewhere(url) and not urlsplit(url).password:
        yield Finding(
            Level.WARN,
            "redis.url",
            "Redis is on another host and asks for no password.",
            "Give the service a user of its own (ACL), with the commands that it needs only.",
        )


def _short_secrets(settings: Settings) -> Iterator[Finding]:
    for place, secret in provider_secrets(settings) if settings.production else ():
        if len(secret) < SHORTEST and not is_sample(secret):
            yield Finding(
                Level.WARN,
                place,
                f"It has fewer than {SHORTEST} characters: it can be guessed.",
                "Ask the provider for a longer one, if its system takes any.",
            )


def _protections(settings: Settings) -> Iterator[Finding]:
    """Yield what guards against abuse and loss, and does not: somebody may have chosen that, and should be reminded."""
    idle = {rule.id: settings.guard.mode(rule.id) for rule in RULES.values() if rule.mode is Mode.ENFORCE}
    if told := [f"{rule} ({mode})" for rule, mode in idle.items() if mode is not Mode.ENFORCE]:
        action = "Enforce them, once you have seen what they would refuse: otp-service guard status"
        yield Finding(Level.WARN, "guard.modes", f"These rules refuse nothing: {', '.join(told)}.", action)
    for name, ruleset in settings.core_rulesets.items():
        yield from ceiling_findings(name, ruleset)
    if not settings.audit.export:
        yield Finding(
            Level.WARN,
            "audit.export",
            "Heads of the audit chain stay here: who changes the database can cut its end off unnoticed.",
            "Hand them out to where administrators of the database cannot change them, such as syslog://HOST:PORT.",
        )
