"""The HTTP service of an installation, in this process."""

import itertools
from collections.abc import Callable
from typing import Any

from flask.testing import FlaskClient
from support_caller import Caller
from support_installation import API_KEY, NUMBER, World
from support_outbox import jobs_of
from werkzeug.test import TestResponse

from otp_service.api.app import create_app
from otp_service.bootstrap import Installation
from otp_service.services.delivery import RetryPolicy, deliver

START = "/v1/verifications"
SCOPES = {
    "verifications": "verify",
    "sandbox": "verify",
    "proofs": "verify",
    "page-results": "verify",
    "consents": "consent",
    "suppressions": "consent",
    "subjects": "subjects",
    "endpoints": "webhooks",
    "webhooks": "webhooks",
    "users": "subjects",
    "factors": "factors",
    "user-factors": "factors",
    "recovery-codes": "factors",
    "stats": "stats",
    "admin": "admin",
}
"""What a key needs for calls below ``/v1/``, by the next part of their path."""


class Api:
    """An application's view of the service over HTTP."""

    def __init__(self, world: World, key: str = API_KEY, *, hot_path: bool = True, **sections: Any) -> None:
        """Without the ``hot_path``, Flask answers starts and checks too."""
        self.world = world
        self.installation: Installation = world.install(**sections)
        self.app = create_app(self.installation)
        if not hot_path:
            self.app.wsgi_app = self.app.wsgi_app.flask
        self.client: FlaskClient = self.app.test_client()
        self.key = key

    def call(self, method: str, path: str, *, headers: dict[str, str] | None = None, **parts: Any) -> TestResponse:
        """Send a request with the API key; ``headers`` are added to it."""
        sent = {"Authorization": f"Bearer {self.key}", **(headers or {})}
        return self.client.open(path, method=method, headers=sent, **parts)

    def post(self, path: str, body: object = None, **headers: str) -> TestResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        parts = {} if body is None else {"json": body}
        return self.call("POST", path, headers=named, **parts)

    def raw(self, path: str, body: bytes, content_type: str = "application/json") -> TestResponse:
        return self.call("POST", path, data=body, headers={"Content-Type": content_type})

    def get(self, path: str) -> TestResponse:
        return self.call("GET", path)

    def start(self, to: str = NUMBER, **members: Any) -> str:
        answer = self.post(START, {"to": to, **members})
        assert answer.status_code == 201, answer.text
        return str(answer.json["id"])

    def code(self, verification_id: str) -> str:
        """Return the code that the last message carries."""
        return self._caller.code(verification_id)

    def wrong(self, verification_id: str) -> str:
        return self._caller.wrong(verification_id)

    def deliver(self) -> None:
        """Hand over what waits, as a worker does."""
        context = self.installation.context
        for job in jobs_of(context):
            deliver(context, job, RetryPolicy(0, (1.0,)))

    @property
    def _caller(self) -> Caller:
        return Caller(self.installation, "bank" if "bank" in self.key else "shop")

    def keys(self) -> set[bytes]:
        """Return the names of everything that is kept."""
        return set(self.world.client.keys("*"))


def code_of(answer: TestResponse) -> tuple[int, str]:
    """Return status and code of an error, after a look at what all errors have in common."""
    assert answer.mimetype == "application/problem+json"
    problem = answer.json
    assert problem["status"] == answer.status_code
    assert problem["type"] == f"/problems/{problem['code']}"
    assert problem["title"]
    assert problem["detail"]
    assert answer.headers.get("Retry-After") == (str(problem["retry_after"]) if "retry_after" in problem else None)
    assert ("errors" in problem) == (problem["code"] == "invalid-request")
    return answer.status_code, problem["code"]


def round_trips(api: Api, act: Callable[[], Any]) -> int:
    """Return how many commands something that succeeds sends to Redis; what scripts call is none of them."""
    with api.world.client.monitor() as monitor:
        api.world.client.echo("begin")
        assert act()
        api.world.client.echo("end")
        seen = itertools.takewhile(lambda one: one["command"] != "ECHO end", monitor.listen())
        sent = [one["command"] for one in seen if one["client_type"] != "lua"]
        return len(sent) - sent.index("ECHO begin") - 1
