"""The console's WSGI application: permissions, protection of forms, headers, errors."""

import hmac
from collections.abc import Mapping
from functools import cache, partial
from typing import Final
from urllib.parse import urlsplit

from flask import Flask, Response, g, request
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from werkzeug.exceptions import BadRequest, HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from otp_service.bootstrap import Installation, open_installation, watch
from otp_service.console import demo, plots
from otp_service.console.authentication import user_of
from otp_service.console.compliance import views as compliance
from otp_service.console.developers import views as developers
from otp_service.console.find import views as find
from otp_service.console.fraud import views as fraud
from otp_service.console.inbox import views as inbox
from otp_service.console.language import DIRECTIONS, LANGUAGES, translated
from otp_service.console.operations import views as operations
from otp_service.console.requests import COOKIE, Answer, ConsoleRequest, FormError, View, language_of_request
from otp_service.console.sessions import ConsoleSessions
from otp_service.console.settings import console_settings
from otp_service.console.sign_in import views as sign_in
from otp_service.console.users import views as users
from otp_service.console.what_if import views as what_if
from otp_service.domain.phrases import Phrase, Value
from otp_service.domain.prices import format_micros
from otp_service.errors import (
    ForbiddenError,
    LedgerUnavailableError,
    NotFoundError,
    OtpServiceError,
    StoreUnavailableError,
)
from otp_service.settings import Settings
from otp_service.telemetry.logging import get_logger

_log = get_logger(__name__)

PARTS: Final = (find, inbox, fraud, what_if, compliance, operations, developers, sign_in, users)
VIEWS: Final[tuple[View, ...]] = tuple(view for part in PARTS for view in part.all)
"""In the order of the navigation."""
HEALTH: Final = "/healthz"
"""Health check, without authentication."""
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",  # with no-referrer Chromium sends Origin: null with our own forms
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
MAX_FORM: Final = 1 << 20
"""Bytes of a form: a rules file to try is the longest."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_UNAVAILABLE, _NOT_FOUND, _FORBIDDEN = 503, 404, 403


class Console(Flask):
    """The console of an installation."""

    def __init__(self, installation: Installation) -> None:
        super().__init__(__name__, static_folder="static", static_url_path="/static", template_folder=None)
        self.installation = installation
        self.config["MAX_CONTENT_LENGTH"] = MAX_FORM
        self.config["MAX_FORM_MEMORY_SIZE"] = MAX_FORM
        views = (*VIEWS, *demo.views.all) if demo.is_demo(installation.settings) else VIEWS
        self._by_endpoint = {view.endpoint: view for view in views}
        self.add_url_rule(HEALTH, "health", lambda: Response("ok", content_type="text/plain"))
        for view in views:
            self.add_url_rule(view.rule, view.endpoint, partial(self._answer, view), methods=[view.method])
        self.before_request(self._begin)
        self.after_request(_finish)
        self.register_error_handler(Exception, self._fail)
        if proxies := console_settings(installation.settings).trusted_proxies:
            self.wsgi_app = ProxyFix(self.wsgi_app, x_for=proxies, x_host=0, x_proto=0)  # type: ignore[method-assign]

    def _begin(self) -> Answer | None:
        g.visit = visit = ConsoleRequest(self.installation, language_of_request(), render=render)
        if request.endpoint == "health":
            return None  # probes may use any host name
        expected, host = console_settings(self.installation.settings).public_url, request.host
        is_own = host == urlsplit(expected).netloc if expected else urlsplit(f"//{host}").hostname in _LOOPBACK
        if not is_own:  # against DNS rebinding
            raise ForbiddenError("This is not the address of the console.")
        visit.view = self._by_endpoint.get(request.endpoint or "")
        if visit.view is None:
            return None  # a file, or Flask's own 404 or 405
        if name := request.cookies.get(COOKIE):
            session = ConsoleSessions(visit.context).find(name)
            visit.user = user_of(visit.context, session) if session else None
            visit.session = session if visit.user else None
        if request.method == "POST":
            _require_own_form(visit)
        sent = (*(request.view_args or {}).values(), *request.args.values(), *request.form.values())
        if any("\0" in text for text in sent):  # PostgreSQL cannot store NUL
            raise BadRequest
        return _admit(visit, visit.view)

    def _answer(self, view: View, **parts: str) -> Answer:
        """Answer with a view; after a `FormError`, with the form's page, whose path is the longest prefix."""
        try:
            return view.function(g.visit, **parts)
        except FormError as wrong:
            g.visit.wrong = wrong
            pages = [page for page in self._by_endpoint.values() if page.method == "GET"]
            above = [page for page in pages if f"{view.rule}/".startswith(f"{page.rule}/")]
            page = max(above, key=lambda page: len(page.rule))
            if not page.is_for(g.visit.user):
                raise ForbiddenError("Your role does not allow this page.") from wrong
            return page.function(g.visit, **{name: value for name, value in parts.items() if f"<{name}>" in page.rule})

    def _fail(self, error: Exception) -> Answer:
        visit: ConsoleRequest = g.visit
        match error:
            case HTTPException():
                status, kind = error.code or 500, "gone" if error.code == _NOT_FOUND else "error"
            case NotFoundError():
                status, kind = _NOT_FOUND, "gone"
            case ForbiddenError():
                status, kind = _FORBIDDEN, "forbidden"
            case LedgerUnavailableError() | StoreUnavailableError():
                status, kind = _UNAVAILABLE, "away"
            case OtpServiceError():
                status, kind = _UNAVAILABLE, "error"
            case _:
                _log.exception("console_defect", view=visit.view.endpoint if visit.view else "")
                status, kind = 500, "error"
        return visit.page("error.html", status, kind=kind)


