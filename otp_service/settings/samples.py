"""Secrets that are none: those of documentation, and those that are too short to be any."""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise, product
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from otp_service.domain.keyring import api_key_hash
from otp_service.errors import RefusalName, StartRefusal
from otp_service.settings.leaves import leaves
from otp_service.settings.tree import Settings

SHORTEST: Final = 8
"""Characters below which a password of one's own choice is guessed."""
_WORDS: Final = (
    "16charactersormore", "sixteencharactersormore", "anywordsthatnobodyelseknows", "secretofyouraccount",
    "0123456789abcdef", "abc", "abcd", "admin", "api", "auth", "changeit", "default", "demo", "dummy", "example",
    "foobared", "guest", "hunter2", "key", "letmein", "my", "password", "postgres", "qwerty", "redis", "replaceme",
    "root", "sample", "secret", "super", "test", "testing", "token", "top", "your",
)  # fmt: skip
"""What samples are made of, in letters and digits: those of our own documents, and what others have copied most."""
_MADE_OF_WORDS: Final = re.compile(f"(?:{'|'.join(_WORDS)})+")
_TELLING: Final = ("changeme", "placeholder")
"""What makes a sample of anything that holds it in any spelling."""
_MARK: Final = "EXAMPLE"
"""The same, but in capitals alone, as providers mark theirs: in small letters a passphrase may hold it."""
_PLACEHOLDER: Final = re.compile(
    r"[$#@]\{.+\}#?|\$\(.+\)|\{\{.+\}\}"  # ${VAR}, $(command), {{ value }}
    r"|<[\w .:-]+>|\[[\w .:-]+\]|\{[\w .:-]+\}"  # <password>
    r"|(%|@|__)\w+\1"  # %VAR%, @VAR@, __VAR__
    r"|\$[A-Z_][A-Z0-9_]*"  # $VAR
)
"""What something should have put a value in place of."""
_SEPARATORS: Final = re.compile(r"[-_.:/\s]")
_NUMBER: Final = re.compile(r"[0-9]*$")
_ANY_NUMBER: Final = 4
"""Digits behind a sample that may be any, such as a year; more of them have to be a run."""
_RUNS: Final = (frozenset({0, 1, -9}), frozenset({0, -1, 9}))
"""By how much characters differ in ``11223344``, ``7890123``, ``abcdef`` and ``xxxx``, and the same backwards."""
_SAMPLE_KEYS: Final = ("", "...", "change me", "changeme", "abc123", "abcd1234", "12345678", "123456789", "1234567890")
_KNOWN_KEYS: Final = frozenset(map(api_key_hash, (*_SAMPLE_KEYS, *_WORDS, *map("".join, product(_WORDS, repeat=2)))))
"""Of an API key only the hash is there: these are told by it, and so is a key that somebody made of a word."""


def is_sample_key(key: bytes) -> bool:
    """Tell whether a key is a sample in letters, or the digest of one."""
    return f"sha256:{key.hex()}" in _KNOWN_KEYS or (key.isascii() and is_sample(key.decode()))


def is_sample(secret: str) -> bool:
    """Tell whether a secret is a sample in any spelling, a placeholder that nothing was put in place of, or a run.

    A sample (``CHANGE-ME``, ``secret2024``) is made of words of samples alone, and perhaps a number.
    """
    if not secret:
        return False
    plain = "".join(filter(str.isalnum, secret.casefold()))
    number = _NUMBER.findall(plain)[0]
    of_words = _MADE_OF_WORDS.fullmatch(plain.removesuffix(number)) or _MADE_OF_WORDS.fullmatch(plain)
    return bool(
        _PLACEHOLDER.fullmatch(secret.strip())
        or _is_run(_SEPARATORS.sub("", secret) or secret)
        or (of_words and (len(number) <= _ANY_NUMBER or _is_run(number)))
        or _MARK in secret
        or any(word in plain for word in _TELLING)
    )


def _is_run(text: str) -> bool:
    """Tell whether each character is the one before it or its neighbour, always in the same direction."""
    steps = {ord(after) - ord(before) for before, after in pairwise(text.casefold())}
    return any(steps <= run for run in _RUNS)


def sample_refusals(settings: Settings) -> Iterator[StartRefusal]:
    """Yield one refusal for each secret of the settings that is none; the installation's own keys are judged apart."""
    yield from _password("redis.url", settings.redis.url)
    yield from _password("ledger.url", settings.ledger.url)
    yield from _api_keys(settings)
    for place, secret in provider_secrets(settings):
        if is_sample(secret):
            yield _refusal(
                place, "It is a sample, or a placeholder that was not filled in: anybody knows it.", "Set the real one."
            )


def provider_secrets(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield place and value of what gateways and policies prove themselves by, or have proven to them."""
    for section, entries in (("gateways", settings.gateways), ("policies", settings.policies)):
        for name, entry in entries.items():
            for place, value in leaves(entry.settings, f"{section}.{name}"):
                if isinstance(value, SecretStr):
                    yield place, value.get_secret_value()


def holds_secrets(settings: Settings, table: Mapping[str, Any]) -> bool:
    """Tell whether a file's table holds any secret of the settings."""
    places = [place for place, secret in provider_secrets(settings) if secret]
    urls = (_value_at(table, place) for place in ("redis.url", "ledger.url"))
    return any(_value_at(table, place) for place in places) or any(url and urlsplit(url).password for url in urls)


def _value_at(table: Mapping[str, Any], place: str) -> Any:  # noqa: ANN401 - whatever stands there
    value: Any = table
    for step in place.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _password(place: str, url: SecretStr) -> Iterator[StartRefusal]:
    given = urlsplit(url.get_secret_value()).password or ""
    password = unquote(given)
    if is_sample(given) or is_sample(password):  # %DB_PASSWORD% is no percent-encoding, and looks like one
        yield _refusal(
            place,
            "Its password is a sample, or a placeholder that was not filled in: anybody knows it.",
            "Choose one at random: openssl rand -hex 16",
        )
    elif 0 < len(password) < SHORTEST:
        sentence = f"Its password has fewer than {SHORTEST} characters: it can be guessed."
        yield _refusal(place, sentence, "Choose one at random: openssl rand -hex 16")


def _api_keys(settings: Settings) -> Iterator[StartRefusal]:
    for name, application in settings.applications.items():
        for position, key in enumerate(application.keys):
            if key in _KNOWN_KEYS or len(set(key.removeprefix("sha256:"))) == 1:
                place = f"applications.{name}.keys.{position}"
                yield _refusal(place, "It is the hash of a sample.", f"Make a key: otp-service key new {name}")


def _refusal(place: str, sentence: str, action: str) -> StartRefusal:
    return StartRefusal(RefusalName.SAMPLE_SECRET, place, sentence, action)
