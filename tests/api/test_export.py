"""One person of whom everything is held: an export shows it or docs/subjects.md says why not; so with an erasure."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support_api import Api
from support_installation import NUMBER, World
from support_person import LABEL, USER, WISH, WORDS, Person

from otp_service.clock import rfc3339
from otp_service.errors import LedgerUnavailableError
from otp_service.services.audit import AuditProgress, verify_chain
from otp_service.services.exports import export_document
from otp_service.services.subjects import erase
from otp_service.store.keys import all_keys

DOCUMENT = (Path(__file__).parents[2] / "docs" / "subjects.md").read_text()
OF_OPERATORS = {"otp:{console}:tries:<fingerprint>", "otp:{console}:invitation:<invitation>"}
"""Keys of somebody else: users of the console."""
UNNAMED = {
    "otp:replies",
    "otp:{console}:handle:<session>/<handle>",
    "otp:{<gateways>}:early:<gateway>:<reference>",
    "otp:{<network>}:pages:<network>",
    "otp:{limits}:unsummed",
    *(f"otp:{{<bucket>}}:{kind}:<network>" for kind in ("address", "network", "provider")),
    "otp:{<bucket>}:block:<block>",
    "otp:{<bucket>}:unapproved:<hour>",
}
"""Keys that nothing of the person's is named in: sealed, or of many people."""
OF_THE_SERVICE = {"wrote stop", "wrote start"}
"""Reasons of what the person wrote, in words of the service's own."""


def listed(heading: str) -> Mapping[str, list[str]]:
    """Return the rows of the document's table below a heading, by their first cells."""
    section = DOCUMENT.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = (line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `"))
    return {name: others for first, *others in rows for name in re.findall("`([^`]+)`", first)}


LEDGER, REDIS = listed("In the ledger"), listed("In Redis")


@pytest.fixture
def person(world: World) -> Person:
    made = Person(world)
    made.live()
    return made


def exports(person: Person) -> dict[str, Any]:
    """Return what the operator's export of the number and the shop's of the user have, by member."""
    parts = export_document(person.context, person.number, ())["applications"]
    of_user = person.shop.post("/v1/users/export", {"user": USER}).json
    held: dict[str, Any] = {}
    for part in (*parts.values(), of_user):
        for name, entries in part.items():
            held.setdefault(name, []).extend(entries if isinstance(entries, list) else filter(None, [entries]))
    return held


def shown(value: Any) -> Iterator[str]:
    """Yield what an export has in place of a value of the ledger."""
    match value:
        case bool() | None | "" | 0:
            return
        case int() if value > 10**12:
            yield json.dumps(rfc3339(value))
        case str() if value.startswith("k1."):
            yield json.dumps(LABEL)
        case str() if value.startswith(("{", "[")):
            for one in leaves(json.loads(value)):
                yield from shown(one)
        case _:
            yield json.dumps(value)


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from leaves(one)
    else:
        yield value


def kind_of(key: str) -> str:
    return next(kind.pattern for kind in all_keys() if kind.has(key))


def test_each_row_is_in_an_export_or_listed(person: Person) -> None:
    held, missing = exports(person), set()
    for table, row in person.rows():
        member, left_out, _ = LEDGER[table]
        if member == "not":
            continue
        text = json.dumps([held[name] for name in re.findall("`([^`]+)`", member)])
        told = (column for column in row if column != "application" and f"`{column}`" not in left_out)
        own = {person.number.pseudonym, person.user.pseudonym}
        values = ((column, row[column]) for column in told if row[column] not in own)
        missing |= {(table, column) for column, value in values if not all(one in text for one in shown(value))}

    assert missing == set()
    assert {table for table, _ in person.rows()} == LEDGER.keys() - {"erasures"}


def test_each_key_is_in_an_export_or_listed(person: Person) -> None:
    held = exports(person)
    for kind in {kind_of(key) for key in person.keys()}:
        told, _ = REDIS[kind]
        assert told.startswith("not") or held[told.split("`")[1]], kind

    assert {kind.pattern for kind in all_keys() if kind.personal} <= REDIS.keys() | OF_OPERATORS
    assert REDIS.keys() - {kind_of(key) for key in person.keys()} == UNNAMED
    assert [one["text"] for one in held["inbox"]] == [WISH]
    assert {one["kind"] for one in held["refusals"]} == {"start"}
    assert {one["id"] for one in held["verifications"]} | {person.pending} == set(held["recent"])


def test_after_an_erasure_what_is_left_is_listed(person: Person) -> None:
    assert person.shop.post("/v1/users/erase", {"user": USER}).status_code == 200
    erase(person.context, person.number, None)
    rows, keys = person.rows(), person.keys()

    gone = {table for table, (*_, erased) in LEDGER.items() if erased in {"deletes it", "empties `pseudonym`"}}
    assert {table for table, _ in rows} == LEDGER.keys() - gone
    for table, row in rows:
        emptied = {name for name in row if f"`{name}`" in LEDGER[table][-1].partition("empties")[2]}
        assert [row[name] for name in emptied if row[name] and row[name] not in OF_THE_SERVICE] == []
    assert [kind for kind in map(kind_of, keys) if REDIS[kind][-1] == "deletes it"] == []
    counted = exports(person)["counters"]
    assert {bool(one["approved_at"] or one["devices"]) for one in counted} == {False}
    assert any(one.get("messages") for one in counted)
    assert any(one["wrong_codes"] for one in counted)
    everything = repr(rows).encode() + b"".join(keys.values())
    assert [word for word in (WORDS, WISH, LABEL, "203.0.113") if word.encode() in everything] == []
    assert list(verify_chain(person.context, AuditProgress())) == []


def test_an_erasure_that_the_ledger_refuses_takes_no_message(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise LedgerUnavailableError("The ledger's disk is full.")

    with monkeypatch.context() as full:
        full.setattr(type(person.context.ledger.subjects), "erase", refuse)
        with pytest.raises(LedgerUnavailableError):
            erase(person.context, person.number, None)

    assert [message["text"] for message in exports(person)["inbox"]] == [WISH]
    assert erase(person.context, person.number, None).erased["inbox"] == 1
    assert exports(person)["inbox"] == []


def test_an_application_erases_nothing_of_another(person: Person) -> None:
    before = [one for one in person.rows() if one[1].get("application") == "bank"]
    shop, bank = (len(devices_of(one)) for one in (person.shop, person.bank))
    person.shop.post("/v1/subjects/erase", {"to": NUMBER})

    assert [one for one in person.rows() if one[1].get("application") == "bank"] == before
    assert (shop, bank) == (1, 1)
    assert (devices_of(person.shop), len(devices_of(person.bank))) == ([], 1)


def devices_of(api: Api) -> list[str]:
    """Return when an application's devices of the number were approved, as it is told."""
    counters = api.post("/v1/subjects/export", {"to": NUMBER}).json["counters"]
    return list(counters["devices"])
