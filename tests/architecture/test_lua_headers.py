"""The scripts: their headers, their signatures and the parts that they include."""

import re

import pytest
from support_sources import LUA

from otp_service.store.signatures import SIGNATURES

SCRIPTS = sorted(path.stem for path in LUA.glob("*.lua") if not path.stem.startswith("include_"))
PARTS = sorted(path.stem.removeprefix("include_") for path in LUA.glob("include_*.lua"))
PROVIDED = {"clock": r"\b(?:now|exact)\b", "fence": r"(?<![\w.])fence\.\w"}
"""How a part is used, where that is not by functions in a table of its own name."""


def _read(name):
    lines = (LUA / f"{name}.lua").read_text().splitlines()
    length = next(number for number, line in enumerate(lines) if not line.startswith("--"))
    header = "\n".join(line.removeprefix("--").strip() for line in lines[:length])
    return header, "\n".join(re.sub(r"--.*", "", line) for line in lines[length:])


def _includes(header):
    return [part for line in re.findall(r"^include (.+)$", header, re.MULTILINE) for part in line.split()]


def test_there_are_scripts():
    assert {"start", "check", "resend", "cancel", "verification_read"} <= set(SCRIPTS)


@pytest.mark.parametrize("name", [*SCRIPTS, *(f"include_{part}" for part in PARTS)])
def test_every_file_begins_with_a_sentence_that_says_what_it_does(name):
    header, body = _read(name)

    assert re.match(r"[A-Z][^\n]{10,}", header)
    assert body.strip()


def test_every_script_has_a_signature():
    assert SIGNATURES.keys() == set(SCRIPTS)


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_script_uses_exactly_the_names_of_its_signature(name):
    header, body = _read(name)

    SIGNATURES[name].check(body)
    assert not re.search(r"KEYS|ARGV|Returns", header)
    assert not re.search(r"\b(?:KEYS|ARGV)\[\d", body)
    assert not (SIGNATURES[name].replies and re.search(r"\breturn \{ '", body))


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_script_names_each_value_of_a_reply(name):
    _, body = _read(name)
    fields = {word.replace("-", "_"): reply for word, reply in SIGNATURES[name].replies.items()}

    for word, begin in re.findall(r"\breply\.(\w+)( \{)?", body):
        assert bool(begin) == bool(fields[word]._fields), f"reply.{word}() has no values, others have a table"
    for call in re.finditer(r"\breply\.(\w+) \{", body):
        named, reply = set(_members(body[call.end() :])), fields[call[1]]
        assert named <= set(reply._fields)
        assert named >= set(reply._fields) - reply._field_defaults.keys()


def _members(text):
    """Yield the names of a Lua table's members, whose opening brace is before the text."""
    depth = 0
    for token in re.finditer(r"[{(]|[})]|(\w+) =(?!=)", text):
        if token[0] in "{(":
            depth += 1
        elif token[0] in "})":
            depth -= 1
        elif depth == 0:
            yield token[1]
        if depth < 0:
            return


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_includes_exactly_the_parts_it_uses(name):
    header, body = _read(name)
    included = _includes(header)

    assert len(included) == len(set(included))
    assert set(included) == {part for part in PARTS if _uses(body, included, part)}


def _uses(body, included, part):
    """Tell whether a script, or another part that it includes, uses a part."""
    others = "".join(_read(f"include_{other}")[1] for other in included if other != part)
    return re.search(PROVIDED.get(part, rf"(?<![\w.]){part}\.\w+\("), body + others)


@pytest.mark.parametrize("name", [*SCRIPTS, *(f"include_{part}" for part in PARTS)])
def test_time_comes_from_one_place_and_keys_are_never_searched_for(name):
    _, body = _read(name)

    assert ("'TIME'" in body) == (name == "include_clock")
    assert not re.search(r"'(?:KEYS|SCAN|FLUSHDB|FLUSHALL)'", body)
