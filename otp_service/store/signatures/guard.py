"""Signatures of the scripts that show and reset what the guard counts."""

from typing import NamedTuple

from otp_service.store.signatures.common import KeyList, NumberKeys
from otp_service.store.signatures.signature import NoArguments, Signature


class Applications(NamedTuple):
    rest: tuple[str, ...]


class NumberRead(NamedTuple):
    """The time, and a number's last verifications and messages."""

    now: int
    recent: bytes
    sends: list[int]
    """Times of the last messages, newest first."""
    wrong: list[list[int]]
    """Times of the last wrong codes, of each application."""


NUMBER_READ = Signature[NumberKeys, Applications, NumberRead]("number_read")


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
    applications: list[tuple[int, list[int], list[int], int]]
    """Of each: when a device was approved last, messages to known devices, wrong codes, and when its lock ends."""


NUMBER_SHOW = Signature[NumberKeys, DevicesArguments, NumberShown]("number_show")
NUMBER_FORGET = Signature[NumberKeys, DevicesArguments, int]("number_forget")
"""Returns 1 if there was a number, else 0."""


class NumberUnblockArguments(NamedTuple):
    kind: str
    """``windows`` or ``waits``."""
    rest: tuple[str, ...]


NUMBER_UNBLOCK = Signature[NumberKeys, NumberUnblockArguments, int]("number_unblock")
"""Returns how many windows or waits were in use."""


class SubjectKeys(NamedTuple):
    subject: str


class SubjectRead(NamedTuple):
    """The time, and the state as JSON; empty where there is none."""

    now: int
    values: bytes


GUARD_READ = Signature[SubjectKeys, NoArguments, SubjectRead]("guard_read")
GUARD_UNBLOCK = Signature[SubjectKeys, NoArguments, int]("guard_unblock")
"""Returns 1 if there was any state, else 0."""


class ShareMoveArguments(NamedTuple):
    country: str
    """Empty for a ceiling of the application."""
    ceiling: str
    interval: int
    """Its number since the epoch."""
    amount: int
    """Millionths; negative to take."""


SHARE_MOVE = Signature[SubjectKeys, ShareMoveArguments, int]("share_move")
"""Returns the moved amount: 0 in another interval by the server's clock."""


class SumsRequestKeys(NamedTuple):
    unsummed: str


class SumsRequestArguments(NamedTuple):
    life: int
    """Of the list, in milliseconds."""
    rest: tuple[str, ...]


SUMS_REQUEST = Signature[SumsRequestKeys, SumsRequestArguments, int]("sums_request")


class WindowsReadArguments(NamedTuple):
    subject: str
    """``address`` or ``application``."""
    scope: str


WINDOWS_READ = Signature[KeyList, WindowsReadArguments, list[int]]("windows_read")
"""Keys: states of networks or of an application, in a bucket. Returns for each state and window the count, the count
before, and the milliseconds until it is the count before."""


class WindowsWriteArguments(NamedTuple):
    subject: str
    """``address`` or ``application``."""
    scope: str
    rest: tuple[int, ...]
    """For each state and window the sum, and the milliseconds for which the window is full."""


WINDOWS_WRITE = Signature[KeyList, WindowsWriteArguments, bytes]("windows_write")


class DecisionNoteKeys(NamedTuple):
    decisions: str


class DecisionNoteArguments(NamedTuple):
    max_decisions: int
    max_age: int
    rule: str
    application: str
    purpose: str
    country: str
    mode: str
    """``enforce`` or ``lifted``."""
    request: str


DECISION_NOTE = Signature[DecisionNoteKeys, DecisionNoteArguments, bytes]("decision_note")
"""Returns the identifier of the decision."""


class SuspicionsNoteArguments(NamedTuple):
    life: int
    """Milliseconds of a suspicion that is not renewed."""
    suspicions: str
    """JSON, of each country: `CountrySuspicion`."""


SUSPICIONS_NOTE = Signature[KeyList, SuspicionsNoteArguments, bytes]("suspicions_note")
"""Keys: countries of an application in one bucket."""


class TrafficCommitKeys(NamedTuple):
    traffic: str
    """Of the application."""
    tallies: str


class TrafficCommitArguments(NamedTuple):
    version: str
    """The version that was read before; nothing is stored if it has changed."""
    life: int
    """Milliseconds."""
    tallies: str
    """The counted tallies, as JSON."""
    rest: tuple[str | bytes, ...]
    """Names and values of the learnt traffic, in turn."""


TRAFFIC_COMMIT = Signature[TrafficCommitKeys, TrafficCommitArguments, int]("traffic_commit")
"""Returns 1 if it was stored, else 0."""
