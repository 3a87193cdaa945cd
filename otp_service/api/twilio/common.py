"""Common parts of Twilio's calls: forms, services, lists, answers."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, Any, Final, NoReturn, TypeVar
from urllib.parse import parse_qsl

from pydantic import Field
from pydantic.alias_generators import to_pascal
from werkzeug.wsgi import get_host

from otp_service.api.exchange import Exchange
from otp_service.api.requests import read_form, validate_body
from otp_service.api.routes import Answer
from otp_service.api.schemas import Body
from otp_service.domain.verification import Purpose
from otp_service.errors import Fault, InvalidRequestError, NotFoundError
from otp_service.telemetry import metrics

SERVICES: Final = "/twilio/v2/Services"
SERVICE: Final = f"{SERVICES}/<service_sid>"
_UNUSED: Final = frozenset(
    [
        "ChannelConfiguration",
        "CustomMessage",
        "Details.Fields",
        "Details.Message",
        "EnableSnaClientToken",
        "ExpirationDate",
        "HiddenDetails",
        "Metadata",
        "RateLimits",
        "SnaClientToken",
        "Tags",
        "TemplateCustomSubstitutions",
        "TemplateSid",
        "Templates",
    ]
)
"""Parameters of Twilio's that are ignored; metrics name no others."""
UNUSED_PARAMETERS: Final = metrics.Counter(
    "otp_service_twilio_unused_parameters",
    "Ignored parameters of Twilio-compatible calls; `other` for what Twilio does not know either.",
    "parameter",
)


class Form(Body, extra="ignore", alias_generator=to_pascal):
    """Parameters by Twilio's names; others are ignored."""


GivenForm = TypeVar("GivenForm", bound=Form)


def read_parameters(exchange: Exchange, form: type[GivenForm]) -> GivenForm:
    """Return the parameters of a call, and count ignored ones.

    Raises `InvalidRequestError`, also for a repeated parameter: in a form that a program writes without encoding a
    person's input, the input could add a number. Raises werkzeug's errors for a body that is too long or incomplete.
    """
    fields = read_form(exchange)
    parameters, known = dict(fields), {member.alias for member in form.model_fields.values()}
    body = validate_body(form, parameters)
    if twice := sorted({name for name, times in Counter(name for name, _ in fields).items() if times > 1} & known):
        refuse(twice[0])
    for name in parameters.keys() - known:
        UNUSED_PARAMETERS.count(parameter=name if name in _UNUSED else metrics.OTHER)
    return body


def refuse(name: str) -> NoReturn:
    """Raise `InvalidRequestError` for a parameter."""
    raise InvalidRequestError("A parameter is missing or wrong.", (Fault(f"/{name}", "is missing or wrong"),)) from None


def answer(document: Mapping[str, Any], status: int = 200) -> Answer:
    return Answer(json.dumps(document).encode(), status)


class _Page(Form):
    page_size: Annotated[int, Field(ge=1, le=1000, strict=False)] = 50
    page: Annotated[int, Field(ge=0, le=1_000_000, strict=False)] = 0


def answer_list(exchange: Exchange, name: str, url: str, entries: Sequence[Mapping[str, Any]]) -> Answer:
    """Return the requested page of the list at a ``url``; raises `InvalidRequestError`."""
    query = validate_body(_Page, dict(parse_qsl(exchange.environ.get("QUERY_STRING", ""))))
    size, page = query.page_size, query.page
    first, before, this, after = (f"{url}?PageSize={size}&Page={number}" for number in (0, page - 1, page, page + 1))
    begin, end = page * size, (page + 1) * size
    meta = {
        "page": page,
        "page_size": size,
        "first_page_url": first,
        "previous_page_url": before if page else None,
        "next_page_url": after if end < len(entries) else None,
        "key": name,
        "url": this,
    }
    return answer({name: entries[begin:end], "meta": meta})


@dataclass(frozen=True, slots=True)
class Service:
    """A service of Twilio's: a purpose of an application."""

    sid: str
    account_sid: str
    purpose: Purpose
    url: str
    """Absolute, for Twilio's libraries follow it."""

    @property
    def sids(self) -> dict[str, str]:
        """Members of every answer for a resource below it."""
        return {"service_sid": self.sid, "account_sid": self.account_sid}


def services_url(exchange: Exchange) -> str:
    """Return the absolute address of the list of services."""
    host = exchange.settings.http.public_url or f"{exchange.environ['wsgi.url_scheme']}://{get_host(exchange.environ)}"
    return host.rstrip("/") + SERVICES


def services_of(exchange: Exchange) -> list[Service]:
    """Return the services of the application that calls."""
    application, purposes, url = exchange.application, exchange.context.purposes, services_url(exchange)
    sids = {name: f"VA{_digits(application.name, name)}" for name in sorted(application.purposes & purposes.keys())}
    account_sid = f"AC{_digits(application.name)}"
    return [Service(sid, account_sid, purposes[name], f"{url}/{sid}") for name, sid in sids.items()]


def find_service(exchange: Exchange, sid: str) -> Service:
    """Return a service of the application that calls; raise `NotFoundError`."""
    for service in services_of(exchange):
        if service.sid == sid:
            return service
    raise NotFoundError("Unknown service.")


@lru_cache(maxsize=1024)
def _digits(*names: str) -> str:
    """Return 32 digits for an application or a purpose of it, the same in each process and not secret."""
    return sha256("/".join(names).encode()).hexdigest()[:32]
