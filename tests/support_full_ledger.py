"""A ledger with something of every kind in it, and tables that are tampered with."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, text
from support_factors import factor
from support_ledger_events import EVIDENCE, NUMBER, agreed, event, started
from support_webhooks import endpoint

from otp_service.clock import now
from otp_service.console.accounts import Role
from otp_service.console.records import (
    ConsoleUsers,
    DualControlAction,
    DualControlRequest,
    DualControlRequests,
    NumberView,
    NumberViews,
)
from otp_service.domain.applications import ApiKey, KeyScope, new_key_id
from otp_service.domain.audit import OperatorAction, OperatorActionEntry
from otp_service.domain.consents import Consent, Suppression, SuppressionScope, SuppressionSource
from otp_service.domain.inbound import Meaning
from otp_service.ledger.ledger import Ledger

BY = "cli:asha"


def fill(ledger: Ledger, name: str, number: str = NUMBER) -> None:
    """Record something of every kind, under names of its own; some of it ends."""
    let_in(ledger, name)
    at = now()
    ledger.verifications.record([
        started(name, at, number), agreed(name, number, evidence=replace(EVIDENCE, agreed_at=at)),
        event("delivery.sent", name, at + 100, gateway="first"),
    ])  # fmt: skip
    ledger.consents.add(Consent(number, "shop", "login", None))
    ledger.suppressions.add([Suppression(number, "shop", SuppressionScope.ALL, SuppressionSource.API, reason=name)])
    for user in (number, f"{name:u<22}"):
        ledger.factors.activate(factor(f"fa_{(name + user[:2]).encode().hex():0>56}", user))
        ledger.recovery_codes.replace(user, "shop", [f"{kind}{name}{user}"[:22] for kind in "abc"])
    ledger.recovery_codes.spend(f"a{name}{user}"[:22], f"d{name}{user}"[:22], user, "shop")
    NumberViews(ledger.database).record(NumberView("asha", "find", number, "ticket 17"))
    DualControlRequests(ledger.database).ask(
        DualControlRequest(DualControlAction.ERASE, number, "shop", "asha", "he asked for it")
    )
    ledger.inbound.record(f"message of {name}", number, "shop", "first", Meaning.STOP)
    ledger.subjects.erase(number, "shop", OperatorActionEntry(OperatorAction.SUBJECT_ERASED, "asha", "shop"))


def let_in(ledger: Ledger, name: str) -> None:
    """Record applications, keys, users, endpoints and keys of proofs."""
    ledger.applications.add(f"app-{name}", '{"name":"Acme"}', BY)
    ledger.applications.change(f"app-{name}", '{"name":"Acme Shop"}', BY)
    for _ in range(2):
        made = new_key_id()
        ledger.api_keys.add(ApiKey(made, "shop", f"sha256:{made}", frozenset({KeyScope.VERIFY}), ()), BY)
        ledger.api_keys.rotate(made, f"{made}r", f"sha256:{made}r", 1000, BY)
    ledger.api_keys.revoke(f"{made}r", BY)
    ConsoleUsers(ledger.database).invite(f"user-{name}", Role.SUPPORT, ("shop",), f"hash of {name}", BY)
    ConsoleUsers(ledger.database).accept(f"hash of {name}", "argon2id", "k1.secret", 7)
    ConsoleUsers(ledger.database).invite(f"former-{name}", Role.ADMIN, (), "", BY)
    ConsoleUsers(ledger.database).disable(f"former-{name}", BY)
    for _ in range(2):
        kept = endpoint(ledger)
    ledger.endpoints.change(kept.id, "shop", lambda one: replace(one, secret=""), removes=True)
    ledger.proof_keys.note({name: {"kty": "EC", "x": name}, "all": {"kty": "EC", "x": "all"}})


def drop_triggers(connection: Connection, kind: str) -> None:
    """Do what whoever owns the database can do first."""
    for table in ("consents", "suppressions", "operator_actions", "factor_changes", "audit"):
        suffix = f" ON {table}" if kind == "postgresql" else ""
        connection.execute(text(f"DROP TRIGGER IF EXISTS {table}_fixed{suffix}"))


def another_value(value: Any, kind: Any) -> Any:
    """Return a value that a column may hold, and does not."""
    if isinstance(value, bool):
        return not value
    if kind.python_type is int:
        return (value or 0) + 10_000
    if isinstance(value, str) and value.startswith(("{", "[")):
        return '{"another":"value"}'
    return "another" if not value else ("0" if value[0] != "0" else "1") + value[1:]
