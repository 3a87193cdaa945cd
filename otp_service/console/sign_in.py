"""Sign-in and sign-out, invitations, confirmation of irreversible actions, the language."""

import io

import segno
from flask import Response, request

from otp_service.console.authentication import (
    SignInBusyError,
    SignInError,
    SignInWaitsError,
    accept_invitation,
    confirm,
    open_invitation,
    sign_in,
)
from otp_service.console.language import LANGUAGES
from otp_service.console.requests import COOKIE, LANGUAGE_COOKIE, SECURE, Answer, ConsoleRequest, FormError, Views
from otp_service.console.sessions import ConsoleSessions
from otp_service.domain.phrases import Phrase
from otp_service.domain.totp import secret_text

views = Views()
_REFUSED, _TOO_MANY, _UNAVAILABLE = 403, 429, 503


@views.view("GET /")
def home(visit: ConsoleRequest) -> Answer:
    """Show the home page."""
    return visit.page("home.html")


@views.view("GET /sign-in", is_open=True)
def show_sign_in(visit: ConsoleRequest) -> Answer:
    if visit.user and not visit.wrong:
        return visit.to("/")
    return visit.page("sign_in.html", has_accepted="accepted" in request.args)


@views.view("POST /sign-in", is_open=True)
def submit_sign_in(visit: ConsoleRequest) -> Answer:
    name, code = visit.field("name")[:64], visit.field("code")
    try:
        return visit.enter(sign_in(visit.context, name, visit.secret_field("password"), code, visit.address))
    except SignInError as failed:
        refusal = "That is not right. Check name, password and code, and wait for the next code of your app."
        raise _form_error(failed, refusal) from failed


def _form_error(failed: SignInError, refusal: str) -> FormError:
    """Return the error that the page shows; ``refusal`` is for wrong values."""
    match failed:
        case SignInWaitsError():
            waits = Phrase("Too many failures. Try again in {seconds} seconds.", {"seconds": failed.seconds})
            return FormError(waits, _TOO_MANY)
        case SignInBusyError():
            return FormError("Too many people sign in at this moment. Try again.", _UNAVAILABLE)
        case _:
            return FormError(refusal, _REFUSED)


@views.view("POST /sign-out")
def sign_out(visit: ConsoleRequest) -> Answer:
    ConsoleSessions(visit.context).end(visit.own_session)
    answer = visit.to("/sign-in")
    answer.delete_cookie(COOKIE, **SECURE)
    answer.headers["Clear-Site-Data"] = '"cache", "storage"'
    return answer


@views.view("POST /confirm")
def submit_confirmation(visit: ConsoleRequest) -> Answer:
    back = visit.field("back")
    is_ours = back.startswith("/") and not back.startswith(("//", "/\\")) and back.isprintable()  # a tab is left out
    back = back if is_ours else "/"
    try:
        confirm(visit.context, visit.signed_in, visit.own_session, visit.field("code"))
    except SignInError as failed:
        visit.wrong = _form_error(failed, "That code is not right, or was used before. Wait for the next one.")
        return visit.page("confirm.html", back=back)
    return visit.to(back)


@views.view("GET /invitation/<invitation>", is_open=True)
def show_invitation(visit: ConsoleRequest, invitation: str) -> Answer:
    opened = open_invitation(visit.context, invitation)
    return visit.page("invitation.html", user=opened.user, typed=secret_text(opened.secret))


@views.view("POST /invitation/<invitation>", is_open=True)
def submit_invitation(visit: ConsoleRequest, invitation: str) -> Answer:
    password = visit.secret_field("password")
    try:
        fault = accept_invitation(visit.context, invitation, password, visit.field("code"))
    except SignInError as failed:
        raise _form_error(failed, "That code is not the one that the app shows.") from failed
    if fault:
        raise FormError(fault, _REFUSED)
    return visit.to("/sign-in?accepted")


@views.view("GET /invitation/<invitation>/code.svg", is_open=True)
def show_invitation_code(visit: ConsoleRequest, invitation: str) -> Answer:
    drawn = io.BytesIO()
    segno.make(open_invitation(visit.context, invitation).uri, micro=False, error="m").save(
        drawn, kind="svg", scale=5, border=4, light="#fff", dark="#000", xmldecl=False, svgclass=None, lineclass=None
    )
    return Response(drawn.getvalue(), content_type="image/svg+xml")


@views.view("POST /language", is_open=True)
def choose_language(visit: ConsoleRequest) -> Answer:
    answer = visit.to("/")
    if (chosen := visit.field("language")) in LANGUAGES:
        answer.set_cookie(LANGUAGE_COOKIE, chosen, max_age=365 * 24 * 3600, **SECURE)
    return answer
