"""Sentences that can be translated: what is ours, what is put in, and what English makes of both."""

import ast
from datetime import UTC, datetime, timedelta
from string import Formatter

import pytest
from support_sources import modules

from otp_service.domain.phrases import Phrase, enumerated, enumerated_to_the_last, moment, plain_text

URDU = {
    "{gateway} reported {what}.": "{what}: {gateway} نے بتایا۔",
    "nothing at {at}": "{at} پر کچھ نہیں",
    "{some} and {next}": "{some} اور {next}",
    "{some}, {next}": "{some}، {next}",
}


def isolated(value: object) -> str:
    return f"<{value}>"


def test_a_phrase_is_english_as_a_text() -> None:
    what = Phrase("nothing at {at}", {"at": datetime(2026, 11, 24, 22, 0, 5, tzinfo=UTC)})

    assert str(Phrase("{gateway} reported {what}.").filled(gateway="first", what=what)) == (
        "first reported nothing at 2026-11-24 22:00:05."
    )


def test_a_translation_moves_and_translates_parts_and_what_is_no_word_of_ours_is_shown_apart() -> None:
    what = Phrase("nothing at {at}", {"at": 12})
    told = Phrase("{gateway} reported {what}.").filled(gateway="first", what=what)

    assert told.render(URDU.__getitem__, isolated) == "<12> پر کچھ نہیں: <first> نے بتایا۔"


def test_a_value_is_never_taken_for_a_placeholder() -> None:
    assert str(Phrase("{reason}.").filled(reason="{0} {reason.__class__}")) == "{0} {reason.__class__}."


def test_to_fill_a_phrase_changes_no_other() -> None:
    empty = Phrase("{one} {two}", {"one": 1})

    assert (str(empty.filled(two=2)), empty.values) == ("1 2", {"one": 1})


@pytest.mark.parametrize(("parts", "commas", "words"), [("a", "a", "a"), ("ab", "a, b", "a and b"),
                                                        ("abc", "a, b, c", "a, b and c")])  # fmt: skip
def test_parts_are_enumerated(parts: str, commas: str, words: str) -> None:
    assert (str(enumerated(list(parts))), str(enumerated_to_the_last(list(parts)))) == (commas, words)


def test_an_enumeration_is_translated_too() -> None:
    told = enumerated_to_the_last(["a", "b", "c"])

    assert isinstance(told, Phrase)
    assert told.render(URDU.__getitem__, str) == "a، b اور c"


def test_times_are_in_utc_and_spans_are_rounded_up() -> None:
    assert plain_text(moment(1_795_000_000_000)) == "2026-11-18 11:06:40"
    assert [plain_text(timedelta(milliseconds=one)) for one in (0, 1, 60_000, 86_400_001)] == [
        "0 s",
        "1 s",
        "1 min",
        "1 d 1 s",
    ]


def _texts() -> list[ast.expr]:
    """Return what phrases are made of, in all modules."""
    trees = (tree for path, tree in modules() if path.name != "phrases.py")
    calls = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [node.args[0] for node in calls if isinstance(node.func, ast.Name) and node.func.id == "Phrase"]


def test_a_catalogue_can_be_made_from_the_sources() -> None:
    """All texts stand there in full, and each has names for what is put in.

    But for those of tables, and known sentences that come back from Redis.
    """
    texts = _texts()
    others = [ast.unparse(one) for one in texts if not isinstance(one, ast.Constant)]
    names = [name for one in texts if isinstance(one, ast.Constant) for _, name, *_ in Formatter().parse(one.value)]

    assert len(texts) > 80
    assert sorted(set(others)) == [
        "'{count} ' + words",
        "GUARD_RULES[rule].sentence",
        "data",
        "text",
    ]
    assert all(name is None or name.isidentifier() for name in names)
