"""Hosted pages on which people type codes, and the call that redeems a page's result."""

import functools
import secrets
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Annotated, Any, Final
from urllib.parse import parse_qs, urlsplit

from jinja2 import Environment
from markupsafe import Markup, escape
from pydantic import StringConstraints
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from otp_service.api.docs import new_templates
from otp_service.api.errors import answer_error
from otp_service.api.exchange import Exchange
from otp_service.api.requests import host_of, peer_address, read_form
from otp_service.api.routes import COMMON_PROBLEMS, Answer, Resource
from otp_service.api.schemas import Body
from otp_service.domain.applications import KeyScope
from otp_service.domain.guard import ceil_seconds
from otp_service.domain.hosted_pages import DEFAULT_COLOR, is_color, origin_of
from otp_service.domain.payments import Transaction, format_amount
from otp_service.domain.templates import amount_style, fallback_tags
from otp_service.domain.verification import Channel, CheckFailure, Status
from otp_service.errors import ForbiddenError, InvalidCodeError, NotFoundError, OtpServiceError, ResendTooSoonError
from otp_service.services.pages import Page, ask_again, count_request, open_page, redeem_result, submit_code
from otp_service.telemetry.redaction import SafeText

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "form-action 'self'"
)
"""Content-Security-Policy of pages. Chromium applies ``form-action`` also to the redirect that answers a form."""
_NOTES = ("wrong", "invalid", "locked", "sent", "too_soon", "not_sent", "busy")
"""Names, in a page's query, of its remarks on the last form."""
_NOTE_OF_FAILURE: Mapping[str, str] = {CheckFailure.WRONG_CODE: "wrong", CheckFailure.NUMBER_LOCKED: "locked"}

pages = Resource("pages", "Pages", problems=("internal", "overloaded"))
results = Resource("page-results", "Hosted pages", KeyScope.VERIFY, problems=COMMON_PROBLEMS)


class ResultBody(Body, json_schema_extra={"examples": [{"result": "k1_0012ab.19abc.X3bq"}]}):
    """What a person's browser brought back from a page."""

    result: Annotated[str, StringConstraints(max_length=200, pattern="^[A-Za-z0-9_.-]+$")]
    """The parameter `result` of the address that it came back to."""


@dataclass(frozen=True, slots=True)
class PageResultAnswer:
    """The result of a hosted page."""

    id: str
    """The verification: believe the rest only if it is the one that this person's session started."""
    status: Status
    """How it ended: let the person in only when it is `approved`."""
    proof: str | None = field(repr=False)
    """A signed statement of the approval, as a check answers it; null where there is none."""


@results.route("POST /v1/page-results/redeem", {200: "The result."}, ("invalid-result", "already-redeemed"))
def redeem_page_result(exchange: Exchange, body: ResultBody) -> PageResultAnswer:
    """Use up the result of a page.

    Answers which verification it was, and how it ended, the first time and within five minutes. A person who comes back
    without a result has not finished.
    """
    result = redeem_result(exchange.context, exchange.application, body.result)
    exchange.verification = SafeText(result.verification_id)
    return PageResultAnswer(result.verification_id, result.status, result.proof)


def _for_people(view: Callable[[Exchange, str], Answer]) -> Callable[[Exchange, str], Answer]:
    """Make a view count its request first, and answer a refusal with a page."""

    @functools.wraps(view)
    def answer(exchange: Exchange, token: str) -> Answer:
        try:
            count_request(exchange.context, peer_address(exchange), exchange.settings.http.page_requests)
            return view(exchange, token)
        except OtpServiceError as refused:
            problem = answer_error(exchange, refused)
            refusal = "gone" if isinstance(refused, NotFoundError) else "later"
            header = exchange.header("Accept-Language")
            words = _words_in(parse_accept_header(header, LanguageAccept).values() if header else ())
            page = _templates().get_template("page.html").render(refusal=refusal, color=DEFAULT_COLOR, **words)
            return _html(exchange, page, problem.status)

    return answer


@pages.route("GET /p/<token>", {}, endpoint="show")
@_for_people
def show_page(exchange: Exchange, token: str) -> Answer:
    page = _open(exchange, token)
    verification = page.view.verification
    notes = parse_qs(exchange.environ.get("QUERY_STRING", "")).get("note", [])
    template = _templates().get_template("page.html")
    text = template.render(
        refusal="",
        page=page,
        verification=verification,
        payment=page.view.details.transaction,
        note=next((note for note in notes if note in _NOTES), ""),
        seconds=ceil_seconds(page.wait),
        attempt=secrets.token_urlsafe(16),
        color=page.application.page_color,
        **_words_in((verification.locale, page.application.locale)),
    )
    return _html(exchange, text, return_to=page.return_url)


