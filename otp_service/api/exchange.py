"""One request and its answer, as our handlers see them, whoever passes them on: Flask, or the hot path before it."""

import secrets
import time
from dataclasses import dataclass, field
from typing import Final
from wsgiref.types import WSGIEnvironment

from otp_service.domain.applications import Application
from otp_service.errors import ForbiddenError
from otp_service.services.access import Caller
from otp_service.telemetry.redaction import Plain

JSON = "application/json"
ARRIVED: Final = "otp_service.arrived"
"""In the environment of a request: when the server took it in, by `time.perf_counter`. Not every server tells."""
TURNED_AWAY: Final = "otp_service.turned_away"
"""There, when the server finds that its turn comes too late: it is to be refused, and nothing else."""

ENDS: Final = "otp_service.ends"
"""There, when the server is about to end: no proxy shall send it anything more."""


class Exchange:
    """A request that is being answered, and what is found out about it on the way, for its line in the log."""

    __slots__ = (
        "began", "caller", "decision", "environ", "operation", "problem", "reason", "request_id", "route",
        "verification",
    )  # fmt: skip

    def __init__(self, environ: WSGIEnvironment, route: str | None, operation: str | None) -> None:
        """Begin to answer; ``route`` is the rule that takes the request, ``operation`` its name, ``None`` of none."""
        self.environ = environ
        self.route = route
        self.operation = operation
        self.began: float = environ.get(ARRIVED) or time.perf_counter()
        # Always our own: a caller's would be a stranger's text in our log.
        self.request_id = Plain(f"rq_{secrets.token_hex(16)}")
        self.caller: Caller | None = None
        self.verification: Plain | None = None
        self.problem: str | None = None
        self.decision: str | None = None
        self.reason: str | None = None

    @property
    def method(self) -> str:
        """The HTTP method."""
        return str(self.environ["REQUEST_METHOD"])

    @property
    def path(self) -> str:
        """The path, with one slash in front, as it is matched with the rules of routes."""
        return "/" + str(self.environ["PATH_INFO"]).lstrip("/")

    def header(self, name: str) -> str | None:
        """Return a header by its name; of one that was given several times, all values with commas between."""
        value = self.environ.get("HTTP_" + name.upper().replace("-", "_"))
        return None if value is None else str(value)

    @property
    def operator_key(self) -> str:
        """The name of the key that an operator's call is made with."""
        return self.caller.key.id if self.caller else ""

    @property
    def application(self) -> Application:
        """The application that was authenticated; raises `ForbiddenError` for a key that is of none."""
        if self.caller is None or self.caller.application is None:
            raise ForbiddenError("This API key belongs to no application.")
        return self.caller.application


@dataclass(slots=True)
class Answer:
    """What is answered."""

    body: bytes
    status: int = 200
    media_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    """Those beside the ones that every answer has."""
