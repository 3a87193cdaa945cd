"""Signing in and out, invitations, another code before what cannot be undone, the language."""

import io

import segno
from flask import Response

from otp_service.console.language import LANGUAGES
from otp_service.console.visits import COOKIE, LANGUAGE_COOKIE, SECURE, Answer, Views, Visit
from otp_service.domain.totp import secret_text
from otp_service.services.console_users import (
    SignInBusyError,
    SignInRefusedError,
    SignInWaitsError,
    accept_invitation,
    confirm,
    open_invitation,
    sign_in,
)

views = Views()
_REFUSED, _TOO_MANY, _BUSY = 403, 429, 503


@views.view("GET /")
def home(visit: Visit) -> Answer:
    """Lead to the first view of the user's role."""
    return visit.page("home.html")


@views.view("GET /sign-in", is_open=True)
def show_sign_in(visit: Visit) -> Answer:
    """Ask for name, password and code."""
    return visit.to("/") if visit.user else visit.page("sign_in.html", said="", seconds=0)


@views.view("POST /sign-in", is_open=True)
def submit_sign_in(visit: Visit) -> Answer:
    """Begin a session, under a new cookie whatever the browser brought."""
    name, code = visit.field("name")[:64], visit.field("code")
    try:
        begun = sign_in(visit.context, name, visit.secret_field("password"), code, visit.address)
    except SignInWaitsError as waits:
        return visit.page("sign_in.html", _TOO_MANY, said="waits", seconds=waits.seconds)
    except SignInRefusedError:
        return visit.page("sign_in.html", _REFUSED, said="refused", seconds=0)
    except SignInBusyError:
        return visit.page("sign_in.html", _BUSY, said="busy", seconds=0)
    if visit.session:
        visit.context.store.console_sessions.end(visit.session)
    answer = visit.to("/")
    answer.set_cookie(COOKIE, begun.cookie, **SECURE)
    return answer


@views.view("POST /sign-out")
def sign_out(visit: Visit) -> Answer:
    """End the session, and all that the browser keeps of it."""
    visit.context.store.console_sessions.end(visit.own_session)
    answer = visit.to("/sign-in")
    answer.delete_cookie(COOKIE, **SECURE)
    answer.headers["Clear-Site-Data"] = '"cache", "storage"'
    return answer


@views.view("POST /confirm")
def submit_confirmation(visit: Visit) -> Answer:
    """Take another code of the user's app, and lead back."""
    back = visit.field("back")
    back = back if back.startswith("/") and not back.startswith(("//", "/\\")) else "/"
    try:
        confirm(visit.context, visit.signed_in, visit.own_session, visit.field("code"))
    except SignInWaitsError as waits:
        return visit.page("confirm.html", _TOO_MANY, back=back, said="waits", seconds=waits.seconds)
    except SignInRefusedError:
        return visit.page("confirm.html", _REFUSED, back=back, said="refused", seconds=0)
    return visit.to(back)


@views.view("GET /invitation/<invitation>", is_open=True)
def show_invitation(visit: Visit, invitation: str) -> Answer:
    """Let somebody who was invited choose a password, and scan the secret of an app."""
    return _invitation(visit, invitation)


@views.view("POST /invitation/<invitation>", is_open=True)
def submit_invitation(visit: Visit, invitation: str) -> Answer:
    """Take password and first code."""
    try:
        password = visit.secret_field("password")
        fault = accept_invitation(visit.context, invitation, password, visit.field("code"))
    except SignInRefusedError:
        return _invitation(visit, invitation, "That code is not the one that the app shows.", _REFUSED)
    except SignInBusyError:
        return _invitation(visit, invitation, "Too many people sign in at this moment. Try again.", _BUSY)
    return _invitation(visit, invitation, fault, _REFUSED) if fault else visit.to("/sign-in")


def _invitation(visit: Visit, invitation: str, fault: str = "", status: int = 200) -> Answer:
    found = open_invitation(visit.context, invitation)
    return visit.page("invitation.html", status, found=found, typed=secret_text(found.secret), fault=fault)


@views.view("GET /invitation/<invitation>/code.svg", is_open=True)
def show_invitation_code(visit: Visit, invitation: str) -> Answer:
    """Show the QR code that brings the secret into an app."""
    drawn = io.BytesIO()
    segno.make(open_invitation(visit.context, invitation).uri, micro=False, error="m").save(
        drawn, kind="svg", scale=5, border=4, light="#fff", dark="#000", xmldecl=False, svgclass=None, lineclass=None
    )
    return Response(drawn.getvalue(), content_type="image/svg+xml")


@views.view("POST /language", is_open=True)
def choose_language(visit: Visit) -> Answer:
    """Remember the language that somebody chose."""
    answer = visit.to("/")
    if (chosen := visit.field("language")) in LANGUAGES:
        answer.set_cookie(LANGUAGE_COOKIE, chosen, max_age=365 * 24 * 3600, **SECURE)
    return answer
