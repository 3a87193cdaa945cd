"""How long the console's pages take, and what they weigh, with full data: ``make bench-console``. Three minutes.

In the ledger are 300,000 verifications of 30 days with their events, their hourly stats, and as many stats of the
30 days before; beside them 50 dead letters, 10,000 decisions, a number with 20 verifications and 50 users. Rows are
made by the databases themselves, stats by ``ledger recount``. Each page is asked for in this process, by somebody who
signed in; the memory is that of ``otp-service console``, which nobody has asked for anything. Ends with 1 where a page
takes more than 500 ms or weighs more than 150 kB. Needs PostgreSQL.
"""

import argparse
import gzip
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from find_number import fill, ledger_url
from processes import Process, free_port, tree_of, wait_for_port
from rig import COMMAND
from sqlalchemy import func, select
from support_caller import Caller
from support_cli import configured
from support_console import Browser, new_person, sign_in
from support_events import record_events
from support_installation import NUMBER
from support_outbox import Scripted, Sender, refused
from support_valkey import ValkeyServer

from otp_service.bootstrap import Installation, install, prepare
from otp_service.console import authentication
from otp_service.console.accounts import Role
from otp_service.console.app import Console
from otp_service.ledger.ledger import Ledger
from otp_service.ledger.schema import hourly_delays, hourly_stats
from otp_service.settings import load_settings
from otp_service.telemetry.logging import Renderer, configure_logging

MOST_MS, MOST_KB = 500.0, 150.0
REPEATED = 7
DECISIONS, LETTERS, MINE, USERS = 10_000, 50, 20, 50
BUCKET = "00"
PAGES = {
    Role.FRAUD: (
        *(f"/fraud{view}?days={days}" for view in ("", "/rules", "/funnel", "/spend") for days in (7, 30)),
        *("/fraud/unapproved?days=30", "/fraud/holds", "/fraud/what-if"),
    ),
    Role.OPERATIONS: ("/operations", "/operations?hours=168"),
    Role.COMPLIANCE: ("/compliance",),
    Role.DEVELOPER: ("/developers",),
    Role.ADMIN: ("/users",),
}
"""By the role that looks at them; `find` is asked for apart, since a number is in no address."""
_DAYS = 30 * 24 * 3_600_000
_ABROAD = "AEBDBRCADEEGESFRGBIDINIQITJPKEMYNGOMPHQASATHTRUSUZVNYEZAZW"
_STARTED = f":now - {_DAYS} + CAST({_DAYS} AS BIGINT) / :many * (i - 1)"
_PLACE = "(CAST(i AS BIGINT) * 7919 % 100003)"
"""Of a verification, so that what it is of does not go by its time."""
_APPLICATION = f"CASE {_PLACE} % 2 WHEN 0 THEN 'shop' ELSE 'bank' END"
_IS_ABROAD = f"{_PLACE} / 2 % 20 = 0"
_VERIFICATIONS = f"""
INSERT INTO verifications (id, application, pseudonym, purpose, country, started, payment, payment_reference, expires,
    status, ended, channel, number_prefix, standing)
SELECT 'vf_other_' || i, {_APPLICATION}, 'other' || {_PLACE}, 'login',
    CASE WHEN {_IS_ABROAD} THEN substr(:abroad, CAST(1 + 2 * ({_PLACE} / 40 % 28) AS INTEGER), 2) ELSE 'PK' END,
    {_STARTED}, '', '', {_STARTED} + 300000,
    CASE WHEN {_PLACE} % 10 < 7 THEN 'approved' ELSE 'pending' END,
    CASE WHEN {_PLACE} % 10 < 7 THEN {_STARTED} + 20000 ELSE 0 END, 'sms',
    CASE WHEN {_IS_ABROAD} THEN '' ELSE '9230' || ({_PLACE} / 7 % 5) END,
    CASE WHEN {_PLACE} / 3 % 2 = 0 THEN 'newcomer' ELSE 'known' END FROM counted"""  # noqa: S608 - all of it is ours
_EVENT = """
INSERT INTO events (id, verification, type, at, gateway, details)
SELECT '00:' || i || '-{number}:other', 'vf_other_' || i, '{type}', {started} + {after}, {gateway}, '{details}'
    FROM counted WHERE {of}"""
_GATEWAY = f"CASE {_PLACE} / 11 % 5 WHEN 0 THEN 'backup' ELSE 'sandbox' END"
_EVENTS = (
    ("verification.started", "0", "''", '{"channel"\\:"sms"}', "0 = 0"),
    ("delivery.sent", "1500", _GATEWAY, '{"channel"\\:"sms","cost"\\:"2500000","slot"\\:"d1.1"}', "0 = 0"),
    (
        "delivery.delivered",
        f"2000 + 300 * ({_PLACE} % 97)",
        _GATEWAY,
        '{"channel"\\:"sms","raw_status"\\:"delivered","slot"\\:"d1.1"}',
        f"{_PLACE} % 25 > 0",
    ),
    ("verification.approved", "20000", "''", "{}", f"{_PLACE} % 10 < 7"),
)
_STATEMENTS = (
    _VERIFICATIONS,
    *(
        _EVENT.format(number=number, type=kind, started=_STARTED, after=after, gateway=gateway, details=details, of=of)
        for number, (kind, after, gateway, details, of) in enumerate(_EVENTS)
    ),
)
_BEFORE = _DAYS + 3_600_000


