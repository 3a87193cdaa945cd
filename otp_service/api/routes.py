"""Routes, each declared beside its view: what it takes and answers, and the words that callers read about it."""

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
_BODY_PROBLEMS: Final = ("body-too-large", "unsupported-media-type")
_IDEMPOTENCY_PROBLEMS: Final = ("idempotency-mismatch",)
Parameter = Mapping[str, Any]
"""One of a path, a query or the headers, as OpenAPI describes it."""
View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Answer:
    """The body and status of an answer; its headers are in the `Exchange`."""

    body: bytes
    status: int = 200
    media_type: str | None = JSON
    """``None`` when there is no body."""


@cache
def type_adapter(content: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - any type
    """Return the serialiser of a type."""
    return TypeAdapter(content)


@dataclass(frozen=True, slots=True)
class Success:
    """A successful answer, as the documentation shows it."""

    description: str
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    """What the headers say that not every answer has, by their names."""
    content: TypeAdapter[Any] = field(default_factory=lambda: type_adapter(str))
    """What writes the body; where the view does not return an `Answer`, what writes that which it returns."""


@dataclass(frozen=True, eq=False, slots=True)
class Route:
    """A method of a path, and the view that answers it."""

    resource: "Resource"
    method: str
    rule: str
    """The path, as Flask, the log and metrics name it: ``/v1/verifications/<verification_id>``."""
    view: Callable[..., Any]
    """Takes the `Exchange`, a body if there is one, and the path's parts; returns an `Answer`, or what it shows."""
    name: str
    """``operationId``."""
    endpoint: str
    """Its name in metrics."""
    summary: str
    description: str
    answers: Mapping[int, Success]
    """By status, the usual one first; of a route without any, callers read nothing."""
    status: int
    """The usual one."""
    problems: tuple[str, ...]
    """Codes of errors."""
    query: tuple[Parameter, ...]
    """Parameters that the view reads."""
    takes_query: bool
    """Whether a query is left to the view: from applications an unknown parameter is an error, not from providers."""
    body: type[Body] | None
    may_be_empty: bool
    """Whether the body may be left out: where no member has to be there."""
    retries: bool
    """Whether an ``Idempotency-Key`` makes the request safe to repeat."""
    hot: bool
    """Answered without Flask."""
    client_right: ClientRight | None
    """What a client token needs; ``None`` for calls that none may make."""


@dataclass(frozen=True, eq=False, slots=True)
class Resource:
    """Routes, and what they have in common."""

    name: str
    """As metrics name it."""
    section: str
    """What callers find it under."""
    scope: KeyScope | None = None
    """What an API key needs; ``None`` for routes that take none."""
    problems: tuple[str, ...] = ()
    """Codes of errors that any of them may end with."""
    parameters: tuple[Parameter, ...] = ()
    """Parts of their paths."""
    note: str = ""
    """The end of each description."""
    retries: bool = False
    """Whether requests with a body are made safe to repeat by an ``Idempotency-Key``."""
    asks_ledger: bool = False
    """Whether each takes one of the `CallSlots`."""
    is_lenient: bool = False
    """Whether unknown query parameters are passed over."""
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
        annotations are the types of body and answer.
        """
        method, _, rule = request.partition(" ")

        def register(view: View) -> View:
            signature = inspect.signature(view)
            body = next(
                (
                    parameter.annotation
                    for parameter in signature.parameters.values()
                    if isinstance(parameter.annotation, type) and issubclass(parameter.annotation, Body)
                ),
                None,
            )
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
                    answers={
                        status: _success(answer, signature.return_annotation) for status, answer in answers.items()
                    },
                    status=next(iter(answers), 200),
                    problems=self._problems(body, problems),
                    query=query,
                    takes_query=bool(query) or self.scope is None or self.is_lenient,
                    body=body,
                    may_be_empty=body is not None and _takes_nothing(body),
                    retries=self.retries and body is not None,
                    hot=hot,
                    client_right=client_right,
                )
            )
            return view

        return register

    def _problems(self, body: type[Body] | None, others: tuple[str, ...]) -> tuple[str, ...]:
        of_body = (*_BODY_PROBLEMS, *(_IDEMPOTENCY_PROBLEMS if self.retries else ())) if body else ()
        return (*self.problems, *of_body, *others)


def _success(answer: str | Success, returned: Any) -> Success:  # noqa: ANN401 - any type
    success = answer if isinstance(answer, Success) else Success(answer)
    return success if returned is Answer else replace(success, content=type_adapter(returned))


def path_parameter(name: str, description: str, example: str) -> Parameter:
    """Return a part of a path."""
    schema = {"type": "string"}
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema,
        "example": example,
    }


def query_parameter(name: str, description: str, schema: Mapping[str, Any], *, required: bool = False) -> Parameter:
    """Return a parameter of a query."""
    return {"name": name, "in": "query", "required": required, "description": description, "schema": schema}


def _takes_nothing(body: type[Body]) -> bool:
    """Whether a body needs no member."""
    if any(member.is_required() for member in body.model_fields.values()):
        return False
    try:
        body.model_validate({})
    except ValidationError:
        return False
    return True


def _unwrapped(text: str) -> str:
    return " ".join(text.split())


NUMBER_PROBLEMS = (
    *COMMON_PROBLEMS,
    "invalid-number",
    "number-type-not-allowed",
    "ledger-mismatch",
)
