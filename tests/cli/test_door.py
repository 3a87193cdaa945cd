"""The door of a server process: who is answered, who waits, who is turned away."""

import threading
import time
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from support_service import eventually

from otp_service.api.exchange import ARRIVED, TURNED_AWAY
from otp_service.cli import door
from otp_service.cli.door import Door
from otp_service.errors import StoreUnavailableError


class Caller:
    """Granian's way back, and what came back."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self.body = b""

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.headers, self.body, self.status = headers, body, status


class House:
    """An application that answers when it is told to, and the door before it."""

    def __init__(self, most: int) -> None:
        self.door = Door(self._answer, most, self._awaits_body)
        self.began: list[str] = []
        self.environs: dict[str, WSGIEnvironment] = {}
        self._go_on = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []

    def call(self, path: str, **more: Any) -> Caller:
        """Let a thread of the server take a request in, until it is known what becomes of it."""
        caller, scope = Caller(), {"PATH_INFO": path, "REQUEST_METHOD": "GET", **more}
        thread = threading.Thread(target=self.door, args=(caller, scope), daemon=True)
        thread.start()
        eventually(lambda: path in self.began or not thread.is_alive())
        self._threads.append(thread)
        return caller

    def answer(self, requests: int) -> None:
        """Let so many requests be answered."""
        self._go_on.release(requests)

    def end(self) -> None:
        for thread in self._threads:
            thread.join(10)

    def _awaits_body(self, environ: WSGIEnvironment) -> bool:
        if environ["PATH_INFO"] == "/unknown":
            raise StoreUnavailableError("It does not answer.")
        return "HTTP_AUTHORIZATION" in environ

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterator[bytes]:
        path = environ["PATH_INFO"]
        self.environs[path] = environ
        if TURNED_AWAY in environ:
            start_response("503 SERVICE UNAVAILABLE", [("Retry-After", "1")])
            return iter([b"later"])
        self.began.append(path)
        self._go_on.acquire(timeout=10)
        if path == "/broken":
            raise ValueError("broken")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return iter([b"answered ", path.encode()])


@pytest.fixture
def house() -> Iterator[House]:
    made = House(2)
    yield made
    made.answer(100)
    made.end()


def test_so_many_are_answered_at_once_and_the_others_wait_in_their_order(house: House):
    callers = [house.call(path) for path in ("/a", "/b", "/c", "/d", "/e")]

    assert house.began == ["/a", "/b"]
    for place, path in enumerate(("/c", "/d", "/e"), 2):
        house.answer(1)
        eventually(lambda: len(house.began) > place)  # noqa: B023 - asked at once
        assert house.began[-1] == path
    house.answer(2)
    eventually(lambda: all(caller.status for caller in callers))
    assert [(caller.status, caller.body) for caller in callers] == [
        (200, f"answered {path}".encode()) for path in ("/a", "/b", "/c", "/d", "/e")
    ]
    assert callers[0].headers == [("Content-Type", "text/plain")]


def test_a_probe_waits_for_nobody_but_those_who_are_being_answered(house: House):
    for path in ("/a", "/b", "/c", "/healthz", "/readyz"):
        house.call(path)
    house.answer(3)
    eventually(lambda: len(house.began) == 5)

    assert house.began[2:] == ["/healthz", "/readyz", "/c"]


def test_nobody_is_let_in_while_the_first_has_waited_too_long(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(door, "PATIENCE", 0.1)
    monkeypatch.setattr(door, "FEW", 2)
    for path in ("/a", "/b", "/c"):
        house.call(path)
    time.sleep(0.15)
    few = house.call("/few")
    refused, probe = house.call("/d"), house.call("/healthz")

    assert (refused.status, refused.headers, refused.body) == (503, [("Retry-After", "1")], b"later")
    assert probe.status == 0, "it waits for its turn"
    house.answer(5)
    eventually(lambda: probe.status == 200 and few.status == 200)
    assert "/d" not in house.began
    house.call("/e")
    assert "/e" in house.began, "once nobody waits any more, all is as before"


def test_a_turn_that_comes_too_late_is_not_taken(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(door, "LATEST", 0.2)
    for path in ("/a", "/b"):
        house.call(path)
    late, probe = house.call("/late"), house.call("/readyz")
    time.sleep(0.25)
    house.answer(3)
    eventually(lambda: late.status and probe.status)

    assert (late.status, probe.status) == (503, 200)
    assert "/late" not in house.began


def test_an_application_that_fails_keeps_nobody_from_being_answered(house: House):
    callers = [house.call(path) for path in ("/broken", "/a", "/b", "/c")]
    house.answer(4)
    eventually(lambda: all(caller.status for caller in callers))

    assert [caller.status for caller in callers] == [500, 200, 200, 200]
    assert (callers[0].headers, callers[0].body) == ([], b"")


def test_the_body_of_who_waits_is_read_before_the_server_drops_it(house: House):
    for path in ("/a", "/b"):
        house.call(path)
    body = BytesIO(b"what was sent")
    house.call("/c", CONTENT_LENGTH="13", HTTP_AUTHORIZATION="", **{"wsgi.input": body})
    body.close()
    house.answer(3)
    eventually(lambda: "/c" in house.environs)

    assert house.environs["/c"]["wsgi.input"].read() == b"what was sent"


class Unfinished:
    """A body that was begun, and never ends."""

    def read(self, _: int) -> bytes:
        time.sleep(30)
        return b""


def test_who_proves_nothing_holds_no_thread_with_a_body_that_does_not_come(house: House):
    for path in ("/a", "/b"):
        house.call(path)
    begun = {"CONTENT_LENGTH": "13", "wsgi.input": Unfinished()}
    strangers = [threading.Thread(target=house.call, args=(f"/{name}",), kwargs=begun) for name in "cde"]
    for stranger in strangers:
        stranger.start()
    for stranger in strangers:
        stranger.join(5)
        assert not stranger.is_alive(), "it was taken in, and waits for its refusal without its body"
    unknown = house.call("/unknown", **begun)
    house.answer(5)

    assert unknown.status == 503, "it may come again"
    eventually(lambda: {"/c", "/d", "/e"} <= house.environs.keys())
    assert house.environs["/c"]["wsgi.input"].read() == b""


def test_a_request_carries_the_time_of_its_arrival(house: House):
    before = time.perf_counter()
    for path in ("/a", "/b", "/c"):
        house.call(path)
    between = time.perf_counter()
    house.answer(3)
    eventually(lambda: "/c" in house.environs)

    assert before < house.environs["/c"][ARRIVED] < between


def test_what_the_application_gives_is_closed():
    closed: list[bool] = []

    class Parts(list[bytes]):
        def close(self) -> None:
            closed.append(True)

    def application(_: WSGIEnvironment, start_response: StartResponse) -> Any:
        start_response("204 NO CONTENT", [])
        return Parts()

    caller = Caller()
    Door(application, 1, lambda _: False)(caller, {"PATH_INFO": "/"})

    assert (caller.status, closed) == (204, [True])
