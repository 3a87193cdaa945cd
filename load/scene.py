"""What all scenarios share: the town, the journal, and pauses that end with the run."""

import os
import random
import time
from pathlib import Path
from typing import Any

import gevent
from caller import PATIENCE, SLICE, Call, Caller, Handset, refused, status
from journal import Journal
from locust import FastHttpUser, between
from locust.env import Environment
from people import Person, Town, code_in

FOLDER = Path(os.environ.get("LOAD_FOLDER", "."))
API_KEY_FILE = Path(os.environ["LOAD_API_KEY_FILE"])
SINK = os.environ["LOAD_SINK"]
_SEED = int(os.environ["LOAD_SEED"])
TOWN = Town(_SEED, int(os.environ["LOAD_USERS"]))
CHANCE = random.Random(_SEED + 1)
"""What people do."""
JOURNAL = Journal((FOLDER / "calls.jsonl").open("a", buffering=1))
TYPING = (1.0, 6.0)
"""Seconds from a message's arrival to the code that is typed."""

RESEND_DELAY = 31.0
"""Seconds after which another message may be asked for: the purposes' first ``resend_delays``, and one more."""


class Scene(FastHttpUser):
    """Somebody who does one thing after the other."""

    abstract = True
    scenario = ""
    wait_time = between(1, 4)
    network_timeout = 20.0

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.caller = Caller(self.client, API_KEY_FILE.read_text().strip(), self.scenario, JOURNAL)
        self.handset = Handset(SINK)

    def over(self) -> bool:
        """Tell whether the run ends: what was begun is brought to an end quickly then."""
        return self.environment.runner is None or self.environment.runner.state in {"stopping", "stopped", "cleanup"}

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of the run."""
        until = time.monotonic() + seconds
        while not self.over() and (left := until - time.monotonic()) > 0:
            gevent.sleep(min(SLICE, left))

    def begin(self, person: Person, *, passed_on: bool = True, **members: Any) -> Call:
        """Start a verification that nothing refuses; the address is passed on by the back end, or by proxies."""
        address = {"client_ip": person.address} if passed_on else {}
        return self.caller.start(person, status(201), **address, **members)

    def message(self, person: Person, already: int = 0) -> str:
        """Return the text of the next message on the phone; empty when none comes in time."""
        return next(iter(self.handset.texts(person.number, already)), "")

    def arrived(self, person: Person) -> int:
        """Return how many messages are on the phone."""
        return len(self.handset.texts(person.number, wait=0))

    def code(self, person: Person, already: int, verification: str) -> str:
        """Return the code that arrives, asking for another message when none does; empty when it is given up."""
        if text := self.message(person, already):
            return code_in(text)
        self.pause(RESEND_DELAY - PATIENCE)
        if self.over() or not self.resent(person, verification):
            return ""
        return code_in(self.message(person, already))

    def resent(self, person: Person, verification: str) -> bool:
        """Ask for another message once one may."""
        return self.caller.resend(person, verification, status(202)).status == 202  # noqa: PLR2004 - HTTP's

    def too_soon(self, person: Person, verification: str) -> None:
        """Ask for another message at once."""
        self.caller.resend(person, verification, refused(429, "resend-too-soon"))
