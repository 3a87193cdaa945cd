"""Signatures of the console's scripts."""

from typing import NamedTuple

from otp_service.store.signatures.signature import Signature


class ConsoleAttemptKeys(NamedTuple):
    """Keys of ``console_attempt.lua``."""

    attempts: str
    """Attempts under a name from a network."""


class ConsoleAttemptArguments(NamedTuple):
    """Times in milliseconds."""

    free_attempts: int
    """Attempts that need not wait."""
    first_wait: int
    max_wait: int
    life: int
    """After which the attempts are forgotten."""


CONSOLE_ATTEMPT = Signature("console_attempt", ConsoleAttemptKeys, ConsoleAttemptArguments, int)
"""Returns the milliseconds to wait, or 0."""


class ConsoleSessionKeys(NamedTuple):
    """Keys of ``console_session_write.lua``."""

    session: str


class ConsoleSessionArguments(NamedTuple):
    """A field of a session."""

    field: str
    value: str | int


CONSOLE_SESSION_WRITE = Signature("console_session_write", ConsoleSessionKeys, ConsoleSessionArguments, int)
"""Returns 1, or 0 where the session has ended."""


class ChainTurnKeys(NamedTuple):
    """Keys of ``chain_turn.lua``."""

    turn: str


class ChainTurnArguments(NamedTuple):
    """The verification of the audit chain that takes, keeps or ends the turn."""

    name: str
    life: int
    """Milliseconds until the turn ends without a renewal; 0 ends it."""
    run: str
    """The verification, as JSON."""


CHAIN_TURN = Signature("chain_turn", ChainTurnKeys, ChainTurnArguments, int)
"""Returns 1, or 0 where another verification has the turn."""
