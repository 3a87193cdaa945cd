"""The two clients: `OtpService` blocks, `AsyncOtpService` is awaited; all else they share."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, ParamSpec, Self, TypeVar

import httpx

from otp_service_client.calls import MOMENT, Answer, Async, Call, Engine, Kind, Sync, check_settings, run_blocking
from otp_service_client.errors import ConnectionFailed, TimedOut
from otp_service_client.resources import (
    Admin,
    Consents,
    Endpoints,
    Factors,
    PageResults,
    Proofs,
    RecoveryCodes,
    Sandbox,
    Stats,
    Subjects,
    Suppressions,
    UserFactors,
    Users,
    Verifications,
    Webhooks,
)

P = ParamSpec("P")
T = TypeVar("T")
CONNECT = 1.0
"""Seconds for a connection."""
CONNECTIONS = 100
"""At once; further calls wait for their turn."""
_LIMITS = httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)


class _Service(Generic[Kind]):
    """The resources of both clients."""

    def __init__(self, engine: Engine) -> None:
        self.verifications: Verifications[Kind] = Verifications(engine)
        self.factors: Factors[Kind] = Factors(engine)
        self.user_factors: UserFactors[Kind] = UserFactors(engine)
        self.recovery_codes: RecoveryCodes[Kind] = RecoveryCodes(engine)
        self.proofs: Proofs[Kind] = Proofs(engine)
        self.page_results: PageResults[Kind] = PageResults(engine)
        self.consents: Consents[Kind] = Consents(engine)
        self.suppressions: Suppressions[Kind] = Suppressions(engine)
        self.subjects: Subjects[Kind] = Subjects(engine)
        self.users: Users[Kind] = Users(engine)
        self.endpoints: Endpoints[Kind] = Endpoints(engine)
        self.webhooks: Webhooks[Kind] = Webhooks(engine)
        self.stats: Stats[Kind] = Stats(engine)
        self.sandbox: Sandbox[Kind] = Sandbox(engine)
        self.admin: Admin[Kind] = Admin(engine)


class OtpService(_Service[Sync]):
    """Calls the service from programs that block. Threads and forks may share it; use it as a context, or `close` it.

    `url` is the service's address, `key` an API key. `timeout` is for one call with all its tries, in seconds;
    `retries` is how often a call is repeated after no answer, a time-out or 5xx. `transport` replaces the way to the
    network, as `httpx.HTTPTransport(verify=...)` for a certificate of your own does.

    Raises `ValueError` for an address, a key or a number that cannot be one; calls raise `OtpError`.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout: float = 10.0,
        retries: int = 2,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        make = partial(httpx.Client, base_url=_address(url), headers=_headers(key), transport=transport, limits=_LIMITS)
        self._http = _Own(make)
        super().__init__(_Blocking(self._http, timeout, retries))

    def close(self) -> None:
        """Close the connections."""
        self._http.get().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncOtpService(_Service[Async]):
    """Calls the service from programs on asyncio: as `OtpService`, with `await` before each call.

    Its connections belong to the event loop that it is used on first: make one for each loop.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout: float = 10.0,
        retries: int = 2,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        make = partial(
            httpx.AsyncClient, base_url=_address(url), headers=_headers(key), transport=transport, limits=_LIMITS
        )
        self._http = _Own(make)
        super().__init__(_Awaiting(self._http, timeout, retries))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.get().aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class _Own(Generic[T]):
    """A client of httpx for this process: on connections that a fork shares, one would read the other's answers."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made = os.getpid(), make()

    def get(self) -> T:
        """Return it; make it anew where it is the parent's."""
        process, made = self._made
        if process != os.getpid():
            made = self._make()
            self._made = os.getpid(), made
        return made


