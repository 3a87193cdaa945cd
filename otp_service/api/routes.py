"""Routes: each is declared beside its view, with its body, answers and description."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter, ValidationError

from otp_service.api.schemas import Body
from otp_service.domain.applications import KeyScope
from otp_service.domain.client_tokens import ClientRight

JSON: Final = "application/json"
COMMON_PROBLEMS: Final = (
    "invalid-request",
    "unauthenticated",
    "forbidden",
    "internal",
    "store-unavailable",
    "ledger-unavailable",
    "overloaded",
    "service-unavailable",
)
"""Codes of errors that a route with an API key may end with."""
LEDGER_PROBLEMS = ("invalid-request", "unauthenticated", "forbidden", "internal", "ledger-unavailable", "overloaded")
"""The same for a route that asks the ledger alone."""
NUMBER_PROBLEMS: Final = (*COMMON_PROBLEMS, "invalid-number", "number-type-not-allowed", "ledger-mismatch")
_BODY_PROBLEMS: Final = ("body-too-large", "unsupported-media-type")
Parameter = Mapping[str, Any]
"""A parameter of a path, a query or the headers, as OpenAPI describes it."""
View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Answer:
    """The body and status of an answer; its headers are in the `Exchange`."""

    body: bytes
    status: int = 200
    media_type: str | None = JSON
    """``None`` when there is no body."""


NO_CONTENT: Final = Answer(b"", 204, None)


@cache
def type_adapter(content: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - any type
    return TypeAdapter(content)


@dataclass(frozen=True, slots=True)
class Success:
    """A successful answer, as the documentation shows it."""

    description: str
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    """Descriptions of the headers that not every answer has, by name."""
    content: TypeAdapter[Any] = field(default_factory=lambda: type_adapter(str))
    """Writes the body, unless the view returns an `Answer`."""


@dataclass(frozen=True, eq=False, slots=True)
class Route:
    """A method of a path, and the view that answers it."""

    resource: "Resource"
    method: str
    rule: str
    """The path, as Flask, the log and metrics name it: ``/v1/verifications/<verification_id>``."""
    view: Callable[..., Any]
    """Takes the `Exchange`, a body if there is one, and the path's parts; returns an `Answer` or its content."""
    name: str
    """``operationId``."""
    endpoint: str
    """Its name in metrics."""
    summary: str
    description: str
    answers: Mapping[int, Success]
    """By status, the usual one first; empty for a route that the reference leaves out."""
    status: int
    problems: tuple[str, ...]
    """Codes of errors."""
    query: tuple[Parameter, ...]
    takes_query: bool
    """Whether the view reads the query; elsewhere a query is an error."""
    body: type[Body] | None
    may_be_empty: bool
    """Whether the body may be left out, since no member is required."""
    retries: bool
    """Whether an ``Idempotency-Key`` makes the request safe to repeat."""
    asks_ledger: bool
    hot: bool
    """Answered without Flask."""
    client_right: ClientRight | None
    """What a client token needs; ``None`` for calls that none may make."""


@dataclass(frozen=True, eq=False, slots=True)
class Resource:
    """Routes with common properties."""

    name: str
    """Its name in metrics."""
    section: str
    """Its section in the reference."""
    scope: KeyScope | None = None
    """What an API key needs; ``None`` for routes that take no key."""
    problems: tuple[str, ...] = ()
    """Codes of errors that any route may end with."""
    parameters: tuple[Parameter, ...] = ()
    """Parts of the paths."""
    note: str = ""
    """The end of each description."""
    asks_ledger: bool = False
    """Whether routes that are not hot take one of the `CallSlots`."""
    is_lenient: bool = False
    """Whether unknown query parameters are ignored."""
    routes: list[Route] = field(default_factory=list)

    def route(
        self,
        request: str,
        answers: Mapping[int, str | Success],
        problems: tuple[str, ...] = (),
        *,
        query: tuple[Parameter, ...] = (),
        endpoint: str = "",
        hot: bool = False,
        client_right: ClientRight | None = None,
    ) -> Callable[[View], View]:
        """Register a view for a ``request`` such as ``GET /v1/verifications/<verification_id>``.

        The view's docstring is the summary, in one line, and the description in the API's reference. Its name makes
        the ``operationId`` (``check_code``: ``checkCode``), and the name's first word the ``endpoint`` in metrics. Its
        annotations are the types of body and answer. A problem ``idempotency-mismatch`` makes it take an
        ``Idempotency-Key``.
        """
        method, _, rule = request.partition(" ")

        def register(view: View) -> View:
            signature = inspect.signature(view)
            annotations = (parameter.annotation for parameter in signature.parameters.values())
            body = next((type_ for type_ in annotations if isinstance(type_, type) and issubclass(type_, Body)), None)
            successes = {
                status: answer if isinstance(answer, Success) else Success(answer) for status, answer in answers.items()
            }
            if signature.return_annotation is not Answer:
                content = type_adapter(signature.return_annotation)
                successes = {status: replace(success, content=content) for status, success in successes.items()}
            first, *others = view.__name__.split("_")
            summary, _, description = inspect.cleandoc(view.__doc__ or "").partition("\n\n")
            self.routes.append(
                Route(
                    resource=self,
                    method=method,
                    rule=rule,
                    view=view,
                    name=first + "".join(map(str.capitalize, others)),
                    endpoint=f"{self.name}.{endpoint or first}",
                    summary=_unwrapped(summary).removesuffix("."),
                    description=f"{_unwrapped(description)} {self.note}".strip(),
                    answers=successes,
                    status=next(iter(answers), 200),
                    problems=(*self.problems, *(_BODY_PROBLEMS if body else ()), *problems),
                    query=query,
                    takes_query=bool(query) or self.scope is None or self.is_lenient,
                    body=body,
                    may_be_empty=body is not None and _takes_nothing(body),
                    retries="idempotency-mismatch" in problems,
                    asks_ledger=self.asks_ledger and not hot,
                    hot=hot,
                    client_right=client_right,
                )
            )
            return view

        return register


def path_parameter(name: str, description: str, example: str) -> Parameter:
    return query_parameter(name, description, {"type": "string"}, required=True) | {"in": "path", "example": example}


def query_parameter(
    name: str, description: str, schema: Mapping[str, Any], *, required: bool = False
) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "description": description, "schema": schema}


def _takes_nothing(body: type[Body]) -> bool:
    if any(member.is_required() for member in body.model_fields.values()):  # without building the model, which is slow
        return False
    try:
        body.model_validate({})
    except ValidationError:
        return False
    return True


def _unwrapped(text: str) -> str:
    return " ".join(text.split())
