"""What a call is, how it is repeated, and how one method serves clients that block and clients that await."""

import functools
import json
import random
import re
import time
import uuid
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import (
    Any,
    ClassVar,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    Self,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

from otp_service_client.errors import ApiError, ConnectionFailed, TimedOut, Unavailable, delay_of
from otp_service_client.reading import read_answer

P = ParamSpec("P")
T = TypeVar("T")

FIRST_WAIT, LONGEST_WAIT = 0.5, 5.0
"""Seconds before the first repetition, at most; each further one may wait twice as long."""
MOMENT = 0.01
"""Seconds that a try has at least, where a wait took longer than asked for."""
FAST, SLOW = 5.0, 10.0
"""Seconds that one try may take: of calls that ask Redis, which gives up at 1.5 s, and of those that ask a database."""
LONGEST = 600.0
"""Seconds that a call may take with all its tries, at most."""


class Options(TypedDict, total=False):
    """What some calls have beside a body."""

    query: Mapping[str, Any]
    key: str | None
    once: bool
    seconds: float
    expected_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One operation with what is sent. It is made once, so that all tries are the same request under the same key."""

    request: str
    """Method and path, such as `GET /v1/endpoints`."""
    answer: type[T]
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    """Members that are `None` are left out."""
    query: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = field(default=None, repr=False)
    """The `Idempotency-Key`, of operations that take one."""
    once: bool = False
    """Whether a second try could do it twice, as it takes no key: then there is none."""
    seconds: float = FAST
    expected_id: str | None = None
    """The `id` that the answer must have: an answer to another request must not be taken for this one's."""

    def content(self) -> bytes | None:
        """Return the body as JSON."""
        return None if self.body is None else json.dumps(_present(self.body), default=_moment).encode()

    def parameters(self) -> dict[str, str]:
        """Return the parameters of the query."""
        return {
            name: value if isinstance(value, str) else _moment(value) for name, value in _present(self.query).items()
        }

    def read(self, answer: "Answer") -> T:
        """Return the answer's object; raise `ApiError` for a refusal, and for an answer of another server."""
        try:
            content = json.loads(answer.content)
            if 200 <= answer.status < 300:  # noqa: PLR2004
                return self._checked(read_answer(self.answer, content))
            problem = dict(content)
        except (ValueError, TypeError, RecursionError):
            problem = {"title": "an answer that is not the service's"}
        if (delay := delay_of(answer.retry_after)) is not None:
            problem["retry_after"] = delay
        raise ApiError.of(answer.status, problem, answer.request_id)

    def _checked(self, result: T) -> T:
        if self.expected_id is not None and getattr(result, "id", None) != self.expected_id:
            raise ValueError("the answer has another id")
        return result


@dataclass(frozen=True, slots=True)
class Answer:
    """A response of the server."""

    status: int
    content: bytes = field(repr=False)
    retry_after: str
    """As the header has it; empty without one."""
    request_id: str | None


class Engine(Protocol):
    """What sends requests, and lets time pass: where the two kinds of clients differ."""

    timeout: float
    retries: int

    @abstractmethod
    async def send(self, call: Call[Any], left: float) -> Answer:
        """Try once, within the seconds of the call and those that are left; raise `ConnectionFailed`, `TimedOut`."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Let time pass."""

    @abstractmethod
    def run(self, method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Any]:
        """Return a method as users call it."""


async def perform(engine: Engine, call: Call[T]) -> T:
    """Make a call: as often as it takes, within one deadline over all tries and the waits between them."""
    deadline = time.monotonic() + engine.timeout
    tries = 1 if call.once else 1 + engine.retries
    for number in range(1, tries + 1):
        try:
            return call.read(await engine.send(call, deadline - time.monotonic()))
        except (ConnectionFailed, TimedOut, Unavailable) as failed:
            wait = random.uniform(0, min(LONGEST_WAIT, FIRST_WAIT * 2 ** (number - 1)))  # noqa: S311 - no secret
            if isinstance(failed, Unavailable) and failed.retry_after is not None:
                wait = failed.retry_after
            if number == tries or time.monotonic() + wait >= deadline:
                raise
        await engine.sleep(wait)
    raise AssertionError("the last try returns or raises")


class Sync:
    """Marks what blocks."""


class Async:
    """Marks what is awaited."""


Kind = TypeVar("Kind")
"""`Sync` or `Async`."""


class Resource(Generic[Kind]):
    """Operations that belong together."""

    seconds: ClassVar[float] = SLOW

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def call(
        self, request: str, answer: type[T], body: Mapping[str, Any] | None = None, **options: Unpack[Options]
    ) -> T:
        """Make a call; the members are those of `Call`."""
        settings: Options = {"seconds": self.seconds, **options}
        return await perform(self.engine, Call(request=request, answer=answer, body=body, **settings))


class method(Generic[P, T]):  # noqa: N801 - a decorator
    """A method that is written once: with `OtpService` it blocks and returns, with `AsyncOtpService` it is awaited."""

    def __init__(self, written: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> None:
        self.written = written
        self.__doc__ = written.__doc__

    @overload
    def __get__(self, resource: None, owner: type) -> Self: ...
    @overload
    def __get__(self, resource: Resource[Sync], owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, resource: Resource[Async], owner: type) -> Callable[P, Coroutine[None, None, T]]: ...
    def __get__(self, resource: Resource[Any] | None, owner: type) -> Any:
        """Return the method as the client's kind has it."""
        return self if resource is None else resource.engine.run(self.written.__get__(resource))


def run_blocking(written: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Return a function of a coroutine's whose every wait blocks: it never suspends, so one step ends it."""

    @functools.wraps(written)
    def blocking(*args: P.args, **kwargs: P.kwargs) -> T:
        coroutine = written(*args, **kwargs)
        try:
            coroutine.send(None)
        except StopIteration as ended:
            value: T = ended.value
            return value
        raise AssertionError("it waits for something that does not block")

    return blocking


def check_settings(timeout: float, retries: int) -> None:
    """Raise `ValueError` for what no calls can be made with."""
    if not 0 < timeout <= LONGEST:
        raise ValueError(f"timeout is in seconds, at most {LONGEST:.0f}")
    if retries < 0:
        raise ValueError("retries is 0 or more")


def key_of(own: str | None) -> str:
    """Return an idempotency key: the caller's own, or a new random one.

    Raises `ValueError` for a malformed one, which must neither change the request nor go unnoticed.
    """
    if own is None:
        return str(uuid.uuid4())
    if not re.fullmatch(r"[!-+\--~]{1,255}", own):
        raise ValueError("an idempotency_key has 1 to 255 visible ASCII characters, no comma")
    return own


def part(text: str) -> str:
    """Return an id or a name as a part of a path; raise `ValueError` where it cannot be one."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", text):
        raise ValueError("an id of the service has letters, digits, _ and - only")
    return text


def _present(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _moment(value: object) -> str:
    """Return a time as the service reads it, RFC 3339 in UTC; raise `TypeError` for anything else."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise TypeError("neither JSON nor a datetime with its time zone")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