@dataclass(frozen=True)
class Page:
    """What a page took and weighs."""

    name: str
    milliseconds: float
    kilobytes: float
    zipped: float

    @property
    def is_too_much(self) -> bool:
        """Whether it takes or weighs more than it may."""
        return self.milliseconds > MOST_MS or self.kilobytes > MOST_KB


def main() -> int:
    """Build and ask on each database; return 1 when a page was too slow or too heavy."""
    options = _options()
    configure_logging("CRITICAL", Renderer.CONSOLE)
    found: dict[str, list[Page]] = {}
    for database in options.databases:
        with ExitStack() as stack:
            found[database], memory = _ask(stack, database, options.verifications)
    print(f"| page | kB | gzip | {' | '.join(f'ms, {database}' for database in found)} |\n|---|---:|---:|", end="")
    print("---:|" * len(found))
    for pages in zip(*found.values(), strict=True):
        times = " | ".join(f"{one.milliseconds:.0f}" for one in pages)
        heaviest = max(pages, key=lambda one: one.kilobytes)
        print(f"| {heaviest.name} | {heaviest.kilobytes:.1f} | {heaviest.zipped:.1f} | {times} |")
    print(f"\nThe idle console: {memory}.")
    return int(any(one.is_too_much for pages in found.values() for one in pages))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("databases", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--verifications", type=int, default=300_000)
    return parser.parse_args()


def _ask(stack: ExitStack, database: str, verifications: int) -> tuple[list[Page], str]:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="otp-service-console-")))
    url = ledger_url(stack, database, folder)
    _fill(url, database, verifications)
    valkey = ValkeyServer(folder)
    stack.callback(valkey.stop)
    port = free_port()
    environment = configured(
        folder, valkey.url, ledger={"url": url, "timeout": 30.0}, console={"port": port},
        limits={"number": ["1000/hour"]},
    )  # fmt: skip
    os.environ.update(environment)
    installation = install(load_settings())
    stack.callback(installation.close)
    prepare(installation)
    _happen(installation)
    pages = list(_pages(installation))
    return pages, _memory(stack, port, folder)


def _fill(url: str, database: str, verifications: int) -> None:
    ledger = Ledger(url, 600.0)
    ledger.upgrade()
    began = time.monotonic()
    fill(ledger.database, _STATEMENTS, many=verifications, abroad=_ABROAD)
    made = time.monotonic()
    counted = sum(ledger.stats.recount())
    recounted = time.monotonic()
    with ledger.database.write() as connection:
        for table in (hourly_stats, hourly_delays):
            before = [table.c.hour - _BEFORE, *(one for one in table.c if one.name != "hour")]
            connection.execute(table.insert().from_select([one.name for one in table.c], select(*before)))
        rows = connection.execute(select(func.count()).select_from(hourly_stats)).scalar_one()
    ledger.database.close()
    print(
        f"{database}: {verifications:,} verifications in {made - began:.0f} s, {counted:,} of them counted in "
        f"{recounted - made:.0f} s, {rows:,} rows of stats",
        file=sys.stderr,
    )


def _happen(installation: Installation) -> None:
    """Let happen what pages show beside stats."""
    installation.context.access_cache.refresh()
    shop = Caller(installation)
    for place in range(LETTERS):
        shop.start(f"+92300{place:07d}")
    Sender(shop, sandbox=Scripted(*[refused("rejected", "20003")] * LETTERS)).deliver()
    for _ in range(MINE):
        shop.start()
    record_events(shop.context)
    for _ in range(DECISIONS):
        shop.context.store.decisions.note(BUCKET, "number.sends", "shop", "login", "PK")
    for place in range(USERS):
        authentication.invite(shop.context, f"user{place}", Role.SUPPORT, (), "cli:bench")


def _pages(installation: Installation) -> Iterator[Page]:
    console = Console(installation)
    for role, paths in PAGES.items():
        browser = sign_in(console, new_person(installation, role, role))
        yield from (_page(browser, path, path) for path in ("/", *paths) if path != "/" or role is Role.FRAUD)
    browser = sign_in(console, new_person(installation, Role.SUPPORT, Role.SUPPORT))
    browser.get("/find")
    handle = browser.post("/find", number=NUMBER, reason="ticket 1").location
    yield _page(browser, handle, "/find/…")


def _page(browser: Browser, path: str, name: str) -> Page:
    spent = []
    for _ in range(REPEATED):
        began = time.perf_counter()
        answer = browser.get(path)
        spent.append(1000 * (time.perf_counter() - began))
        if answer.status_code != 200:  # noqa: PLR2004 - OK
            raise SystemExit(f"{path}: {answer.status_code}")
    told = answer.get_data()
    return Page(name, statistics.median(spent), len(told) / 1000, len(gzip.compress(told)) / 1000)


def _memory(stack: ExitStack, port: int, folder: Path) -> str:
    """Return what the processes of a console hold that nobody has asked for anything."""
    process = Process.start(stack, [COMMAND, "console"], log=folder / "console.log")
    wait_for_port(port, 60.0)
    time.sleep(5)
    held = {name: sum(_kilobytes(pid, name) for pid in tree_of(process.pid)) / 1024 for name in ("Rss", "Pss")}
    count = len(tree_of(process.pid))
    return f"{held['Pss']:.0f} MiB in {count} processes (PSS; {held['Rss']:.0f} with what they share counted for each)"


def _kilobytes(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    raise SystemExit(main())
