"""Processes that do the same thing at the same moment, each with an installation of its own over one Redis."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from support_installation import tree

from otp_service import bootstrap
from otp_service.bootstrap import Installation
from otp_service.settings import settings_from

PATIENCE = 60.0
"""Seconds that a process may take for one race."""

Act = Callable[[Installation, Any], Any]
"""What a racer does, with what it is given; to be found by its name, and to return what can be pickled."""


class Racers:
    """Some processes, ready to race again and again."""

    def __init__(self, count: int, settings: dict[str, Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self._start = context.Barrier(count)
        self._pipes = []
        self._processes = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_race, args=(theirs, self._start, settings), daemon=True)
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)

    def __len__(self) -> int:
        return len(self._pipes)

    def race(self, act: Act, given: Sequence[Any]) -> list[Any]:
        """Let each racer act with its own member of ``given``, all at once; return what each returned."""
        assert len(given) == len(self)
        for pipe, one in zip(self._pipes, given, strict=True):
            pipe.send((act, one))
        answers = [_answer(pipe) for pipe in self._pipes]  # all of them, or the next race would read what is left
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    def stop(self) -> None:
        for pipe in self._pipes:
            pipe.send(None)
        for process in self._processes:
            process.join(10)
            process.kill()


@contextmanager
def racing(count: int, url: str, **sections: Any) -> Iterator[tuple[Racers, Installation]]:
    """Start racers, and an installation with the same keys to prepare and to look."""
    settings = tree(url, **sections)
    racers = Racers(count, settings)
    try:
        installation = bootstrap.install(settings_from(settings))
        installation.context.mirror_sync.refresh()
        yield racers, installation
    finally:
        racers.stop()


def _answer(pipe: Any) -> Any:
    assert pipe.poll(PATIENCE), "a racer does not answer"
    return pipe.recv()


def _race(pipe: Any, start: Any, settings: dict[str, Any]) -> None:
    installation = bootstrap.install(settings_from(settings))
    installation.context.store.server.load_scripts()
    while task := pipe.recv():
        act, given = task
        start.wait(PATIENCE)
        try:
            pipe.send(act(installation, given))
        except Exception as failed:  # noqa: BLE001 - it is raised where the race was begun
            pipe.send(failed)