@pages.route("POST /p/<token>", {}, endpoint="submit")
@_for_people
def submit_page(exchange: Exchange, token: str) -> Answer:
    """Take a code, or the wish for another message; lead back to the page, or to the application."""
    site, origin = exchange.header("Sec-Fetch-Site"), exchange.header("Origin")
    # Pages have no referrer, so that browsers without Sec-Fetch-Site send Origin: null.
    has_own_origin = origin in {None, "null"} or urlsplit(origin or "").netloc == host_of(exchange.environ)
    if not (site == "same-origin" if site else has_own_origin):
        raise ForbiddenError("The form was sent from another site.")
    page, form = _open(exchange, token), dict(read_form(exchange))
    attempt = form.get("attempt", "") or secrets.token_urlsafe(16)
    try:
        if channel := form.get("channel"):
            ask_again(exchange.context, page, channel, attempt)
            note = "sent"
        else:
            outcome = submit_code(exchange.context, page, form.get("code", ""), attempt)
            if not isinstance(outcome, CheckFailure):
                return _see_other(exchange, outcome)
            exchange.reason = outcome
            note = _NOTE_OF_FAILURE.get(outcome, "")
    except InvalidCodeError:
        note = "invalid"
    except ResendTooSoonError:
        note = "too_soon"
    except OtpServiceError as refused:
        exchange.problem, exchange.decision = refused.code, refused.decision
        note = "not_sent" if form.get("channel") else "busy"
    return _see_other(exchange, f"{token}?note={note}" if note else token)


def _open(exchange: Exchange, token: str) -> Page:
    page = open_page(exchange.context, token)
    exchange.verification = SafeText(page.view.verification.id)
    return page


def _see_other(exchange: Exchange, address: str) -> Answer:
    exchange.headers |= {"Location": address}
    return Answer(b"", 303, None)


def _html(exchange: Exchange, text: str, status: int = 200, return_to: str | None = None) -> Answer:
    exchange.headers |= {
        "Content-Security-Policy": f"{POLICY} {origin_of(return_to)}" if return_to else POLICY,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    return Answer(text.encode(), status, "text/html; charset=utf-8")


@pages.route("GET /p/style/<color>.css", {}, endpoint="style")
def page_style(exchange: Exchange, color: str) -> Answer:
    if not is_color(color):
        raise NotFoundError("Unknown colour.")
    sheet = _file("page.css").replace("#1f4fbf", f"#{color}")
    return _asset(exchange, sheet, "text/css; charset=utf-8")


@pages.route("GET /p/script/page.js", {}, endpoint="script")
def page_script(exchange: Exchange) -> Answer:
    return _asset(exchange, _file("page.js"), "text/javascript; charset=utf-8")


def _asset(exchange: Exchange, text: str, media_type: str) -> Answer:
    exchange.headers["Cache-Control"] = "public, max-age=3600"
    return Answer(text.encode(), media_type=media_type)


@cache
def _file(name: str) -> str:
    return resources.files(__package__).joinpath(f"templates/{name}").read_text(encoding="utf-8")


@cache
def _words() -> Mapping[str, Any]:
    """Return the words of pages by language."""
    return tomllib.loads(_file("page.toml"))


def _words_in(locales: Iterable[str]) -> dict[str, Any]:
    """Return the tag (BCP 47) and the words of the first of these languages that pages have, or of English."""
    known = {tag.lower(): tag for tag in _words()}
    tags = (tag.lower() for locale in locales for tag in fallback_tags(locale))
    tag = next((known[tag] for tag in tags if tag in known), "en")
    return {"tag": tag, "words": _words()[tag]}


@cache
def _templates() -> Environment:
    environment = new_templates()
    environment.filters["fill"] = _fill
    environment.filters["amount"] = _amount
    environment.filters["app"] = lambda channel: Channel(channel).traits.app
    return environment


def _amount(payment: Transaction, tag: str) -> str:
    return format_amount(payment.amount, payment.currency, amount_style(tag))


def _fill(sentence: str, **values: object) -> Markup:
    """Return a sentence with its values, each isolated from the text direction around it (HTML's ``bdi``)."""
    marked = {name: Markup("<bdi>{}</bdi>").format(value) for name, value in values.items()}
    return Markup(str(escape(sentence)).format_map(marked))  # noqa: S704 - both parts are escaped
