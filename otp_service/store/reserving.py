"""A message that counts in subjects of other slots than its number's: reserve, commit, give back.

On one server `start.lua` and `resend.lua` read all subjects themselves. Where address, block and application are on
other nodes, each of them counts the message first, where it has room (`reserve.lua`); then the number's slot decides,
always and alone, by what they found; what it refuses, or finds sent before, or spares, is given back, and all where it
is known to be away. **After a lost answer nothing is given back**: it may have been decided. So a limit is never
exceeded; a process that dies leaves a unit counted for each start under way, which windows and buckets drain, and money
keeps until its interval ends.

An application's slot counts messages ahead of their coming where many come that are alike (`_Ahead`): what is left of
them after a second is given back.
"""

import string
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from otp_service.domain.guard import HOUR, SendAttempt
from otp_service.domain.routing import GatewayLimits
from otp_service.errors import StoreUnavailableError
from otp_service.store import keys
from otp_service.store.connection import Argument
from otp_service.store.rulesets import CompiledRuleset
from otp_service.store.script_runner import ScriptCall, ScriptRunner

_APPLICATION: Final = ("requests", "failures", "money", "newcomers", "country", "ceilings")
_OF_NETWORKS: Final = ("address", "network", "provider")
_NETWORKS: Final = ("starts", "targets", *_OF_NETWORKS)
_GROUPS: Final = (*_APPLICATION, *_NETWORKS, "block")
"""What a slot counts, by the names that the scripts give it; those of an application, and of networks, are in one."""
_UNTIL_BREAKER, _UNTIL_PSEUDONYM, _ALL = 4, 6, 11
"""How many of a message's arguments slots are told, by what the last one is."""
_AWAY: Final = "limit 1000 - 0"
"""Of a gateway whose server does not answer, as if it said so."""
_TURNS: Final = 3
"""How often a message is counted anew, since the breaker of its country stands otherwise than was assumed."""
MOST_AHEAD: Final = 31
"""How many messages an application's slot counts for a process ahead of their coming, at most."""
_SECOND: Final = 1.0


class SharedMessage(NamedTuple):
    """What slots of shared subjects are told of a message: names of people and networks are pseudonyms."""

    kind: str
    """``start``, ``resend``, ``fallback``, or ``dispatch``: a further call of a gateway, which counts as money only."""
    application: str
    country: str
    pseudonym: str
    block: str
    place: str
    safe: bool
    passed: bool
    """Whether a human check was."""
    price: int
    number_prefix: str = ""
    network: str = ""
    wide_network: str = ""
    provider: str = ""

    @property
    def slot_of_application(self) -> "_Slot":
        """The one of its application."""
        of_application = keys.application(self.application), keys.country(self.application, self.country)
        return _Slot(_APPLICATION, "application country", of_application, _ALL)

    def other_slots(self, scripts: ScriptRunner) -> Iterator["_Slot"]:
        """Yield the others in which it counts."""
        if self.network and self.kind == "start" and not self.passed:
            of_networks = scripts.of_networks(self.network, self.wide_network, self.provider)
            if self.safe:
                of_networks = of_networks[:1]
            yield _Slot(_NETWORKS, " ".join(_OF_NETWORKS[: len(of_networks)]), of_networks, _UNTIL_PSEUDONYM)
        if not self.safe:
            yield _Slot(("block",), "block", (keys.block(self.block),), _UNTIL_BREAKER)

    def arguments(self, country_breaker: str) -> tuple[Argument, ...]:
        """Return what slots are told of it, behind the names of their subjects: the first of these, or all."""
        marks = "".join(f"{mark} " for mark, holds in (("safe", self.safe), ("passed", self.passed)) if holds)
        return (
            self.kind, self.place, f" {marks}", country_breaker, self.country, self.pseudonym, self.application,
            self.price, self.number_prefix, self.network, self.wide_network,
        )  # fmt: skip

    @property
    def alike(self) -> tuple[Argument, ...]:
        """What it has in common with others that its application's slot counts alike, if nothing stands against it."""
        return self.kind, self.application, self.country, self.place, self.safe, self.passed, self.price


