"""Secrets that are none: those of documentation, and those that are too short to be any."""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from otp_service.core.keyring import api_key_hash
from otp_service.core.start_refusal import RefusalName, StartRefusal
from otp_service.settings.leaves import leaves
from otp_service.settings.tree import Settings

SHORTEST: Final = 8
"""Characters below which a password of one's own choice is guessed."""
_KNOWN: Final = frozenset({
    "16charactersormore", "sixteencharactersormore", "anywordsthatnobodyelseknows", "secretofyouraccount",
    "abc123", "abcd1234", "0123456789abcdef", "12345678", "123456789", "1234567890",
    "admin", "apikey", "authtoken", "changeit", "default", "demo", "dummy", "foobared", "guest", "hunter2", "letmein",
    "mypassword", "mysecret", "mytoken", "password", "postgres", "qwerty", "redis", "replaceme", "root", "sample",
    "secret", "secretpassword", "supersecret", "test", "testing", "token", "topsecret", "yourapikey", "yourauthtoken",
    "yourpassword", "yoursecret", "yourtoken",
})  # fmt: skip
"""Letters and digits of samples: those of our own documents, and what others have copied most."""
_TELLING: Final = ("changeme", "example", "placeholder")
"""What makes a sample of anything that holds it."""
_NUMBER: Final = re.compile(r"(?<=[a-z])[0-9]{1,4}$")
_KNOWN_KEYS: Final = frozenset(map(api_key_hash, ("", "...", "changeme", "change me", *_KNOWN)))


def is_sample(secret: str) -> bool:
    """Tell whether a secret is a sample in any spelling (``CHANGE-ME``, ``secret2024``), or one character repeated."""
    if not secret:
        return False
    plain = "".join(filter(str.isalnum, secret.casefold()))
    known = plain in _KNOWN or _NUMBER.sub("", plain) in _KNOWN
    return known or len(set(secret)) == 1 or any(word in plain for word in _TELLING)


def sample_refusals(settings: Settings) -> Iterator[StartRefusal]:
    """Yield one refusal for each secret of the settings that is none; the installation's own keys are judged apart."""
    yield from _password("redis.url", settings.redis.url)
    yield from _password("ledger.url", settings.ledger.url)
    yield from _api_keys(settings)
    for place, secret in provider_secrets(settings):
        if is_sample(secret):
            yield _refusal(place, "It is a sample: anybody knows it.", "Set the real one.")


def provider_secrets(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield place and value of what gateways and policies prove themselves by, or have proven to them."""
    for section, entries in (("gateways", settings.gateways), ("policies", settings.policies)):
        for name, entry in entries.items():
            for place, value in leaves(entry.settings, f"{section}.{name}"):
                if isinstance(value, SecretStr):
                    yield place, value.get_secret_value()


def _password(place: str, url: SecretStr) -> Iterator[StartRefusal]:
    password = unquote(urlsplit(url.get_secret_value()).password or "")
    if is_sample(password):
        yield _refusal(place, "Its password is a sample: anybody knows it.", "Choose one at random.")
    elif 0 < len(password) < SHORTEST:
        sentence = f"Its password has fewer than {SHORTEST} characters: it can be guessed."
        yield _refusal(place, sentence, "Choose one at random.")


def _api_keys(settings: Settings) -> Iterator[StartRefusal]:
    for name, application in settings.applications.items():
        for position, key in enumerate(application.keys):
            if key in _KNOWN_KEYS or len(set(key.removeprefix("sha256:"))) == 1:
                place = f"applications.{name}.keys.{position}"
                yield _refusal(place, "It is the hash of a sample.", f"Make a key: otp-service key new {name}")


def _refusal(place: str, sentence: str, action: str) -> StartRefusal:
    return StartRefusal(RefusalName.SAMPLE_SECRET, place, sentence, action)
