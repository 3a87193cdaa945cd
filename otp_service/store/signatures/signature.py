"""Signatures of the scripts: names for their keys, arguments and replies, for Python and for Lua."""

import re
from collections.abc import Callable, Iterable
from functools import cached_property
from types import UnionType
from typing import Any, Final, Generic, NamedTuple, TypeVar, get_args

# A script reads `key.record` and `arg.locale`, and returns `reply.started { now = now, … }`. `Signature.bind` puts the
# place of each name into its text, so that a name costs a call nothing.

_NAME: Final = re.compile(r"(?<![\w.:])(?:key|arg|reply)\.\w+")
_COMMENT: Final = re.compile(r"--.*")
_REST: Final = "rest"

KeysT = TypeVar("KeysT", bound=tuple[Any, ...])
ArgumentsT = TypeVar("ArgumentsT", bound=tuple[Any, ...])
ReplyT = TypeVar("ReplyT")


class NoArguments(NamedTuple):
    """The arguments of a script that takes none."""


class Signature(Generic[KeysT, ArgumentsT, ReplyT]):
    """The names of a script: ``Signature[Keys, Arguments, Reply | OtherReply]("its_name")``, all NamedTuples.

    A last member ``rest`` is a tuple of any length; ``key.rest`` and ``arg.rest`` are the place of its first value.
    A script that returns a value without a word has the value's type as its reply.
    """

    __orig_class__: Any
    """The signature with its types, as `typing` sets it."""

    def __init__(self, script: str) -> None:
        self.script: Final = script

    @cached_property
    def replies(self) -> dict[str, Any]:
        """The replies by their word."""
        reply = get_args(self.__orig_class__)[2]
        members = get_args(reply) if isinstance(reply, UnionType) else (reply,)
        return {reply_word(member): member for member in members if hasattr(member, "_fields")}

    @cached_property
    def flat_keys(self) -> Callable[[KeysT], tuple[Any, ...]]:
        """Returns the keys, those of ``rest`` at the end."""
        return _flattening(get_args(self.__orig_class__)[0])

    @cached_property
    def flat_arguments(self) -> Callable[[ArgumentsT], tuple[Any, ...]]:
        """Returns the arguments, those of ``rest`` at the end."""
        return _flattening(get_args(self.__orig_class__)[1])

    def read(self, answer: Any) -> ReplyT:  # noqa: ANN401 - as it came from Redis
        """Return the reply by name that a script's answer holds by place."""
        if not self.replies:
            return answer  # type: ignore[no-any-return]
        word, *values = answer
        return self.replies[word.decode()](*values)  # type: ignore[no-any-return]

    @cached_property
    def _places(self) -> dict[str, str]:
        """What stands for each name of a key or argument in Lua."""
        keys, arguments, _ = get_args(self.__orig_class__)
        return {
            f"{kind}.{name}": str(place) if name == _REST else f"{array}[{place}]"
            for kind, array, names in (("key", "KEYS", keys), ("arg", "ARGV", arguments))
            for place, name in enumerate(names._fields, 1)
        }

    def check(self, body: str) -> None:
        """Raise `ValueError` where a script does not use exactly these names."""
        names = {*self._places, *(f"reply.{_lua_name(word)}" for word in self.replies)}
        if wrong := names ^ set(_NAME.findall(_COMMENT.sub("", body))):
            raise ValueError(f"{self.script}.lua and its signature differ in {sorted(wrong)}.")

    def bind(self, body: str) -> str:
        """Return a script with places for names."""
        return _NAME.sub(lambda match: self._places.get(match[0], match[0]), body)


def _flattening(kind: Any) -> Callable[[Any], tuple[Any, ...]]:  # noqa: ANN401 - a NamedTuple
    return (lambda values: (*values[:-1], *values[-1])) if kind._fields[-1:] == (_REST,) else tuple


def reply_word(reply: type) -> str:
    """Return the word that a reply begins with: the name of its class in lower case, with hyphens."""
    return re.sub(r"(?<=.)(?=[A-Z])", "-", reply.__name__).lower()


def _lua_name(word: str) -> str:
    return word.replace("-", "_")


def reply_functions(signatures: Iterable[Signature[Any, Any, Any]]) -> str:
    """Return Lua functions that make the replies of scripts: lists of a word, then the values in their order.

    Raises `ValueError` for replies of different scripts that share a word and differ.
    """
    replies: dict[str, Any] = {}
    for word, reply in (item for signature in signatures for item in signature.replies.items()):
        if replies.setdefault(word, reply) is not reply:
            raise ValueError(f"Two replies have the word {word}.")
    lines = ["local reply = {}"]
    for word, reply in replies.items():
        values = ", ".join([f"'{word}'", *(f"r.{field}" for field in reply._fields)])
        lines.append(f"function reply.{_lua_name(word)}({'r' if reply._fields else ''}) return {{ {values} }} end")
    return "\n".join([*lines, ""])
