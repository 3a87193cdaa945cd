"""Settings that a start is refused with, each with its name, what is told of it, and its safe neighbour."""

import base64
import copy
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from support_installation import key
from support_ledger import another_ledger
from support_valkey import free_port

from otp_service.domain.guard import GUARD_RULES
from otp_service.domain.keyring import api_key_hash

PSEUDONYM_KEY, ROOT_KEY = key(), key()
TWILIO = {
    "kind": "twilio",
    "account_sid": f"AC{'0' * 32}",
    "auth_token": "3f9a-of-twilio",
    "from": "+15550001111",
}
HTTP = {"kind": "http", "url": "https://sms.example/send", "form": {"to": "{to}", "text": "{text}"}}
SMPP = {"kind": "smpp", "host": "smsc.example", "system_id": "acme", "password": "7f3b90ce"}
SIM_SWAP = {
    "kind": "camara_sim_swap",
    "unknown": "deny",
    "base_url": "https://api.example/v2",
    "token_url": "https://api.example/token",
    "client_id": "acme",
    "client_secret": "9c1d-of-the-operator",
}
RECEIPTS = {"status": {"query": "s"}, "statuses": {"delivered": ["1"]}}
SOUND: dict[str, Any] = {
    "environment": "production",
    "redis": {"url": "redis://localhost:6379/0"},
    "ledger": {"url": another_ledger()},
    "http": {"port": free_port(), "metrics_port": 0, "processes": 1},
    "purposes": {"login": {"channels": ["sms"]}},
    "applications": {
        "shop": {
            "keys": [api_key_hash(key())],
            "purposes": ["login"],
            "countries": ["PK"],
            "region": "PK",
            "spend": {"day": "none"},
        }
    },
    "gateways": {"primary": TWILIO},
    "OTP_SERVICE_ROOT_KEYS": f"k1:{ROOT_KEY}",
    "OTP_SERVICE_PSEUDONYM_KEY": PSEUDONYM_KEY,
}


@dataclass(frozen=True)
class Unsafe:
    """A setting that refuses, what is told of it, and the same setting as it is accepted."""

    name: str
    given: dict[str, Any]
    place: str
    sentence: str
    action: str
    safe: dict[str, Any] = field(default_factory=dict)

    @property
    def line(self):
        return f"{self.place}: {self.sentence} {self.action} [{self.name}]"


REDIS_LINE = (
    "redis.url",
    "Redis is on another host and the connection is not encrypted.",
    "Use rediss://.",
)
LEDGER_LINE = (
    "ledger.url",
    "PostgreSQL is on another host and the connection may not be encrypted.",
    "Add sslmode=verify-full and sslrootcert.",
)
CERTIFICATE_NOT_VERIFIED = "The certificate is not verified: an attacker on the network path could pose as the server."
GATEWAY_CLEAR = ("The connection is not encrypted: numbers and codes can be read on the network path.", "Use https://.")
POLICY_CLEAR = (
    "The connection is not encrypted: numbers and credentials can be read on the network path.",
    "Use https://.",
)
SAMPLE = ("It is a sample or an unreplaced placeholder, so it is public.", "Set the real secret.")
SAMPLE_PASSWORD = (
    "Its password is a sample or an unreplaced placeholder, so it is public.",
    "Set a random password: openssl rand -hex 16",
)
SHORT_PASSWORD = (
    "Its password has fewer than 8 characters: it can be guessed.",
    "Set a random password: openssl rand -hex 16",
)
NOT_OF_THE_HOST = "postgresql://otp:9f2c-of-sql@db.example/otp"
MISSING = "The variable is not set."
ROOTS, PSEUDONYM = "OTP_SERVICE_ROOT_KEYS", "OTP_SERVICE_PSEUDONYM_KEY"
MEND_ROOT = "Correct it, or make a key: otp-service key root"
MEND_PSEUDONYM = "Correct it, or make a key: otp-service key pseudonym"
NO_HOUR = "No limit of an hour or longer allows at most 100 wrong codes: a code could be guessed."
NO_LONG_WINDOW = "No limit of an hour or longer allows at most 100 messages: a number could be flooded."
OTHER_ROOT, OTHER_PSEUDONYM = "Make a random key: otp-service key root", "Make a random key: otp-service key pseudonym"
A_SAMPLE = "A key is a sample, not random."
CEILING = (
    "Nothing limits its spending: a stolen key or inflated traffic could cost any amount.",
    'Set a ceiling such as day = "4000", or day = "none" to allow any spending.',
)
NO_RULE = (
    "No rule against fraud is active, not even to record: fraud could cost a message for each start.",
    'Set rules of block, country or address to "enforce", or to "record_only" to observe.',
)
AGAINST_FRAUD = [rule for rule in GUARD_RULES if rule.startswith(("address.", "block.", "country."))]
PRICED = {**TWILIO, "prices": {"*": "2.50"}}


