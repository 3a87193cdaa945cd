"""Dead letters: messages that were given up, with the reason. They can be read, and put back."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import redis

from otp_service.store import keys
from otp_service.store.connection import answered, now_of
from otp_service.store.entries import entry_of, name_of
from otp_service.store.jobs import job_of
from otp_service.store.outbox import RETRY
from otp_service.store.retention import Retention
from otp_service.store.scripts import ScriptRunner


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message that was given up. Members are empty where the job could not be read."""

    bucket: str
    entry: str
    """Its place among the dead letters of its bucket."""
    at: int
    """When it was given up, in milliseconds by Redis' clock."""
    reason: str
    fields: Mapping[str, str]
    """The job as it was queued."""

    @property
    def id(self) -> str:
        """Under which an operator names it."""
        return name_of(self.bucket, self.entry)

    def member(self, name: str) -> str:
        """Return a member of the job."""
        return self.fields.get(name, "")


class Redriven(StrEnum):
    """What became of a dead letter that was to be put back."""

    REDRIVEN = "redriven"
    GONE = "gone"
    """The letter, or its verification, is no longer there."""
    UNWANTED = "unwanted"
    """The verification has ended, or a newer code is on its way."""


class DeadLetters:
    """The dead letters of all buckets of numbers."""

    def __init__(
        self, client: redis.Redis, scripts: ScriptRunner, retention: Retention, buckets: tuple[str, ...]
    ) -> None:
        self._client = client
        self._scripts = scripts
        self._kept = retention
        self._buckets = buckets

    def count(self) -> int:
        """Return how many letters there are."""
        with answered(), self._client.pipeline(transaction=False) as pipeline:
            for bucket in self._buckets:
                pipeline.xlen(keys.dead_letters(bucket))
            return sum(pipeline.execute())

    def newest(self, most: int) -> list[DeadLetter]:
        """Return the newest letters, newest first."""
        letters = [letter for bucket in self._buckets for letter in self._read(bucket, "-", "+", most)]
        return sorted(letters, key=lambda letter: letter.at, reverse=True)[:most]

    def since(self, milliseconds: int, most: int | None = None) -> list[DeadLetter]:
        """Return the letters of the last ``milliseconds``, newest first; of each bucket the newest ``most``."""
        with answered():
            begin = str(now_of(self._client) - milliseconds)
        letters = [letter for bucket in self._buckets for letter in self._read(bucket, begin, "+", most)]
        return sorted(letters, key=lambda letter: letter.at, reverse=True)

    def named(self, letter_id: str) -> DeadLetter | None:
        """Return a letter by its `DeadLetter.id`."""
        if not (place := entry_of(letter_id, self._buckets)):
            return None
        bucket, entry = place
        return next(self._read(bucket, entry, entry, 1), None)

    def _read(self, bucket: str, begin: str, end: str, most: int | None) -> Iterator[DeadLetter]:
        with answered():
            entries: Any = self._client.xrevrange(keys.dead_letters(bucket), end, begin, count=most)
        for entry, fields in entries:
            yield _letter(bucket, entry.decode(), fields)

    def redrive(self, letter: DeadLetter) -> tuple[Redriven, str]:
        """Put a letter's message back into the outbox; return what became of it, and why not.

        It goes into the lane of retries, with a new budget of dispatches; no limit counts it again.
        """
        try:
            job = job_of(letter.bucket, "", "", "", letter.fields)
        except (KeyError, ValueError):
            return Redriven.UNWANTED, "unreadable"
        answer = self._scripts.run(
            "redrive",
            (
                keys.dead_letters(letter.bucket),
                keys.record(letter.bucket, job.id),
                *keys.queue(letter.bucket, RETRY, job.application, job.country, job.channel),
                keys.events(letter.bucket),
            ),
            (
                letter.entry,
                job.application,
                job.message,
                job.generation,
                self._kept.milliseconds,
                *job.fields,
            ),
        )
        return Redriven(answer[0].decode()), answer[1].decode() if len(answer) > 1 else ""


def reason_of(letter: DeadLetter) -> str:
    """Return the reason in a word, a gateway's own code left out."""
    return letter.reason.partition(" ")[0]


def reasons_of(letters: list[DeadLetter]) -> Counter[str]:
    """Return how many letters have each reason, in a word."""
    return Counter(map(reason_of, letters))


def _letter(bucket: str, entry: str, raw: Mapping[bytes, bytes]) -> DeadLetter:
    fields = {name.decode(errors="replace"): value.decode(errors="replace") for name, value in raw.items()}
    reason = fields.pop("reason", "")
    return DeadLetter(bucket, entry, int(entry.partition("-")[0]), reason, fields)
