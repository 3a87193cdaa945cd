"""Signatures: names that a script does not use fail the build, and replies are read by name."""

from typing import NamedTuple

import pytest

from otp_service.store import library
from otp_service.store.signatures.signature import Signature, reply_functions


class Keys(NamedTuple):
    record: str
    rest: tuple[str, ...] = ()


class Arguments(NamedTuple):
    locale: str


class TooMany(NamedTuple):
    wait: int
    reason: bytes | None = None


class Gone(NamedTuple):
    pass


SIGNATURE = Signature[Keys, Arguments, TooMany | Gone]("example")
BODY = """-- key.comment is no name
if redis.call('EXISTS', key.record, unpack(KEYS, key.rest)) == 0 then return reply.gone() end
return reply.too_many { wait = arg.locale }
"""


def test_names_become_places():
    SIGNATURE.check(BODY)
    assert SIGNATURE.bind(BODY).splitlines()[1:] == [
        "if redis.call('EXISTS', KEYS[1], unpack(KEYS, 2)) == 0 then return reply.gone() end",
        "return reply.too_many { wait = ARGV[1] }",
    ]


@pytest.mark.parametrize(
    ("before", "after", "wrong"),
    [
        ("key.record", "key.recrod", "key.record.*key.recrod"),
        ("arg.locale", "1", "arg.locale"),
        ("unpack(KEYS, key.rest)", "'x'", "key.rest"),
        ("reply.gone()", "reply.went()", "reply.gone.*reply.went"),
        ("return reply.gone()", "return", "reply.gone"),
    ],
)
def test_a_name_that_is_unknown_or_unused_is_an_error(before, after, wrong):
    with pytest.raises(ValueError, match=wrong):
        SIGNATURE.check(BODY.replace(before, after))


def test_a_script_that_differs_from_its_signature_fails_the_build(monkeypatch):
    read = library._read
    monkeypatch.setattr(library, "_read", lambda name: read(name).replace("arg.worker", "arg.consumer"))

    with pytest.raises(ValueError, match=r"lease_renew\.lua .* 'arg\.worker'"):
        library.library.__wrapped__()


def test_a_tail_of_keys_follows_the_named_ones():
    assert SIGNATURE.flat_keys(Keys("a", ("b", "c"))) == ("a", "b", "c")
    assert SIGNATURE.flat_keys(Keys("a")) == ("a",)


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        ([b"too-many", 5, b"busy"], TooMany(5, b"busy")),
        ([b"too-many", 5], TooMany(5)),
        ([b"gone"], Gone()),
    ],
)
def test_a_reply_is_read_by_its_word(answer, reply):
    read = SIGNATURE.read(answer)

    assert type(read) is type(reply)
    assert read == reply


def test_a_value_without_a_word_is_returned_as_it_is():
    assert Signature[Keys, Arguments, int]("value").read(7) == 7


def test_lua_makes_replies_by_name():
    assert reply_functions([SIGNATURE]).splitlines() == [
        "local reply = {}",
        "function reply.too_many(r) return { 'too-many', r.wait, r.reason } end",
        "function reply.gone() return { 'gone' } end",
    ]


def test_two_replies_of_a_word_fail_the_build():
    class Gone(NamedTuple):
        at: int

    with pytest.raises(ValueError, match="gone"):
        reply_functions([SIGNATURE, Signature[Keys, Arguments, Gone]("other")])