def in_base64(raw):
    return base64.b64encode(raw).decode()


CONSTANT_KEYS = {
    "all bytes alike": b"\xa7" * 32,
    "counting up": bytes(range(32)),
    "counting up over the end": bytes(index % 256 for index in range(240, 280)),
    "counting down in threes": bytes((250 - 3 * index) % 256 for index in range(64)),
    "a half that repeats": hashlib.sha256(b"some half").digest()[:16] * 2,
    "eleven bytes that repeat": (hashlib.sha256(b"eleven").digest()[:11] * 4)[:40],
    "the digest of nothing": hashlib.sha256(b"").digest(),
    "the longer digest of nothing": hashlib.sha512(b"").digest(),
    "the younger digest of nothing": hashlib.sha3_256(b"").digest(),
    "the digest of an empty line": hashlib.sha256(b"\n").digest(),
    "the digest of a word": hashlib.sha256(b"secret").digest(),
    "a placeholder": b"change-me-please-to-something-random",
    "words": b"secretsecretpasswordtestpassword2024",
    "digits of a sample": b"0123456789abcdef0123456789abcdef0",
}
"""Keys that anybody has: 256 bits and more of them, but none that were drawn by lot."""

EVERYWHERE = {
    "no root key": Unsafe(
        "key-missing", {ROOTS: ""}, ROOTS, MISSING, f"Make a key (otp-service key root) and set {ROOTS}_FILE."
    ),
    "no pseudonym key": Unsafe(
        "key-missing",
        {PSEUDONYM: ""},
        PSEUDONYM,
        MISSING,
        f"Make a key (otp-service key pseudonym) and set {PSEUDONYM}_FILE.",
    ),
    "a short root key": Unsafe(
        "key-invalid", {ROOTS: "k1:c2hvcnQ="}, ROOTS, "A key has 40 bits; at least 256 are needed.", MEND_ROOT
    ),
    "a short pseudonym key": Unsafe(
        "key-invalid", {PSEUDONYM: "c2hvcnQ="}, PSEUDONYM, "A key has 40 bits; at least 256 are needed.", MEND_PSEUDONYM
    ),
    "a root key that is not base64": Unsafe(
        "key-invalid", {ROOTS: "k1:change-me!"}, ROOTS, "A key is not valid base64.", MEND_ROOT
    ),
    "a pseudonym key that is not base64": Unsafe(
        "key-invalid", {PSEUDONYM: "change-me!"}, PSEUDONYM, "A key is not valid base64.", MEND_PSEUDONYM
    ),
    "a root key without an id": Unsafe(
        "key-invalid",
        {ROOTS: ROOT_KEY},
        ROOTS,
        "A root key is written id:base64, the id with 1 to 8 of a-z and 0-9.",
        MEND_ROOT,
    ),
    "a root key's id twice": Unsafe(
        "key-invalid",
        {ROOTS: f"k1:{ROOT_KEY} k1:{ROOT_KEY}"},
        ROOTS,
        "Root key id 'k1' appears twice.",
        MEND_ROOT,
        {ROOTS: f"k1:{ROOT_KEY} k2:{key()}"},
    ),
    "a sample of a root key": Unsafe(
        "sample-key",
        {ROOTS: "k1:" + "A" * 43 + "="},
        ROOTS,
        "A key is a sample, not random.",
        "Make a random key: otp-service key root",
    ),
    "a sample of a pseudonym key": Unsafe(
        "sample-key",
        {PSEUDONYM: "A" * 43 + "="},
        PSEUDONYM,
        "A key is a sample, not random.",
        "Make a random key: otp-service key pseudonym",
    ),
    **{
        f"a root key, {name}": Unsafe("sample-key", {ROOTS: f"k1:{in_base64(raw)}"}, ROOTS, A_SAMPLE, OTHER_ROOT)
        for name, raw in CONSTANT_KEYS.items()
    },
    **{
        f"a pseudonym key, {name}": Unsafe(
            "sample-key", {PSEUDONYM: in_base64(raw)}, PSEUDONYM, A_SAMPLE, OTHER_PSEUDONYM
        )
        for name, raw in CONSTANT_KEYS.items()
    },
}
REGISTERED = {"country": "PK", "sender_id": "ACME SHOP", "reference": "PTA-1"}
HERE = {"redis.hosted_in": "PK", "ledger.hosted_in": "PK", "logging": {"hosted_in": "PK"}, "residency": "PK"}
OF_A_COUNTRY = {
    "a part in another country": Unsafe(
        "residency",
        {**HERE, "gateways.primary.hosted_in": "US"},
        "gateways.primary.hosted_in",
        "It is in US, and with residency = PK personal data stay in PK.",
        "Route messages to PK through another gateway, and this gateway to other countries only.",
        {**HERE, "gateways.primary.hosted_in": "PK"},
    ),
    "a server in another country": Unsafe(
        "residency",
        {**HERE, "gateways.primary.hosted_in": "PK", "redis.hosted_in": "US"},
        "redis.hosted_in",
        "It is in US, and with residency = PK personal data stay in PK.",
        "Use a system in PK.",
        {**HERE, "gateways.primary.hosted_in": "PK"},
    ),
    "a part whose country is not set": Unsafe(
        "residency",
        HERE,
        "gateways.primary.hosted_in",
        "Its country is not set, and with residency = PK personal data stay in PK.",
        "Set the country where it runs.",
        {**HERE, "gateways.primary.hosted_in": "PK"},
    ),
    "an application that asks for no consent": Unsafe(
        "consent-not-required",
        {"countries": {"PK": {"consent": "required"}}},
        "applications.shop.consent",
        "Messages to PK need a consent.",
        'Set it to "required".',
        {"countries": {"PK": {"consent": "required"}}, "applications.shop.consent": "required"},
    ),
    "no sender": Unsafe(
        "no-sender",
        {"countries": {"PK": {"senders": "registered"}}},
        "senders",
        "No sender is registered in PK for the application shop.",
        "Register a sender, and add a section [senders.NAME] with its reference.",
        {"countries": {"PK": {"senders": "registered"}}, "senders": {"acme": REGISTERED}},
    ),
    "a sender of another category": Unsafe(
        "no-sender",
        {
            "countries": {"PK": {"senders": "registered", "category": "transactional"}},
            "senders": {"acme": {**REGISTERED, "category": "promotional"}},
        },
        "senders",
        "The senders in PK for the application shop are of another category.",
        "Register a sender, and add a section [senders.NAME] with its reference.",
        {
            "countries": {"PK": {"senders": "registered", "category": "transactional"}},
            "senders": {"acme": REGISTERED},
        },
    ),
    "a gateway that shows another sender": Unsafe(
        "sender-not-shown",
        {
            "countries": {"PK": {"senders": "registered"}},
            "senders": {"acme": REGISTERED},
            "gateways.primary": HTTP,
        },
        "gateways.primary",
        "It does not set the sender, and PK requires registered senders.",
        "Route messages to PK through another gateway.",
        {
            "countries": {"PK": {"senders": "registered"}},
            "senders": {"acme": REGISTERED},
            "gateways.primary": {**HTTP, "sender": "Acme", "form": {"from": "{sender}", "text": "{text}"}},
        },
    ),
}
EVERYWHERE |= OF_A_COUNTRY
IN_PRODUCTION = {
    "a SIM box": Unsafe(
        "sim-box",
        {"countries": {"PK": {"sim_boxes": "refused"}}, "gateways.primary.sim_box": True},
        "gateways.primary",
        "It sends through SIM cards, which PK does not allow.",
        "Route messages to PK through another gateway.",
        {"countries": {"PK": {"sim_boxes": "refused"}}},
    ),
    "one key for two purposes": Unsafe(
        "key-used-twice",
        {ROOTS: f"k1:{ROOT_KEY} k0:{PSEUDONYM_KEY}"},
        PSEUDONYM,
        "It is a root key too.",
        "Before the first start, make another key: otp-service key pseudonym. After it, remove this root key.",
        {ROOTS: f"k1:{ROOT_KEY} k0:{key()}"},
    ),
    "one root key under two names": Unsafe(
        "key-used-twice",
        {ROOTS: f"k2:{ROOT_KEY} k1:{ROOT_KEY}"},
        ROOTS,
        "k1 and k2 are the same key.",
        "Set a new key for either id (otp-service key root), or remove it.",
        {ROOTS: f"k2:{ROOT_KEY} k1:{key()}"},
    ),
    "no ceiling": Unsafe(
        "no-ceiling",
        {"applications.shop.spend": {}, "gateways.primary": PRICED},
        "applications.shop.spend",
        *CEILING,
        {"applications.shop.spend": {"day": "4000"}, "gateways.primary": PRICED},
    ),
    "a ceiling for one country of two": Unsafe(
        "no-ceiling",
        {
            "applications.shop.countries": ["PK", "GB"],
            "applications.shop.spend": {"countries": {"PK": {"day": "4000"}}},
            "gateways.primary": PRICED,
        },
        "applications.shop.spend",
        *CEILING,
        {
            "applications.shop.countries": ["PK", "GB"],
            "applications.shop.spend": {"countries": {"PK": {"day": "4000"}, "*": {"hour": "5"}}},
            "gateways.primary": PRICED,
        },
    ),
    "a ceiling without a section": Unsafe(
        "no-ceiling",
        {
            "applications.shop": {
                "keys": [api_key_hash(key())],
                "purposes": ["login"],
                "countries": ["PK"],
            }
        },
        "applications.shop.spend",
        *CEILING,
        {
            "applications.shop.spend": {"countries": {"PK": {"hour": "none"}}},
        },
    ),
    "a ceiling that is switched off beside one for another country": Unsafe(
        "no-ceiling",
        {
            "applications.shop.countries": ["PK", "GB"],
            "applications.shop.spend": {"day": "4000", "countries": {"PK": {"day": "10"}}},
            "gateways.primary": PRICED,
            "guard": {"modes": {"spend.application": "off"}},
        },
        "guard.modes",
        "The ceilings of shop limit nothing in GB: their rules are off.",
        'Set spend.application and spend.country to "enforce", or to "record_only" to observe.',
        {
            "applications.shop.countries": ["PK", "GB"],
            "applications.shop.spend": {"day": "4000", "countries": {"PK": {"day": "10"}, "GB": {"day": "none"}}},
            "gateways.primary": PRICED,
            "guard": {"modes": {"spend.application": "off"}},
        },
    ),
    "a ceiling that is switched off": Unsafe(
        "no-ceiling",
        {
            "applications.shop.spend": {"day": "4000"},
            "gateways.primary": PRICED,
            "guard": {"modes": {"spend.application": "off"}},
        },
        "guard.modes",
        "The ceilings of shop limit nothing in PK: their rules are off.",
        'Set spend.application and spend.country to "enforce", or to "record_only" to observe.',
        {
            "applications.shop.spend": {"day": "4000"},
            "gateways.primary": PRICED,
            "guard": {"modes": {"spend.application": "record_only", "spend.country": "off"}},
        },
    ),
    "a price of nothing": Unsafe(
        "price",
        {"gateways.primary": {**TWILIO, "prices": {"PK": "2.50", "GB/sms": "0.00"}}},
        "gateways.primary.prices",
        "The price of GB/sms is 0: no ceiling would count its messages.",
        'Set the price of a message; for a flat rate, a share of it or "0.000001".',
        {"gateways.primary": {**TWILIO, "prices": {"PK": "2.50", "GB/sms": "0.000001"}}},
    ),
    "a currency that nobody has": Unsafe(
        "price",
        {"guard": {"currency": "PKX"}},
        "guard.currency",
        "It is not a currency of ISO 4217, so prices and ceilings mean nothing.",
        "Set the currency in which your providers bill.",
        {"guard": {"currency": "KWD"}},
    ),
    "no rule against fraud": Unsafe(
        "fraud-rule",
        {"guard": {"modes": dict.fromkeys(AGAINST_FRAUD, "off")}},
        "guard.modes",
        *NO_RULE,
        {"guard": {"modes": {**dict.fromkeys(AGAINST_FRAUD, "off"), "block.conversion": "record_only"}}},
    ),
    "rules against fraud that count nothing": Unsafe(
        "fraud-rule",
        {
            "guard": {
                "modes": {"block.conversion": "off", "country.conversion": "off"},
                "address": {"unapproved": [], "numbers": [], "countries": [], "network": [], "provider": []},
                "block": {"unapproved": []},
                "country": {"unapproved": [], "home": []},
            }
        },
        "guard.modes",
        *NO_RULE,
        {"guard": {"block": {"unapproved": []}}},
    ),
    "no purpose": Unsafe(
        "no-purpose",
        {"purposes": {}, "applications": {}},
        "purposes",
        "No purpose is set.",
        "Add a section such as [purposes.login].",
        {"applications": {}},  # those of the ledger may do
    ),
    "no gateway": Unsafe(
        "no-gateway", {"gateways": {}}, "gateways", "No gateway is set.", "Add a section such as [gateways.primary]."
    ),
    "the sandbox": Unsafe(
        "gateway-for-development",
        {"gateways.primary": {"kind": "sandbox"}},
        "gateways.primary",
        "sandbox is for development only.",
        "Use a kind that sends messages.",
    ),
    "the console beside a gateway that sends": Unsafe(
        "gateway-for-development",
        {"gateways.second": {"kind": "console"}},
        "gateways.second",
        "console is for development only.",
        "Use a kind that sends messages.",
        {"gateways.second": HTTP},
    ),
    "all countries": Unsafe(
        "all-countries",
        {"applications.shop.countries": ["*"]},
        "applications.shop.countries",
        "'*' is for development only.",
        "List the countries you send to.",
        {"applications.shop.countries": ["PK", "GB"]},
    ),
    "pages of a developer's machine": Unsafe(
        "origin-for-development",
        {"applications.shop.browser_origins": ["https://shop.example", "http://localhost:3000", "http://127.0.0.1"]},
        "applications.shop.browser_origins",
        "http://localhost:3000, http://127.0.0.1: for development only.",
        "List only https:// origins.",
        {"applications.shop.browser_origins": ["https://shop.example", "https://localhost:3000"]},
    ),
    "no limit of a number": Unsafe(
        "number-limit",
        {"limits": {"number": []}},
        "limits.number",
        "No limit of an hour or longer allows at most 100 messages: a number could be flooded.",
        "Add a limit such as '10/day'.",
    ),
    "number windows of minutes": Unsafe(
        "number-limit",
        {"limits": {"number": ["5/10 minutes", "10/59 minutes"]}},
        "limits.number",
        NO_LONG_WINDOW,
        "Add a limit such as '10/day'.",
        {"limits": {"number": ["1000/minute", "100/hour"]}},
    ),
    "a limit that limits nothing": Unsafe(
        "number-limit",
        {"limits": {"number": ["5/10 minutes", "1000000/day"]}},
        "limits.number",
        NO_LONG_WINDOW,
        "Add a limit such as '10/day'.",
        {"limits": {"number": ["100/day"]}},
    ),
    "no limit of guesses": Unsafe(
        "guess-limit",
        {"limits": {"failed_checks": []}},
        "limits.failed_checks",
        "No limit of an hour or longer allows at most 100 wrong codes: a code could be guessed.",
        "Add a limit such as '10/day'.",
    ),
    "a budget that is none": Unsafe(
        "guess-limit",
        {"limits": {"failed_checks": ["101/day"]}},
        "limits.failed_checks",
        NO_HOUR,
        "Add a limit such as '10/day'.",
        {"limits": {"failed_checks": ["100/hour"]}},
    ),
    "a budget of a minute": Unsafe(
        "guess-limit",
        {"limits": {"failed_checks": ["5/minute", "1000/day"]}},
        "limits.failed_checks",
        NO_HOUR,
        "Add a limit such as '10/day'.",
        {"limits": {"failed_checks": ["5/minute", "100/day"]}},
    ),
    "a vital rule that records": Unsafe(
        "vital-rule",
        {"guard": {"modes": {"number.lock": "record_only"}}},
        "guard.modes",
        "number.lock is not enforced: anyone could flood numbers or guess codes.",
        'Set it to "enforce".',
        {"guard": {"modes": {"number.cooldown": "record_only"}}},
    ),
    "Redis in plain text": Unsafe(
        "redis-unencrypted",
        {"redis.url": "redis://:9f2c-of-redis@redis.example/0"},
        *REDIS_LINE,
        {"redis.url": "rediss://:9f2c-of-redis@redis.example/0"},
    ),
    "Redis in plain text at an address": Unsafe(
        "redis-unencrypted", {"redis.url": "redis://10.0.0.5:6379"}, *REDIS_LINE, {"redis.url": "redis://127.0.0.2:6379"}
    ),
    "Redis in plain text at an address of IPv6": Unsafe(
        "redis-unencrypted", {"redis.url": "redis://[fd00::5]/0"}, *REDIS_LINE, {"redis.url": "redis://[::1]/0"}
    ),
    "Redis in plain text beside an exception": Unsafe(
        "redis-unencrypted",
        {"redis.url": "redis://redis.internal/0", "plaintext_hosts": ["internal", "redis"]},
        *REDIS_LINE,
        {"redis.url": "redis://Redis.Internal/0", "plaintext_hosts": ["redis.internal"]},
    ),
    "Redis in plain text, or on a socket": Unsafe(
        "redis-unencrypted",
        {"redis.url": "redis://run.example/0"},
        *REDIS_LINE,
        {"redis.url": "unix:///run/redis.sock"},
    ),
    "Redis in plain text, wherever Sentinels find it": Unsafe(
        "redis-unencrypted",
        {"redis.url": "redis://localhost/0", "redis.sentinels": ["10.0.0.5:26379"]},
        *REDIS_LINE,
        {"redis.url": "rediss://localhost/0", "redis.sentinels": ["10.0.0.5:26379"]},
    ),
    "PostgreSQL as its driver has it": Unsafe(
        "ledger-unencrypted",
        {"ledger.url": NOT_OF_THE_HOST},
        *LEDGER_LINE,
        {"ledger.url": f"{NOT_OF_THE_HOST}?sslmode=verify-full&sslrootcert=/ca.pem"},
    ),
    "PostgreSQL that falls back": Unsafe(
        "ledger-unencrypted",
        {"ledger.url": f"{NOT_OF_THE_HOST}?sslmode=prefer"},
        *LEDGER_LINE,
        {"ledger.url": f"{NOT_OF_THE_HOST}?sslmode=require&sslrootcert=/ca.pem"},
    ),
    "PostgreSQL that may encrypt": Unsafe(
        "ledger-unencrypted",
        {"ledger.url": f"{NOT_OF_THE_HOST}?sslmode=allow"},
        *LEDGER_LINE,
        {"ledger.url": f"{NOT_OF_THE_HOST}?sslmode=verify-ca"},
    ),
    "PostgreSQL without encryption": Unsafe(
        "ledger-unencrypted",
        {"ledger.url": f"{NOT_OF_THE_HOST}?sslmode=disable"},
        *LEDGER_LINE,
        {"ledger.url": f"{NOT_OF_THE_HOST}?sslmode=disable", "plaintext_hosts": ["db.example"]},
    ),
    "PostgreSQL that says both": Unsafe(
        "ledger-unencrypted",
        {"ledger.url": f"{NOT_OF_THE_HOST}?sslmode=disable&sslmode=require"},
        *LEDGER_LINE,
        {"ledger.url": "postgresql:///otp?host=/run/postgresql"},
    ),
    "PostgreSQL on one host of two": Unsafe(
        "ledger-unencrypted",
        {"ledger.url": "postgresql://otp:9f2c-of-sql@localhost,db.example/otp"},
        *LEDGER_LINE,
        {"ledger.url": "postgresql://otp:9f2c-of-sql@localhost/otp"},
    ),
    "Redis that may be anybody": Unsafe(
        "certificate-not-verified",
        {"redis.url": "rediss://:9f2c-of-redis@redis.example/0?ssl_cert_reqs=none"},
        "redis.url",
        CERTIFICATE_NOT_VERIFIED,
        "Remove ssl_cert_reqs=none, and set ssl_ca_certs to the certificate authority.",
        {"redis.url": "rediss://:9f2c-of-redis@redis.example/0?ssl_cert_reqs=required&ssl_ca_certs=/ca.pem"},
    ),
    "Redis that may be anybody, or by exception": Unsafe(
        "certificate-not-verified",
        {"redis.url": "rediss://:9f2c-of-redis@redis.example/0?ssl_cert_reqs=none"},
        "redis.url",
        CERTIFICATE_NOT_VERIFIED,
        "Remove ssl_cert_reqs=none, and set ssl_ca_certs to the certificate authority.",
        {
            "redis.url": "rediss://:9f2c-of-redis@redis.example/0?ssl_cert_reqs=none",
            "plaintext_hosts": ["redis.example"],
        },
    ),
    "PostgreSQL that may be anybody": Unsafe(
        "certificate-not-verified",
        {"ledger.url": f"{NOT_OF_THE_HOST}?sslmode=require"},
        "ledger.url",
        CERTIFICATE_NOT_VERIFIED,
        "Set sslmode=verify-full, and set sslrootcert to the certificate authority.",
        {"ledger.url": f"{NOT_OF_THE_HOST}?sslmode=require&sslrootcert=/ca.pem"},
    ),
    "a gateway in plain text": Unsafe(
        "gateway-unencrypted",
        {"gateways.primary": {**TWILIO, "base_url": "http://twilio.example"}},
        "gateways.primary.base_url",
        *GATEWAY_CLEAR,
        {"gateways.primary": {**TWILIO, "base_url": "https://twilio.example"}},
    ),
    "a template of a gateway in plain text": Unsafe(
        "gateway-unencrypted",
        {"gateways.primary": {**HTTP, "url": "HTTP://sms.example/{to_plain}"}},
        "gateways.primary.url",
        *GATEWAY_CLEAR,
        {"gateways.primary": {**HTTP, "url": "http://127.0.0.1:13013/{to_plain}"}},
    ),
    "a gateway in plain text, or by exception": Unsafe(
        "gateway-unencrypted",
        {"gateways.primary": {**HTTP, "url": "http://kannel.internal/x"}, "plaintext_hosts": ["sms.internal"]},
        "gateways.primary.url",
        *GATEWAY_CLEAR,
        {"gateways.primary": {**HTTP, "url": "http://kannel.internal/x"}, "plaintext_hosts": ["kannel.internal"]},
    ),
    "a policy in plain text": Unsafe(
        "policy-unencrypted",
        {"policies": {"simswap": {**SIM_SWAP, "base_url": "http://api.example/v2"}}},
        "policies.simswap.base_url",
        *POLICY_CLEAR,
        {"policies": {"simswap": SIM_SWAP}},
    ),
    "tokens of a policy in plain text": Unsafe(
        "policy-unencrypted",
        {"policies": {"simswap": {**SIM_SWAP, "token_url": "http://api.example/token"}}},
        "policies.simswap.token_url",
        *POLICY_CLEAR,
        {"policies": {"simswap": {**SIM_SWAP, "token_url": "http://[::1]/token"}}},
    ),
    "a sample of Redis' password": Unsafe(
        "sample-secret",
        {"redis.url": "redis://otp:hunter2@localhost/0"},
        "redis.url",
        *SAMPLE_PASSWORD,
        {"redis.url": "redis://otp:9f2c%2Fof-redis@localhost/0"},
    ),
    "a sample that is percent-encoded": Unsafe(
        "sample-secret",
        {"redis.url": "redis://otp:change%20me@localhost/0"},
        "redis.url",
        *SAMPLE_PASSWORD,
        {"redis.url": "redis://otp@localhost/0"},
    ),
    "a short password of Redis": Unsafe(
        "sample-secret",
        {"redis.url": "unix://:9f2c-of@/run/redis.sock"},
        "redis.url",
        *SHORT_PASSWORD,
        {"redis.url": "unix://:9f2c-of8@/run/redis.sock"},
    ),
    "a sample of the ledger's password": Unsafe(
        "sample-secret",
        {"ledger.url": "postgresql://otp:hunter2@localhost/otp"},
        "ledger.url",
        *SAMPLE_PASSWORD,
        {"ledger.url": "postgresql://otp@localhost/otp"},
    ),
    "a placeholder in place of a password": Unsafe(
        "sample-secret",
        {"redis.url": "redis://otp:${REDIS_PASSWORD}@localhost/0"},
        "redis.url",
        *SAMPLE_PASSWORD,
        {"redis.url": "redis://otp:9f2c-of-redis@localhost/0"},
    ),
    "a short password of the ledger": Unsafe(
        "sample-secret", {"ledger.url": "postgresql://otp:9f2c@localhost/otp"}, "ledger.url", *SHORT_PASSWORD
    ),
    "a gateway's sample": Unsafe(
        "sample-secret",
        {"gateways.primary.auth_token": "..."},
        "gateways.primary.auth_token",
        *SAMPLE,
    ),
    "a sample in a gateway's table": Unsafe(
        "sample-secret",
        {"gateways.primary": {**HTTP, "secrets": {"token": "hunter2"}}},
        "gateways.primary.secrets.token",
        *SAMPLE,
        {"gateways.primary": {**HTTP, "secrets": {"token": "9f2c-of-sms"}}},
    ),
    "a sample that believes receipts": Unsafe(
        "sample-secret",
        {"gateways.primary": {**HTTP, "receipts": {**RECEIPTS, "secret": "16 characters, or more"}}},
        "gateways.primary.receipts.secret",
        *SAMPLE,
        {"gateways.primary": {**HTTP, "receipts": {**RECEIPTS, "secret": "9f2c-of-receipts"}}},
    ),
    "a sample that believes answers": Unsafe(
        "sample-secret",
        {
            "gateways.primary": {
                **HTTP,
                "inbound": {"secret": "x" * 16, "from": {"form": "from"}, "text": {"form": "text"}},
            }
        },
        "gateways.primary.inbound.secret",
        *SAMPLE,
    ),
    "a policy's sample": Unsafe(
        "sample-secret",
        {"policies": {"simswap": {**SIM_SWAP, "client_secret": "CHANGE-ME"}}},
        "policies.simswap.client_secret",
        *SAMPLE,
        {"policies": {"simswap": SIM_SWAP}},
    ),
    "the hash of a sample": Unsafe(
        "sample-secret",
        {"applications.shop.keys": [api_key_hash(key()), api_key_hash("secret")]},
        "applications.shop.keys.1",
        "It is the hash of a sample.",
        "Make a key: otp-service key new shop",
    ),
    "a hash that is one": Unsafe(
        "sample-secret",
        {"applications.shop.keys": [f"sha256:{'0' * 64}"]},
        "applications.shop.keys.0",
        "It is the hash of a sample.",
        "Make a key: otp-service key new shop",
    ),
}  # fmt: skip
UNSAFE = EVERYWHERE | IN_PRODUCTION


def written(folder, changes):
    """Write the sound settings, changed, into a folder; return the environment that names them."""
    table = copy.deepcopy(SOUND)
    for path, value in changes.items():
        *steps, last = path.split(".")
        place = table
        for step in steps:
            place = place[step]
        place[last] = value
    variables = {name: table.pop(name) for name in (ROOTS, PSEUDONYM)}
    file = folder / "otp.json"
    file.write_text(json.dumps(table))
    return {"OTP_SERVICE_CONFIG": str(file), **variables}