class _Blocking(Engine):
    def __init__(self, http: _Own[httpx.Client], timeout: float, retries: int) -> None:
        check_settings(timeout, retries)
        self.http, self.timeout, self.retries = http, timeout, retries

    async def send(self, call: Call[Any], left: float) -> Answer:
        """Try once."""
        end, parts = _end(call, left), []
        with _failures(), self.http.get().stream(**_request(call, left)) as response:
            for chunk in response.iter_bytes():
                parts.append(chunk)
                _look(end)
        return _answer(response, b"".join(parts))

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)  # noqa: ASYNC251 - of the kind that blocks

    def run(self, method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
        """Return a method that blocks."""
        return run_blocking(method)


class _Awaiting(Engine):
    def __init__(self, http: _Own[httpx.AsyncClient], timeout: float, retries: int) -> None:
        check_settings(timeout, retries)
        self.http, self.timeout, self.retries = http, timeout, retries
        self._turns = asyncio.Semaphore(CONNECTIONS)  # httpx looks through all that wait for each that goes

    async def send(self, call: Call[Any], left: float) -> Answer:
        """Try once, when it is this call's turn.

        A caller who is cancelled leaves the try to its end: httpx loses a connection that is cancelled before its use.
        """
        end = time.monotonic() + left
        with _failures():
            async with asyncio.timeout(left):
                await self._turns.acquire()
            task = asyncio.create_task(self._try(call, end - time.monotonic()))
            task.add_done_callback(self._done)
            return await asyncio.shield(task)

    async def _try(self, call: Call[Any], left: float) -> Answer:
        end, parts = _end(call, left), []
        async with asyncio.timeout(end - time.monotonic() + CONNECT):
            async with self.http.get().stream(**_request(call, left)) as response:
                async for chunk in response.aiter_bytes():
                    parts.append(chunk)
                    _look(end)
        return _answer(response, b"".join(parts))

    def _done(self, task: asyncio.Task[Answer]) -> None:
        self._turns.release()
        if not task.cancelled():
            task.exception()  # marked as retrieved: its caller may be gone

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await asyncio.sleep(seconds)

    def run(self, method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        """Return a method that is awaited."""
        return method


def _end(call: Call[Any], left: float) -> float:
    return time.monotonic() + min(call.seconds, left)


def _look(end: float) -> None:
    """Raise `TimeoutError` after the end of a try. It is looked for after each part of an answer.

    Nothing interrupts a thread that reads. What is awaited is interrupted later, when it has used its connection.
    """
    if time.monotonic() > end:
        raise TimeoutError


def _request(call: Call[Any], left: float) -> dict[str, Any]:
    method, path = call.request.split(" ")
    headers = {"Content-Type": "application/json"} if call.body is not None else {}
    if call.key is not None:
        headers["Idempotency-Key"] = call.key
    left = max(left, MOMENT)
    return {
        "method": method,
        "url": path,
        "params": call.parameters() or None,
        "headers": headers,
        "content": call.content(),
        "timeout": httpx.Timeout(min(call.seconds, left), connect=min(CONNECT, left), pool=left),
    }


def _answer(response: httpx.Response, content: bytes) -> Answer:
    headers = response.headers
    return Answer(response.status_code, content, headers.get("Retry-After", ""), headers.get("X-Request-Id"))


@contextmanager
def _failures() -> Iterator[None]:
    """Raise errors of ours for those of the network."""
    try:
        yield
    except (httpx.TimeoutException, TimeoutError) as late:
        raise TimedOut("no answer in time") from late
    except httpx.HTTPError as broken:
        raise ConnectionFailed("no connection to the service, or it broke") from broken


def _address(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.userinfo or parsed.query or parsed.fragment:
        raise ValueError("url is no address of a service, such as https://otp.example")
    return url.rstrip("/")


def _headers(key: str) -> dict[str, str]:
    """Return what goes with each request. A key that cannot go is noticed here: errors of later would show it."""
    secret = key.strip()  # of a file
    if not secret or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ValueError("key is no API key")
    return {"Authorization": f"Bearer {secret}", "Accept": "application/json"}
