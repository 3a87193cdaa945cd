"""Signatures of the scripts that show and reset what the guard counts."""

from typing import NamedTuple

from otp_service.store.signatures.signature import NoArguments, Signature


class NumberKeys(NamedTuple):
    """The state of a number, or of an application's user."""

    number: str


class Applications(NamedTuple):
    """Names of applications."""

    rest: tuple[str, ...]


class NumberRead(NamedTuple):
    """The time, and a number's last verifications and messages."""

    now: int
    recent: bytes
    sends: list[int]
    """Times of the last messages, newest first."""
    wrong: list[list[int]]
    """Times of the last wrong codes, of each application."""


NUMBER_READ = Signature("number_read", NumberKeys, Applications, NumberRead)


class DevicesArguments(NamedTuple):
    """The beginning of the names of devices, and names of applications."""

    devices: str
    rest: tuple[str, ...]


class NumberShown(NamedTuple):
    """When a number or user was approved, and messages to it."""

    approved: int
    """The last time; 0 for never."""
    devices: list[int]
    """When each device was approved."""
    sends: list[int]
    """Times of the last messages."""
    applications: list[tuple[int, list[int], list[int], int]]
    """Of each: when a device was approved last, messages to known devices, wrong codes, and when its lock ends."""


NUMBER_SHOW = Signature("number_show", NumberKeys, DevicesArguments, NumberShown)
NUMBER_FORGET = Signature("number_forget", NumberKeys, DevicesArguments, int)
"""Returns 1 where there was a number, else 0."""


class NumberUnblockArguments(NamedTuple):
    """What to forget, at some applications."""

    kind: str
    """``windows`` or ``waits``."""
    rest: tuple[str, ...]


NUMBER_UNBLOCK = Signature("number_unblock", NumberKeys, NumberUnblockArguments, int)
"""Returns of how many windows, or waits, there was anything."""


class SubjectKeys(NamedTuple):
    """The state of a subject other than a number."""

    subject: str


class SubjectRead(NamedTuple):
    """The time, and the state as JSON; empty where there is none."""

    now: int
    values: bytes


GUARD_READ = Signature("guard_read", SubjectKeys, NoArguments, SubjectRead)
GUARD_UNBLOCK = Signature("guard_unblock", SubjectKeys, NoArguments, int)
"""Returns 1 where there was anything, else 0."""


class ShareMoveArguments(NamedTuple):
    """A share of a ceiling, and what to move to it."""

    country: str
    """Empty for a ceiling of the application."""
    ceiling: str
    """Its name."""
    interval: int
    """Its number since the epoch."""
    amount: int
    """Millionths; negative to take."""


SHARE_MOVE = Signature("share_move", SubjectKeys, ShareMoveArguments, int)
"""Returns what was moved: nothing where the interval is another by the server's clock."""


class SumsRequestKeys(NamedTuple):
    """The list of windows to sum."""

    unsummed: str


class SumsRequestArguments(NamedTuple):
    """Windows of applications and networks."""

    life: int
    """Of the list, in milliseconds."""
    rest: tuple[str, ...]


SUMS_REQUEST = Signature("sums_request", SumsRequestKeys, SumsRequestArguments, int)


class WindowsKeys(NamedTuple):
    """States of networks, or of an application, in a bucket."""

    rest: tuple[str, ...]


class WindowsReadArguments(NamedTuple):
    """Which windows."""

    subject: str
    """``address`` or ``application``."""
    scope: str


WINDOWS_READ = Signature("windows_read", WindowsKeys, WindowsReadArguments, list)
"""Returns for each state and window the count, the count before, and the milliseconds until it is the count before."""


class WindowsWriteArguments(NamedTuple):
    """Sums over all buckets."""

    subject: str
    """``address`` or ``application``."""
    scope: str
    rest: tuple[int, ...]
    """For each state and window the sum, and the milliseconds for which the window is full."""


WINDOWS_WRITE = Signature("windows_write", WindowsKeys, WindowsWriteArguments, bytes)


class DecisionNoteKeys(NamedTuple):
    """The decisions of a bucket."""

    decisions: str


class DecisionNoteArguments(NamedTuple):
    """A decision."""

    max_decisions: int
    max_age: int
    """Milliseconds."""
    rule: str
    application: str
    purpose: str
    country: str
    mode: str
    """``enforce`` or ``lifted``."""
    request: str
    """Its identifier, or empty."""


DECISION_NOTE = Signature("decision_note", DecisionNoteKeys, DecisionNoteArguments, bytes)
"""Returns the identifier of the decision."""


class SuspicionsNoteKeys(NamedTuple):
    """Countries of an application in one bucket."""

    rest: tuple[str, ...]


class SuspicionsNoteArguments(NamedTuple):
    """What newcomers meet in each country."""

    life: int
    """Milliseconds for which a suspicion stands that is not renewed."""
    suspicions: str
    """JSON, of each country: `CountrySuspicion`."""


SUSPICIONS_NOTE = Signature("suspicions_note", SuspicionsNoteKeys, SuspicionsNoteArguments, bytes)


class TrafficCommitKeys(NamedTuple):
    """An application's traffic."""

    traffic: str
    """What was learnt of it."""
    tallies: str


class TrafficCommitArguments(NamedTuple):
    """What was learnt from some tallies."""

    version: str
    """The version that was read of what was learnt before; nothing is stored where that has changed."""
    life: int
    """Milliseconds for which what was learnt is stored."""
    tallies: str
    """Those that were counted, as JSON."""
    rest: tuple[str | bytes, ...]
    """Names in what was learnt and values, in turn."""


TRAFFIC_COMMIT = Signature("traffic_commit", TrafficCommitKeys, TrafficCommitArguments, int)
"""Returns 1 where it was stored, else 0."""
