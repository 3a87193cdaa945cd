"""Calls that ask the ledger: few at a time, so that a database that is away leaves threads to starts and checks."""

import threading

from flask import Blueprint, g

from otp_service.core.errors import LedgerUnavailableError

PATIENCE = 0.5
"""Seconds that a call waits for its turn: many times what one takes while the ledger answers."""


def bound(routes: Blueprint, turns: threading.BoundedSemaphore) -> Blueprint:
    """Let the calls of a resource wait for their turn; raise `LedgerUnavailableError` when it does not come.

    Returns the routes.
    """

    def take_turn() -> None:
        if not turns.acquire(timeout=PATIENCE):
            raise LedgerUnavailableError("Too many wait for the ledger.")
        g.ledger_turn = True

    def end_turn(_: BaseException | None) -> None:
        if g.pop("ledger_turn", False):
            turns.release()

    routes.before_request(take_turn)
    routes.teardown_request(end_turn)
    return routes
