"""``--json``: a command prints one document of plain members, whatever happened before."""

import json
import re
from collections.abc import Iterator

import pytest
from support_caller import Caller
from support_cli import configured, leaves, run
from support_events import record_events
from support_guard import modes
from support_installation import NUMBER, tree
from support_ledger_events import EVIDENCE
from support_outbox import Scripted, Sender, refused, timed_out

from otp_service.bootstrap import install
from otp_service.errors import RateLimitedError
from otp_service.gateways.base import InboundMessage
from otp_service.services.inbound import handle_message
from otp_service.settings import load_settings

SERVERS = {"dev", "serve", "worker", "console"}
KEYS = {"key new", "key root", "key pseudonym"}
"""They store nothing and print lines for a configuration."""
ACTING = [
    ("application add club club.json", {"name"}),
    ("application change club club.json", {"name"}),
    ("key add club", {"id", "key", "application"}),
    ("key rotate {id}", {"id", "key", "application", "old", "old_expires"}),
    ("key revoke {id} --yes", {"id", "revoked"}),
    ("webhook add shop https://8.8.8.8/more", {"id", "secret"}),
    ("webhook rotate {id}", {"id", "secret"}),
    ("webhook disable {id}", {"id"}),
    ("webhook enable {id}", {"id"}),
    ("webhook replay {id} --since 2026-01-01", {"webhooks"}),
    ("webhook remove {id} --yes", {"id"}),
    ("webhook reseal", {"sealed", "unreadable"}),
    ("console-user add ayesha --role support", {"name", "url"}),
    ("console-user invite ayesha", {"name", "url"}),
    ("console-user disable ayesha --yes", {"name", "disabled"}),
    (f"gateway test first {NUMBER}", {"to", "reference"}),
    ("gateway pause first --minutes 5", {"name", "paused_for"}),
    ("gateway resume first", {"name"}),
    ("dead-letters redrive --all", {"results", "put_back", "older"}),
    (f"limits reset {NUMBER} --yes", {"to", "windows"}),
    (f"guard unblock --number {NUMBER} --yes", {"reset"}),
    ("send +923009876543 --application shop", {"id", "to"}),
    ("check {id} 000000 --application shop", {"valid", "reason", "checks_left"}),
    (f"suppressions lift {NUMBER} --reason asked", {"to", "application", "scope", "kept_back", "frozen"}),
    (f"suppressions add {NUMBER} --until 2099-01-01", {"to", "application", "scope", "until"}),
    ("suppressions import numbers.csv", {"numbers", "new", "unreadable"}),
    (f"subject freeze {NUMBER} --all", {"to", "application", "canceled"}),
    (f"subject unfreeze {NUMBER} --all", {"to", "application", "frozen"}),
    (f"subject erase {NUMBER} --yes", {"to", "erased", "kept", "reason"}),
    ("inbox dismiss MESSAGE", {"id"}),
    ("inbox stop MESSAGE", {"id", "to", "application"}),
    ("factor reseal", {"sealed", "root_key"}),
    ("ledger upgrade", {"url"}),
    ("ledger rebuild --yes", {"sequence"}),
    ("ledger purge", {"deleted", "rows"}),
    ("ledger recount", {"verifications"}),
    ("store fence --yes", {"fenced_until", "recorded"}),
]
"""Commands that change something, in an order in which each has something to do, and the members of its document.

MESSAGE is the id of a message that waits, and {id} the id in the last document that had one.
"""
DAYS = ("--from", "2026-01-01", "--to", "2099-01-01")
ARGUMENTS = {
    "application show": ("shop",),
    "audit export": ("--subject", NUMBER),
    "audit check": ("pack.json",),
    "factor list": ("customer-1", "--application", "shop"),
    "find": (NUMBER,),
    "guard explain": ("DECISION",),
    "incident report": (*DAYS, "--nature", "a laptop was stolen"),
    "limits show": (NUMBER,),
    "report": ("--month", "2026-11"),
    "suppressions show": (NUMBER,),
    "subject export": (NUMBER,),
}
GATEWAYS = {"first": {"kind": "sandbox"}, "second": {"kind": "sandbox", "max_in_flight": 10}}
TOLD_AT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")