def of_start(application: str, country: str, attempt: SendAttempt) -> SharedMessage:
    """Return what is told of the first message of a verification."""
    return SharedMessage(
        "start", application, country, attempt.number, attempt.block, attempt.place, attempt.safe, attempt.checked,
        attempt.price, attempt.number_prefix, attempt.network, attempt.wide_network, attempt.provider,
    )  # fmt: skip


class _Slot(NamedTuple):
    """Shared subjects of a message that are in one slot."""

    groups: tuple[str, ...]
    subjects: str
    """Their names, blanks between."""
    keys: tuple[str, ...]
    told: int
    """How many arguments of a message it is told."""


class _Reserved(NamedTuple):
    """A message as slots have counted it."""

    message: SharedMessage
    ruleset: CompiledRuleset
    assumed: str
    found: tuple[tuple[_Slot, bytes], ...]
    """What each slot answered."""
    messages: int = 1
    """How many were counted so."""


@dataclass(slots=True)
class _Held:
    """Messages alike: how many came lately, and what is counted of those that are to come."""

    since: float
    came: int = 0
    came_before: int = 0
    """In the second that began then, and in the one before."""
    asked: float = 0.0
    """When the slot was asked last to count ahead."""
    counted: _Reserved | None = None
    left: int = 0
    until: float = 0.0
    """When they are to be given back."""

    def note(self, now: float) -> None:
        """Note that one came."""
        if (passed := now - self.since) >= _SECOND:
            self.came_before, self.came, self.since = self.came if passed < 2 * _SECOND else 0, 0, now
        self.came += 1


class _Ahead:
    """What applications' slots counted for this process ahead, by what messages have in common.

    As many as came in half of the last second, and of the room that there is one part in 32: so what all processes hold
    hardly matters to a limit until it is nearly reached, and then nothing is counted ahead. Nothing is, either, where a
    rule has found something, a breaker is not closed, or newcomers are under suspicion. They are used before an
    interval of a limit ends in which they were counted.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._turn = threading.Lock()
        self._held: dict[tuple[Argument, ...], _Held] = {}
        self._over: list[_Reserved] = []

    def take(self, alike: tuple[Argument, ...]) -> tuple[tuple[tuple[_Slot, bytes], ...], int]:
        """Return what was found of a message that is counted, else nothing and how many more may be counted with it."""
        if not self._most:
            return (), 0
        with self._turn:
            now = time.monotonic()
            held = self._held.get(alike) or self._held.setdefault(alike, _Held(now))
            held.note(now)
            if held.counted and held.left and now < held.until:
                held.left -= 1
                return held.counted.found, 0
            if now < held.asked + _SECOND / 4 and not held.counted:  # another thread asks, or it is not to be just now
                return (), 0
            self._end(held)
            more = min(self._most, max(held.came, held.came_before) // 2)
            held.asked = now if more else held.asked
            return (), more

    def keep(self, alike: tuple[Argument, ...], counted: _Reserved, until: float) -> None:
        """Keep what was counted ahead."""
        with self._turn:
            held = self._held.get(alike) or self._held.setdefault(alike, _Held(time.monotonic()))
            self._end(held)
            held.counted, held.left, held.until = counted, counted.messages, until

    def forget(self, alike: tuple[Argument, ...]) -> None:
        """Forget how many came, where it is not known what was counted: or each that asks counts many in vain."""
        with self._turn:
            if held := self._held.pop(alike, None):
                self._end(held)

    def collect(self, *, all_of_them: bool = False) -> list[_Reserved]:
        """Return what is to be given back, and forget it."""
        with self._turn:
            now = time.monotonic()
            for alike, held in list(self._held.items()):
                if all_of_them or now >= held.until:
                    self._end(held)
                if now >= held.since + 2 * _SECOND and not held.counted:
                    del self._held[alike]
            over, self._over = self._over, []
            return over

    def _end(self, held: _Held) -> None:
        if held.counted and held.left:
            self._over.append(held.counted._replace(messages=held.left))
        held.counted, held.left = None, 0


class GatewayCall:
    """What is found in other slots of a call of a gateway, before its number's slot records it."""

    def __init__(self, scripts: ScriptRunner, dispatch_id: str) -> None:
        self._scripts = scripts
        self._dispatch_id = dispatch_id
        self._entered: set[str] = set()
        self.money: _Reserved | None = None
        """Once it is reserved."""
        self.at_gateways: dict[str, str] = {}
        """What each said that was asked: see `gateway_enter.lua`."""

    @property
    def found(self) -> bytes:
        """What is known of its money."""
        return self.money.found[0][1] if self.money else b"elsewhere"

    def enter(self, gateway: str, allowance: GatewayLimits, *, last_resort: bool = False) -> bool:
        """Ask a gateway to let it in; tell whether it did. One whose server is silent lets nobody in for a moment."""
        asked = (self._dispatch_id, f"{allowance.per_second:g}", allowance.in_flight, allowance.lease, int(last_resort))
        try:
            told: str = self._scripts.run("gateway_enter", self._scripts.gateway_state(gateway), asked).decode()
        except StoreUnavailableError:
            told = _AWAY
        self.at_gateways[gateway] = told
        if entered := told.endswith("1"):
            self._entered.add(gateway)
        return entered

    def leave(self, but: str = "") -> None:
        """Leave all gateways that let it in, but the one that is called. Where none answers the call's time ends it."""
        self._scripts.send_all(
            [
                ScriptCall("gateway_leave", self._scripts.gateway_state(gateway), (self._dispatch_id,))
                for gateway in self._entered - {but}
            ]
        )


