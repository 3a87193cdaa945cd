"""Signatures of the scripts: names for their keys, arguments and replies, for Python and for Lua."""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final, Generic, NamedTuple, TypeVar

# A script reads `key.record` and `arg.locale`, and returns `reply.started { now = now, … }`. `Signature.bind` puts the
# place of each name into its text, so that a name costs a call nothing.

_NAME: Final = re.compile(r"(?<![\w.:])(key|arg|reply)\.(\w+)")
_COMMENT: Final = re.compile(r"--.*")
_ARRAYS: Final = {"key": "KEYS", "arg": "ARGV"}
_REST: Final = "rest"

KeysT = TypeVar("KeysT", bound=tuple[Any, ...])
ArgumentsT = TypeVar("ArgumentsT", bound=tuple[Any, ...])
ReplyT = TypeVar("ReplyT")


class NoArguments(NamedTuple):
    """The arguments of a script that takes none."""


class Signature(Generic[KeysT, ArgumentsT, ReplyT]):
    """The names of a script: NamedTuples of its keys, of its arguments, and of each of its replies.

    A last member ``rest`` is a tuple of any length; ``key.rest`` and ``arg.rest`` are the place of its first value.
    """

    def __init__(self, script: str, keys: type[KeysT], arguments: type[ArgumentsT], *replies: type[ReplyT]) -> None:
        """Take NamedTuples; of a script that returns a value without a word, the value's type as its only reply."""
        self.script: Final = script
        self.replies: Final = tuple(reply for reply in replies if hasattr(reply, "_fields"))
        self._fields: Final = {"key": _fields(keys), "arg": _fields(arguments)}
        self.flat_keys: Final[Callable[[KeysT], tuple[Any, ...]]] = _flattening(keys)
        """Returns the keys, those of ``rest`` at the end."""
        self.flat_arguments: Final[Callable[[ArgumentsT], tuple[Any, ...]]] = _flattening(arguments)
        """Returns the arguments, those of ``rest`` at the end."""
        self._reply_of: Final = {reply_word(reply).encode(): reply for reply in self.replies}

    def read(self, answer: Any) -> ReplyT:  # noqa: ANN401 - as it came from Redis
        """Return the reply by name that a script's answer holds by place."""
        if not self.replies:
            return answer  # type: ignore[no-any-return]
        word, *values = answer
        return self._reply_of[word](*values)

    def check(self, body: str) -> None:
        """Raise `ValueError` where a script does not use exactly these names."""
        names = {(kind, name) for kind, fields in self._fields.items() for name in fields}
        names |= {("reply", _lua_name(reply)) for reply in self.replies}
        if wrong := names ^ set(_NAME.findall(_COMMENT.sub("", body))):
            raise ValueError(f"{self.script}.lua and its signature differ in {sorted(map('.'.join, wrong))}.")

    def bind(self, body: str) -> str:
        """Return a script with places for names."""
        return _NAME.sub(self._place, body)

    def _place(self, match: re.Match[str]) -> str:
        kind, name = match.groups()
        if name not in self._fields.get(kind, ()):
            return match[0]
        place = self._fields[kind].index(name) + 1
        return str(place) if name == _REST else f"{_ARRAYS[kind]}[{place}]"


def _fields(kind: type[tuple[Any, ...]]) -> tuple[str, ...]:
    fields: tuple[str, ...] = kind._fields  # type: ignore[attr-defined]
    return fields


def _flattening(kind: type[tuple[Any, ...]]) -> Callable[[Any], tuple[Any, ...]]:
    return _with_rest if _fields(kind)[-1:] == (_REST,) else tuple


def _with_rest(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*values[:-1], *values[-1])


def reply_word(reply: type) -> str:
    """Return the word that a reply begins with: the name of its class in lower case, with hyphens."""
    return re.sub(r"(?<=.)(?=[A-Z])", "-", reply.__name__).lower()


def _lua_name(reply: type) -> str:
    return reply_word(reply).replace("-", "_")


def reply_functions(signatures: Iterable[Signature[Any, Any, Any]]) -> str:
    """Return Lua functions that make the replies of scripts: lists of a word, then the values in their order.

    Raises `ValueError` for replies of different scripts that share a word and differ.
    """
    replies: dict[str, type[tuple[Any, ...]]] = {}
    for reply in (reply for signature in signatures for reply in signature.replies):
        if replies.setdefault(_lua_name(reply), reply) is not reply:
            raise ValueError(f"Two replies have the word {reply_word(reply)}.")
    return "\n".join(("local reply = {}", *(_function(name, reply) for name, reply in replies.items()), ""))


def _function(name: str, reply: type[tuple[Any, ...]]) -> str:
    values = ", ".join([f"'{reply_word(reply)}'", *(f"r.{field}" for field in _fields(reply))])
    return f"function reply.{name}({'r' if _fields(reply) else ''}) return {{ {values} }} end"