CHANGING = {" ".join(line.split()[: 1 + (line.split()[0] not in {"send", "check"})]) for line, _ in ACTING} | {
    "store failover", "factor remove", "factor unlock", "factor reset-steps"
}  # fmt: skip
"""`store failover` needs several servers. Those of factors need a handset, and have their own test."""
READING = sorted(path for path, _ in leaves() if path not in CHANGING | SERVERS | KEYS)


@pytest.fixture
def world(valkey, sqlite_template, tmp_path):
    """An installation where messages arrived, were given up and are refused; and the arguments of each command."""
    (tmp_path / "ledger.db").write_bytes(sqlite_template.read_bytes())
    environ = configured(
        tmp_path,
        valkey.url,
        ledger={"url": f"sqlite:///{tmp_path / 'ledger.db'}"},
        gateways=GATEWAYS,
        routes=[{"gateways": list(GATEWAYS)}],
        http={"public_url": "https://otp.example"},
        limits={"number": ["3/day"]},
        applications={**tree("")["applications"]},
        guard={"modes": modes("number.sends")},
    )
    shop = Caller(install(load_settings(environ=environ)))
    codes = [_approved(shop)]
    shop.start(), shop.start()
    sender = Sender(shop, first=Scripted(refused("rejected", "20003"), timed_out()), second=Scripted())
    sender.deliver()
    with pytest.raises(RateLimitedError) as error:
        shop.start()
    record_events(shop.context)
    for command in (
        ("suppressions", "add", NUMBER, "--reason", "asked on paper", "--until", "2099-01-01"),
        ("suppressions", "add", "+447400123456", "--application", "shop"),
        ("key", "add", "shop"),
        ("gateway", "pause", "second"),
        ("webhook", "add", "shop", "https://8.8.8.8/hooks", "--type", "verification.approved", "--type", "delivery"),
    ):
        assert run(*command, environ=environ).exit_code == 0
    pack = tmp_path / "pack.json"
    pack.write_text(run("audit", "export", "--subject", NUMBER, environ=environ).stdout)
    given = {"pack.json": str(pack), "DECISION": error.value.decision}
    arguments = {path: [given.get(part, part) for part in parts] for path, parts in ARGUMENTS.items()}
    return environ, arguments, codes


def _approved(shop: Caller) -> str:
    one = shop.start(consent=EVIDENCE)
    code = shop.code(one)
    Sender(shop, first=Scripted(), second=Scripted()).deliver()
    shop.check(one, code)
    return code


def test_every_command_but_servers_and_makers_of_keys_has_json():
    having = {path for path, one in leaves() if any("--json" in part.opts for part in one.params)}

    assert {path for path, _ in leaves()} - having == SERVERS | KEYS


def test_each_that_changes_something_prints_one_document(world, tmp_path):
    environ, _, _ = world
    (tmp_path / "club.json").write_text('{"name": "Club", "purposes": ["login"], "countries": ["PK"]}')
    (tmp_path / "numbers.csv").write_text("+923001112233\nno number\n")
    named = {one: str(tmp_path / one) for one in ("club.json", "numbers.csv")}
    shop = Caller(install(load_settings(environ=environ)))
    last: dict[str, str] = {}
    for line, members in ACTING:
        if line.startswith("inbox"):
            handle_message(shop.context, "first", InboundMessage(line, "+923331234567", "I have had enough of this"))
            named["MESSAGE"] = shop.context.store.inbox.waiting()[0].id
        command = [named.get(part, part) for part in line.format(**last).split()]
        result = run(*command, "--json", environ=environ)

        assert result.exit_code == (line.split()[0] == "check"), (line, result.output)
        document = json.loads(result.stdout)
        assert document.keys() == members, line
        assert [one for one in _odd(document) if one != "*"] == [], line
        assert NUMBER not in result.stdout
        last = {"id": document["id"]} if "id" in document else last


