"""Signatures of the console's scripts."""

from typing import NamedTuple

from otp_service.store.signatures.signature import Signature


class ConsoleAttemptKeys(NamedTuple):
    attempts: str
    """Attempts under a name from a network."""


class ConsoleAttemptArguments(NamedTuple):
    """Times in milliseconds."""

    free_attempts: int
    first_wait: int
    max_wait: int
    life: int
    """After which the attempts are forgotten."""


CONSOLE_ATTEMPT = Signature[ConsoleAttemptKeys, ConsoleAttemptArguments, int]("console_attempt")
"""Returns the milliseconds to wait, or 0."""


class ConsoleSessionKeys(NamedTuple):
    session: str


class ConsoleSessionArguments(NamedTuple):
    field: str
    value: str | int


CONSOLE_SESSION_WRITE = Signature[ConsoleSessionKeys, ConsoleSessionArguments, int]("console_session_write")
"""Returns 1, or 0 where the session has ended."""


class ChainTurnKeys(NamedTuple):
    turn: str


class ChainTurnArguments(NamedTuple):
    """The verification of the audit chain that takes, keeps or ends the turn."""

    name: str
    life: int
    """Milliseconds until the turn ends without a renewal; 0 ends it."""
    run: str
    """The verification, as JSON."""


CHAIN_TURN = Signature[ChainTurnKeys, ChainTurnArguments, int]("chain_turn")
"""Returns 1, or 0 where another verification has the turn."""
