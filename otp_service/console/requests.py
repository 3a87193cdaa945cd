"""Requests of the console, with user and answer, and views: routes with a permission."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from flask import Response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from otp_service.bootstrap import Installation
from otp_service.console import keys
from otp_service.console.accounts import ConsoleUser, Permission, Role
from otp_service.console.language import LANGUAGES, known_phrases, words
from otp_service.console.records import NumberView, NumberViews
from otp_service.console.sessions import ConsoleSession, ConsoleSessions
from otp_service.console.settings import console_settings
from otp_service.domain.consents import EVERY_APPLICATION, Suppression
from otp_service.domain.numbers import ANY_TYPE, SubjectKey, is_region, parse_destination, subject_key
from otp_service.domain.phrases import Phrase
from otp_service.errors import ForbiddenError, NotFoundError, StoreUnavailableError, UnacceptableError
from otp_service.services.consents import is_reason
from otp_service.services.context import Context
from otp_service.services.stats import StatsText
from otp_service.settings import Settings

COOKIE: Final = "__Host-console"
LANGUAGE_COOKIE: Final = "__Host-console-language"
SECURE: Final[Mapping[str, Any]] = {"secure": True, "httponly": True, "samesite": "Lax", "path": "/"}
"""Attributes of cookies, as `__Host-` requires. A link in a ticket would not send strict cookies."""
_OK, _SEE_OTHER, _BAD_FORM, _UNAVAILABLE = 200, 303, 422, 503
HANDLE_LIFE: Final = 1000 * keys.handle.seconds
"""Milliseconds in which repeated views of a page are recorded once."""
MAX_FIELD: Final = 300
"""Characters of a field of a form."""
NO_NUMBER: Final = "This is no phone number that can be looked up: write it as +92…."
MAYBE_RECORDED: Final = (
    "It may be recorded already, and is in force as soon as Redis answers. To do it again does no harm."
)
NO_APPLICATION: Final = "There is no application of this name."
NO_REGION: Final = "There is no such region. It has two letters, such as PK."
NO_REASON: Final = "A reason has at most 200 characters, and no phone number."


class FormError(Exception):
    """A fault of a form, whose page is shown again with the sentence."""

    def __init__(self, sentence: str | Phrase, status: int = _BAD_FORM) -> None:
        super().__init__(str(sentence))
        self.sentence, self.status = sentence, status


@contextmanager
def as_form_error(error: type[Exception], sentence: str, status: int = _BAD_FORM) -> Iterator[None]:
    """Turn an error into a `FormError` with a sentence."""
    try:
        yield
    except error as failed:
        raise FormError(sentence, status) from failed


@dataclass
class ConsoleRequest:
    """A request and its user."""

    installation: Installation
    language: str
    user: ConsoleUser | None = None
    session: ConsoleSession | None = None
    view: "View | None" = None
    wrong: FormError | None = None
    """The fault of the submitted form."""
    render: Callable[..., str] = field(repr=False, default=lambda *_, **__: "")

    @property
    def context(self) -> Context:
        return self.installation.context

    @property
    def settings(self) -> Settings:
        return self.installation.settings

    @property
    def operator(self) -> str:
        return f"console:{self.signed_in.name}"

    @property
    def signed_in(self) -> ConsoleUser:
        """The signed-in user; raises `ForbiddenError` without one."""
        if self.user is None:
            raise ForbiddenError("No user is signed in.")
        return self.user

    @property
    def own_session(self) -> ConsoleSession:
        """The session of the signed-in user; raises `ForbiddenError` without one."""
        if self.session is None:
            raise ForbiddenError("No user is signed in.")
        return self.session

    @property
    def applications(self) -> tuple[str, ...]:
        return tuple(sorted(name for name in self.context.applications if self.signed_in.sees(name)))

    @property
    def usual_region(self) -> str:
        """The region of the user's applications, empty where they have several, or none."""
        regions = {self.context.applications[name].region or "" for name in self.applications}
        return regions.pop() if len(regions) == 1 else ""

    @property
    def choices(self) -> tuple[str, ...]:
        """The applications that the user may act for; `EVERY_APPLICATION` is last, against mistakes."""
        every = (EVERY_APPLICATION,) if self.signed_in.sees_all else ()
        return (*self.applications, *every)

    def field(self, name: str) -> str:
        """Return a field of the form, stripped; empty if it is missing."""
        return request.form.get(name, "").strip()[:MAX_FIELD]

    def text_field(self, name: str, max_length: int) -> str:
        """Return a field of several lines, cut to ``max_length`` characters."""
        return request.form.get(name, "").replace("\r\n", "\n")[:max_length]

    def secret_field(self, name: str) -> str:
        """Return a field without stripping: blanks belong to a password."""
        return request.form.get(name, "")[:MAX_FIELD]

    def typed_number(self) -> SubjectKey:
        """Return the typed number, of any type; raise `FormError`."""
        region = self.field("region").upper()
        if region and not is_region(region):
            raise FormError(NO_REGION)
        with as_form_error(UnacceptableError, NO_NUMBER):
            to = parse_destination(self.field("number"), region or None, ANY_TYPE)
        return subject_key(self.context.keyring, to)

    def typed_reason(self) -> str:
        if not is_reason(reason := self.field("reason")):
            raise FormError(NO_REASON)
        return reason

    def typed_application(self) -> str:
        if (application := self.field("application")) not in self.choices:
            raise FormError(NO_APPLICATION)
        return application

    def typed_role(self) -> Role:
        if (role := self.field("role")) not in set(Role):
            raise FormError("There is no such role.")
        return Role(role)

    def repeatable(self) -> AbstractContextManager[None]:
        """Turn `StoreUnavailableError` into a `FormError`, since the ledger may have the action already."""
        return as_form_error(StoreUnavailableError, MAYBE_RECORDED, _UNAVAILABLE)

    def record_number_view(self, pseudonym: str, view: str, reason: str = "", within: int = 0) -> None:
        """Record a view before the data are shown: without the ledger nothing is shown."""
        record = NumberView(self.signed_in.name, view, pseudonym, reason)
        NumberViews(self.context.ledger.database).record(record, within)

    @property
    def address(self) -> str:
        """The browser's address, as the outermost trusted proxy saw it; a constant where there is none."""
        return request.remote_addr or "0.0.0.0"  # noqa: S104 - a name for callers over a Unix socket

    @property
    def path(self) -> str:
        return request.path

    @property
    def origin(self) -> str:
        """The scheme and host of this page in the browser; a proxy may have removed TLS."""
        return console_settings(self.settings).public_url or request.host_url.rstrip("/")

    def look_up(self, page: str) -> AnyResponse:
        """Record a view of the typed number, and redirect to its page; raise `FormError`."""
        to, reason = self.typed_number(), self.typed_reason()
        self.record_number_view(to.pseudonym, page, reason)
        return self.to(f"/{page}/{ConsoleSessions(self.context).point_to(self.own_session, to)}")

    def number(self, handle: str) -> SubjectKey:
        """Return the number of a handle of this session; raise `NotFoundError`."""
        number = ConsoleSessions(self.context).pointed_to(self.own_session, handle)
        if number is None:
            raise NotFoundError("What was found is kept for ten minutes.")
        return number

    def suppressions(self, number: SubjectKey) -> list[Suppression]:
        """Return a number's entries for the user's applications and for all, the oldest first."""
        names = {*self.applications, EVERY_APPLICATION}
        entries = self.context.ledger.suppressions.of(number.pseudonym)
        return [entry for entry in entries if entry.application in names]

    def page(self, template: str, status: int = 0, **values: object) -> Response:
        """Return a page with the form's fault, or once with the notes of the last action."""
        status = status or (self.wrong.status if self.wrong else _OK)
        notes = self.session.notes if self.session and status == _OK else ()
        if self.session and notes:
            ConsoleSessions(self.context).drop_notes(self.session)
        shown = self.render(template, visit=self, was_done=known_phrases(notes), **values)
        return Response(shown, status, content_type="text/html; charset=utf-8")

    def to(self, path: str) -> AnyResponse:
        return redirect(path, _SEE_OTHER)

    def done(self, path: str, *notes: Phrase) -> AnyResponse:
        ConsoleSessions(self.context).leave_notes(self.own_session, notes)
        return self.to(path)

    def enter(self, cookie: str) -> AnyResponse:
        """End the browser's session, and redirect it into a new session."""
        if self.session:
            ConsoleSessions(self.context).end(self.session)
        answer = self.to("/")
        answer.set_cookie(COOKIE, cookie, **SECURE)
        return answer

    @property
    def stats(self) -> StatsText:
        """Formats stats for the user: exact, or with small counts hidden."""
        return StatsText(exact=self.signed_in.may(Permission.EXACT))

    def words(self, text: str) -> str:
        return words(self.language, text)