def test_a_question_is_not_part_of_the_document(world):
    environ, _, _ = world
    result = run("limits", "reset", NUMBER, "--json", environ=environ, stdin="y\n")

    assert json.loads(result.stdout).keys() == {"to", "windows"}
    assert "Reset the limits" in result.stderr


def test_each_prints_one_document_and_ends_as_it_does_without(world):
    environ, arguments, codes = world
    for path in READING:
        command = [*path.split(), *arguments.get(path, ())]
        plain, told = run(*command, environ=environ), run(*command, "--json", environ=environ)

        assert told.exit_code == plain.exit_code == 0, (path, told.output)
        document = json.loads(told.stdout)
        assert isinstance(document, dict), path
        assert document, f"{path}: there is always something to tell"
        assert _shown_in_the_clear(told.stdout, codes) == [], path
        if path not in {"config show", "application show", "subject export", "audit export"}:  # in others' words
            assert list(_odd(document)) == [], path


def _shown_in_the_clear(text: str, codes: list[str]) -> list[str]:
    numbers = [one for one in (NUMBER, NUMBER[1:], NUMBER[3:], NUMBER[-7:], "7400123456") if one in text]
    return numbers + [one for one in codes if re.search(f"(?<![0-9a-f]){one}(?![0-9a-f])", text)]


def _odd(value: object) -> Iterator[str]:
    """Yield members that are not in snake case (or a country), times that are not RFC 3339 in UTC, and empty words."""
    if isinstance(value, dict):
        yield from (name for name in value if not re.fullmatch("[a-z][a-z0-9_-]*|[A-Z]{2}", name))
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _odd(each)
    elif isinstance(value, str) and (
        value in {"", "-"} or (re.match(r"\d{4}-\d\d-\d\d", value) and not TOLD_AT.match(value))
    ):
        yield value


def test_a_foreseen_error_leaves_standard_output_empty(world):
    environ, _, _ = world
    for command in ("application show nope", "guard explain nope", "audit actions --from x"):
        result = run(*command.split(), "--json", environ=environ)
        assert (result.exit_code > 0, result.stdout, "Error: " in result.stderr) == (True, "", True)


def test_a_failure_that_is_found_is_told_in_the_document_and_by_the_exit_status(world, tmp_path):
    environ, _, _ = world
    pack = tmp_path / "forged.json"
    pack.write_text(run("audit", "export", "--subject", NUMBER, environ=environ).stdout.replace("shop", "bank"))
    broken = tmp_path / "broken.json"
    broken.write_text('{"http": {"prot": 80}}')

    for command, member in (
        (("audit", "check", str(pack)), "flaws"),
        (("doctor", "--config", str(broken)), "findings"),
    ):
        result = run(*command, "--json", environ=environ)
        assert result.exit_code == 1
        assert json.loads(result.stdout)[member]


def test_values_keep_their_types(world):
    environ, _, _ = world

    def told(*command):
        return json.loads(run(*command, "--json", environ=environ).stdout)

    paused = {one["name"]: one for one in told("gateway", "status")["gateways"]}["second"]["state"]
    assert (paused["name"], paused["by"].startswith("cli:"), bool(TOLD_AT.match(paused["until"]))) == (
        "paused", True, True,
    )  # fmt: skip
    (key,) = told("key", "list")["keys"]
    assert (key["scopes"], key["addresses"], key["last_used"]) == (["verify"], [], None)
    (window,) = [one for one in told("limits", "show", NUMBER)["limits"] if one["limit"].startswith("number")]
    assert (window["application"], window["used"], window["left"]) == (None, 3, 0)
    assert isinstance(window["resets_in"], float)
    assert told("ledger", "status")["retention"][0]["kept_for"] % 86400 == 0