@dataclass(frozen=True, slots=True)
class _Note:
    """What an approved verification was counted for, as its record told."""

    known: bool
    """Whether its number was before."""
    counted: bytes
    pseudonym: bytes
    block: bytes
    network: bytes
    wide_network: bytes
    provider: bytes
    country: bytes
    created: int

    @property
    def arguments(self) -> tuple[Argument, ...]:
        """What `subject_give_back.lua` is told."""
        return self.counted, self.pseudonym, self.country, self.created, int(self.known)

    def subjects(self, application: str, scripts: ScriptRunner) -> Iterator[tuple[str, str]]:
        """Yield names and keys of the subjects in which it counted, or may have."""
        if b"s" in self._flags:
            return
        yield "country", keys.country(application, self.country.decode())
        yield "block", keys.block(self.block.decode())
        if self.network:
            networks = (one.decode() for one in (self.network, self.wide_network, self.provider))
            yield from zip(_OF_NETWORKS, scripts.of_networks(*networks), strict=False)

    @property
    def is_newcomer(self) -> bool:
        """Whether it is taken off those of its block who did not approve: of a number once."""
        return not (self.known or b"a" in self._flags or b"s" in self._flags)

    @property
    def block_member(self) -> str:
        """Block, country and carrier range, as they are counted by hour (domain/tallies.py)."""
        number_prefix = self._flags.lstrip(string.ascii_letters.encode())
        return b"/".join((self.block, self.country, number_prefix)).decode()

    @property
    def _flags(self) -> bytes:
        return self.counted.partition(b".")[0]