Answer = AnyResponse
_Function = Callable[..., Answer]


@dataclass(frozen=True, slots=True)
class View:
    """A page, or the action of a form."""

    method: str
    rule: str
    function: _Function
    permission: Permission | None
    """Required permission; ``None`` for any signed-in user."""
    is_open: bool
    """Whether it needs no sign-in."""
    confirmed: bool
    """Whether it needs a recent code of the user's app, because it is irreversible or shows much."""
    title: str
    """In the navigation; empty for none."""

    @property
    def endpoint(self) -> str:
        return f"{self.method} {self.rule}"

    def is_for(self, user: ConsoleUser | None) -> bool:
        return self.is_open or (user is not None and (self.permission is None or user.may(self.permission)))


class Views:
    """The views of a part of the console."""

    def __init__(self) -> None:
        self.all: list[View] = []

    def view(
        self,
        route: str,
        permission: Permission | None = None,
        *,
        is_open: bool = False,
        confirmed: bool = False,
        title: str = "",
    ) -> Callable[[_Function], _Function]:
        """Make a function a view: ``route`` is a method and a path, such as ``GET /find/<handle>``.

        The path of a form begins with the path of its page, which is shown again after a `FormError`.
        """
        method, _, rule = route.partition(" ")

        def add(function: _Function) -> _Function:
            self.all.append(View(method, rule, function, permission, is_open, confirmed, title))
            return function

        return add


def language_of_request() -> str:
    """Return the chosen language, the browser's, or English."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    return chosen if chosen in LANGUAGES else request.accept_languages.best_match(LANGUAGES) or "en"