def _admit(visit: ConsoleRequest, view: View) -> Answer | None:
    """Return ``None`` for an admitted request, else the page to sign in or to confirm; raise `ForbiddenError`."""
    if view.is_open:
        return None
    if visit.user is None:
        return visit.to("/sign-in")
    if not view.is_for(visit.user):
        raise ForbiddenError("Your role does not allow this.")
    if view.confirmed and not visit.own_session.is_confirmed:
        back = request.full_path if request.method == "GET" else urlsplit(request.referrer or "/").path
        return visit.page("confirm.html", _FORBIDDEN, back=back)
    return None


def _require_own_form(visit: ConsoleRequest) -> None:
    """Refuse a form that another site, or another port of this host, sent: cookies know no port."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    is_own = site == "same-origin" if site else origin == visit.origin
    if visit.session:
        is_own = is_own and hmac.compare_digest(
            request.form.get("form", "").encode(), visit.session.form_token.encode()
        )
    if not is_own:
        raise ForbiddenError("The form was sent from another site.")


def _finish(response: Response) -> Response:
    response.headers.update(HEADERS)
    if request.endpoint == "static":
        response.headers["Cache-Control"] = "public, max-age=3600"
    return response


def render(template: str, visit: ConsoleRequest, **values: object) -> str:

    def translate(text: str | Phrase, **values: Value) -> Markup:
        return translated(visit.language, text if isinstance(text, Phrase) else Phrase(text, values))

    token = visit.session.form_token if visit.session else ""
    own_form = Markup('<input type="hidden" name="form" value="{}">').format(token)
    navigation = [view for view in VIEWS if view.title and view.is_for(visit.user)] if visit.user else []
    language = {"tag": visit.language, "direction": DIRECTIONS[visit.language], "all": LANGUAGES}
    shared = {"_": translate, "own_form": own_form, "visit": visit, "navigation": navigation, "language": language}
    return _templates().get_template(template).render({**shared, **values})


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["time"] = plots.time_of
    environment.filters["money"] = format_micros
    return environment


def app(settings: Settings) -> Console:
    """Return the console that settings describe; raises as `otp_service.wsgi.app` does."""
    installation = open_installation(settings, waits_for_ledger=True)
    watch(installation).start()
    return Console(installation)