class SharedSubjects:
    """Counts messages where their number's slot does not."""

    def __init__(self, scripts: ScriptRunner, most_ahead: int = MOST_AHEAD) -> None:
        self._scripts = scripts
        self._ahead = _Ahead(most_ahead)
        self._giving_back = threading.Lock()
        self._breakers: dict[tuple[str, str], str] = {}
        """How those of applications' countries stood when this process was told last, as far as blocks follow them."""

    def decide(
        self, message: SharedMessage, ruleset: CompiledRuleset, commit: Callable[[tuple[bytes, ...]], list[Any]]
    ) -> list[Any]:
        """Return what the number's slot answers to what the others found: ``commit`` asks it.

        Raises `StoreUnavailableError`.
        """
        of_country = message.application, message.country
        assumed = self._breakers.get(of_country, "")
        for _ in range(_TURNS):
            reserved = self._reserve(message, ruleset, assumed)
            try:
                answer = commit(tuple(finding for _, finding in reserved.found))
            except StoreUnavailableError as lost:
                if lost.nothing_ran:
                    self._give_back(reserved)
                raise
            if answer[0] != b"misjudged":
                return self._settled(reserved, answer)
            self._give_back(reserved, stand=_GROUPS)
            assumed = self._breakers[of_country] = answer[1].decode()
        raise StoreUnavailableError("A breaker opens and closes too often to count by.")

    def _settled(self, reserved: _Reserved, answer: list[Any]) -> list[Any]:
        """Return what the number's slot answered, once what it does not use is given back."""
        match answer:  # by their lengths: an answer that is repeated, of an idempotency key, is one shorter
            case [b"started", _, _, _, _, _, spared] | [b"queued", _, _, _, _, _, _, spared]:
                if spared:
                    self._give_back(reserved, keep=_but(spared))
                return answer[:-1]
            case [b"human-check-required", _, _, _, asked, spared]:
                self._give_back(reserved, keep={"starts", "requests"}, stand=_but(spared), asked=asked)
                return answer[:-2]
            case [b"refused", _, _, _, _, _, _, spared]:
                self._give_back(reserved, stand=_but(spared))
                return answer[:-1]
            case _:
                self._give_back(reserved)
                return answer

    def decide_call(
        self,
        dispatch_id: str,
        of: tuple[str, str],
        route: Mapping[str, GatewayLimits],
        ruleset: CompiledRuleset,
        commit: Callable[[GatewayCall], list[Any]],
    ) -> list[Any]:
        """Return what the number's slot answers to a call of a gateway: ``commit`` asks it.

        ``of``: application and country. ``route``: the gateways that it may call, as it would try them. It says what
        else it has to know; mostly that the first one lets the call in is enough. Raises `StoreUnavailableError`.
        """
        call = GatewayCall(self._scripts, dispatch_id)
        any(call.enter(gateway, allowance) for gateway, allowance in route.items())
        try:
            while (answer := commit(call))[0] == b"elsewhere":
                _, price, gateway, last_resort = answer
                if price:
                    message = SharedMessage("dispatch", *of, "", "", "", safe=True, passed=False, price=price)
                    call.money = self._reserve(message, ruleset)
                if name := gateway.decode():
                    call.enter(name, route[name], last_resort=bool(last_resort))
        except StoreUnavailableError as lost:
            call.leave()  # whatever was recorded: it is not made
            if call.money and lost.nothing_ran:
                self._give_back(call.money)
            raise
        is_called = answer[0] == b"dispatched"
        call.leave(but=answer[3].decode() if is_called else "")
        if call.money and not is_called:
            self._give_back(call.money)
        return answer

    def give_back_ahead(self, *, all_of_it: bool = False) -> None:
        """Give back what was counted ahead and is over, or all of it, and wait for that; what cannot be is left."""
        with self._giving_back:  # another thread may be about it when the process ends
            over = self._ahead.collect(all_of_them=all_of_it)
            self._scripts.run_all([call for counted in over for call in self._calls_to_give_back(counted)])

    def settle(self, application: str, country: str, change: int, at: int, ruleset: CompiledRuleset) -> None:
        """Correct what was reserved for a call at a time by what it cost more, or less. One that fails is left."""
        subjects = keys.application(application), keys.country(application, country)
        self._scripts.send_all([ScriptCall("money_settle", subjects, (country, change, at), ruleset)])

    def give_back_approved(
        self, records: tuple[str, ...], application: str, known: tuple[bool, ...], ruleset: CompiledRuleset
    ) -> int:
        """Give back what approved verifications were counted for; return how many were not done before.

        ``known`` tells of each whether its number was before. It is taken out of the records first: what fails then
        stays counted. Raises `StoreUnavailableError` for the records.
        """
        told = self._scripts.run("approvals_take", records, (application,))
        notes = [_Note(was, *one) for one, was in zip(told, known, strict=True) if one]
        by_subject: dict[tuple[str, str], list[_Note]] = defaultdict(list)
        newcomers: dict[str, list[str]] = defaultdict(list)
        for note in notes:
            for subject in note.subjects(application, self._scripts):
                by_subject[subject].append(note)
            if note.is_newcomer:
                newcomers[keys.blocks(note.created // HOUR)].append(note.block_member)
        self._scripts.run_all(
            [
                ScriptCall(
                    "subject_give_back",
                    (key,),
                    (name, *(value for note in of_subject for value in note.arguments)),
                    ruleset,
                )
                for (name, key), of_subject in by_subject.items()
            ]
            + [
                ScriptCall("blocks_take_off", (key,), (keys.blocks.seconds * 1000, *members))
                for key, members in newcomers.items()
            ]
        )
        return len(notes)

    def count_codes(self, application: str, right: Iterable[bool], ruleset: CompiledRuleset) -> tuple[int, str] | None:
        """Count codes that were compared, in their order.

        Returns an alarm, if they raise one: until when it stands, and what tells of it. Raises `StoreUnavailableError`.
        """
        letters = "".join("r" if one else "w" for one in right)
        answer = self._scripts.run("failures_count", (keys.application(application),), (letters,), ruleset)
        return (answer[1], answer[2].decode()) if answer[0] == b"alarm" else None

    def _reserve(self, message: SharedMessage, ruleset: CompiledRuleset, assumed: str = "") -> _Reserved:
        about, alike = message.arguments(assumed), (ruleset.name, *message.alike)
        (found, more), began = self._ahead.take(alike), time.monotonic()
        slots = [*(() if found else (message.slot_of_application,)), *message.other_slots(self._scripts)]
        answers = self._scripts.run_all(
            [
                ScriptCall(
                    "reserve",
                    slot.keys,
                    (more if slot.groups is _APPLICATION else 0, slot.subjects, *about[: slot.told]),
                    ruleset,
                )
                for slot in slots
            ]
        )
        if more and isinstance(answers[0], StoreUnavailableError):
            self._ahead.forget(alike)
        if more and isinstance(answers[0], list):
            finding, messages, life = answers[0]
            answers[0] = finding
            ahead = _Reserved(message, ruleset, assumed, ((slots[0], finding),), messages)
            self._ahead.keep(alike, ahead, began + life / 1000)
        pairs = [pair for pair in zip(slots, answers, strict=True) if not isinstance(pair[1], StoreUnavailableError)]
        reserved = _Reserved(message, ruleset, assumed, (*found, *pairs))
        if len(pairs) < len(slots):
            self._give_back(reserved)
            raise next(answer for answer in answers if isinstance(answer, StoreUnavailableError))
        return reserved

    def _give_back(
        self, reserved: _Reserved, keep: Collection[str] = (), stand: Collection[str] = (), asked: int = 0
    ) -> None:
        """Take back all that was counted but the groups to keep, and what breakers changed but those that stand.

        What cannot be is left.
        """
        self._scripts.send_all(list(self._calls_to_give_back(reserved, keep, stand, asked)))

    def _calls_to_give_back(
        self, reserved: _Reserved, keep: Collection[str] = (), stand: Collection[str] = (), asked: int = 0
    ) -> Iterator[ScriptCall]:
        about, kept, standing = reserved.message.arguments(reserved.assumed), _listed(keep), _listed(stand)
        for slot, finding in reserved.found:
            if not set(slot.groups) <= set(keep) or (asked and slot.groups == _APPLICATION):
                yield ScriptCall(
                    "reserve_give_back",
                    slot.keys,
                    (finding, kept, standing, asked, reserved.messages, slot.subjects, *about[: slot.told]),
                    reserved.ruleset,
                )


def _but(spared: bytes) -> set[str]:
    """Return all groups but those that are named, blanks between."""
    return set(_GROUPS) - set(spared.decode().split())


def _listed(groups: Collection[str]) -> str:
    """Return names as the scripts read them: with a blank before and behind each."""
    return " ".join(["", *sorted(groups), ""])
