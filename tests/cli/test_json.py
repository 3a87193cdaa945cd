"""``--json``: every command that reads has it, and prints one document of plain members, whatever happened before."""

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
from otp_service.settings import load_settings

ACTING = {
    "dev", "serve", "worker", "console", "send", "check",
    "application add", "application change",
    "key new", "key root", "key pseudonym", "key add", "key rotate", "key revoke",
    "gateway test", "gateway pause", "gateway resume",
    "dead-letters redrive", "limits reset", "guard unblock", "store fence", "store failover",
    "ledger upgrade", "ledger partition", "ledger rebuild", "ledger purge", "ledger recount",
    "suppressions add", "suppressions lift", "suppressions import",
    "subject erase", "subject freeze", "subject unfreeze",
    *(f"webhook {verb}" for verb in ("add", "rotate", "enable", "disable", "remove", "replay", "reseal")),
    "console-user add", "console-user invite", "console-user disable",
    "inbox stop", "inbox dismiss",
    "factor remove", "factor unlock", "factor reseal",
}  # fmt: skip
"""Commands that do something. Every other one reads, and has ``--json``."""
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
    "size": ("--starts", "50", "--known", "1M"),
    "suppressions show": (NUMBER,),
    "subject export": (NUMBER,),
}
GATEWAYS = {"first": {"kind": "sandbox"}, "second": {"kind": "sandbox", "max_in_flight": 10}}
TOLD_AT = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")


READING = sorted(path for path, _ in leaves() if path not in ACTING)


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


def test_every_command_that_reads_has_json_and_no_other():
    having = {path for path, one in leaves() if any("--json" in part.opts for part in one.params)}

    assert having == set(READING)
    assert len(READING) + len(ACTING) == len(list(leaves()))


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
