"""Sign-in without a password, for ``otp-service dev`` on the own machine."""

import hmac
from ipaddress import ip_address
from typing import Final

from flask import request

from otp_service.console.accounts import Role
from otp_service.console.authentication import SignInRefusedError, demo_code, sign_in_as
from otp_service.console.requests import Answer, ConsoleRequest, Views, as_form_error
from otp_service.console.settings import console_settings
from otp_service.errors import NotFoundError
from otp_service.settings import Settings

views = Views()
_FORWARDED: Final = ("Forwarded", "Via", "X-Forwarded-For", "X-Real-IP")
"""Headers of proxies: the browser may be on another machine."""


def is_demo(settings: Settings) -> bool:
    """Whether these views exist: only while the console is reachable from this machine alone."""
    console = console_settings(settings)
    is_local = console.public_url is None and not console.trusted_proxies
    return bool(console.dev_token) and not settings.production and is_local


@views.view("GET /dev/<token>", is_open=True)
def show_roles(visit: ConsoleRequest, token: str) -> Answer:
    _require_demo(visit, token)
    return visit.page("trial.html", codes=[(role, demo_code(visit.context, role)) for role in Role], token=token)


@views.view("POST /dev/<token>", is_open=True)
def sign_in_for_demo(visit: ConsoleRequest, token: str) -> Answer:
    _require_demo(visit, token)
    with as_form_error(SignInRefusedError, "This demo user is disabled."):
        return visit.enter(sign_in_as(visit.context, visit.typed_role()))


def _require_demo(visit: ConsoleRequest, token: str) -> None:
    """Raise `NotFoundError`, as for an unknown path, unless the token is the one that ``dev`` printed."""
    expected = console_settings(visit.settings).dev_token
    known = expected.get_secret_value() if expected else ""
    is_known = bool(known) and hmac.compare_digest(token.encode(), known.encode())
    is_here = ip_address(visit.address).is_loopback and not any(name in request.headers for name in _FORWARDED)
    if not is_demo(visit.settings) or not is_known or not is_here:
        raise NotFoundError("There is nothing here.")
