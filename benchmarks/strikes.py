"""What strikes workers in a storm: some are killed, others are stopped until their messages have been taken over."""

import random
import time
from dataclasses import dataclass, field

from accounts import Slot
from rig import Rig
from rig_workers import Hand, Worker, is_empty_handed


@dataclass
class Toll:
    """What the strikes of a kind hit."""

    workers: int = 0
    messages: int = 0
    open: set[Slot] = field(default_factory=set)

    def add(self, hand: Hand) -> None:
        """Count one more worker."""
        self.workers += 1
        self.messages += hand.messages
        self.open.update(hand.open)


class Strikes:
    """Strikes at random, and lets those that were stopped go on."""

    def __init__(self, rig: Rig, seed: int, patience: float) -> None:
        """Take whom to strike; ``patience`` is how long a worker is waited for, in seconds."""
        self.killed, self.stopped = Toll(), Toll()
        self._rig = rig
        self._chance = random.Random(seed)
        self._patience = patience
        self._frozen: dict[Worker, float] = {}
        """When each was stopped."""

    def kill(self) -> None:
        """Kill one with -9, and start another."""
        if victim := self._victim():
            victim.kill()
            self.killed.add(Hand.of(victim, self._rig.client))
            self._rig.workers.remove(victim)
            self._rig.launch_worker()

    def stop(self) -> None:
        """Stop one where it stands, and start another."""
        if victim := self._victim():
            victim.freeze()
            self.stopped.add(Hand.of(victim, self._rig.client))
            self._frozen[victim] = time.monotonic()
            self._rig.launch_worker()

    def let_go_on(self) -> bool:
        """Let those go on of whom nobody expects it any more; tell whether one is still stopped.

        That is as soon as others have taken over what it had: while they deal with it, it is most dangerous.
        """
        for worker, since in list(self._frozen.items()):
            if time.monotonic() > since + self._patience and is_empty_handed(worker, self._rig.client):
                del self._frozen[worker]
                worker.thaw()
        return bool(self._frozen)

    def _victim(self) -> Worker | None:
        """Choose one that works, but not the only one."""
        at_work = [one for one in self._rig.workers if one not in self._frozen and one.name]
        return self._chance.choice(at_work) if len(at_work) > 1 else None
