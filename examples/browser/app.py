"""A shop's login and a bank's payment with client tokens: the back end's half of docs/browser.md. And a handset.

To read, and to try with `make demo`. What both sites would have besides (accounts, HTTPS, a server) is left out.
"""

import hashlib
import json
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, redirect, render_template, request, session
from flask.typing import ResponseReturnValue
from otp_service_client import ApiError, OtpError, OtpService
from otp_service_client.inputs import ClientToken, Consent, Transaction

URDU: dict[str, str] = json.loads(Path(__file__).with_name("urdu.json").read_text(encoding="utf-8"))
PAYMENT = Transaction(amount="1500.00", currency="PKR", payee="Lahore Books")
CUSTOMER = "+923001234567"
"""The number that the bank has in its books, with its consent."""
CONSENT = "I agree to get codes by text message or call."
SITES = {
    "shop": {"brand": "Acme Shop", "purpose": "login", "consent": CONSENT, "voice": True},
    "bank": {"brand": "Acme Bank", "purpose": "payment", "payment": PAYMENT},
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {service}; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)


class Started(NamedTuple):
    """What a verification was started for. That, once, is all that its approval lets happen."""

    purpose: str
    payment: Transaction | None
    number: str
    """In E.164, the same for every spelling."""


class Sites:
    """The views of both sites; ``origin`` is theirs, one of the application's ``browser_origins``."""

    def __init__(self, otp: OtpService, origin: str) -> None:
        self._otp = otp
        self._origin = origin
        self._started: dict[str, Started] = {}
        """By verification."""
        self._done: dict[str, str] = {}
        """By verification that let it happen: the number's mask."""
        self.accounts: dict[str, list[str]] = {}
        """By number: the sites that it logged in to or paid at. Here each would have its accounts."""

    def page(self, site: str) -> ResponseReturnValue:
        """Show where the person is."""
        done = self._done.get(session.get(site, ""))
        return render_template("page.html", site=site, done=done, **SITES[site])

    def start(self, site: str) -> ResponseReturnValue:
        """Start a verification; tell the page what it needs of it."""
        typed = request.get_json()  # no other type passes: forms of other sites cannot send it
        is_shop = site == "shop"
        started = self._otp.verifications.start(
            str(typed.get("to")) if is_shop else CUSTOMER,
            client_ip=request.remote_addr,
            purpose=SITES[site]["purpose"],
            locale=language(),
            transaction=None if is_shop else PAYMENT,
            consent=agreed() if is_shop and typed.get("consent") else None,
            client_token=ClientToken(allow=["read", "check", "resend"], origin=self._origin),
        )
        session[site] = started.id
        self._started[started.id] = Started(started.purpose, started.transaction, started.destination)
        return {name: getattr(started, name) for name in ("id", "client_token", "to", "transaction")}

    def done(self, site: str) -> ResponseReturnValue:
        """Log in or pay, where the service says so: of the page's word, id and number any could be another's."""
        request.get_json()
        verification_id = session.get(site, "")
        if verification_id in self._done:
            return {}  # asked again: the answer was lost
        expected = self._started.get(verification_id)
        told = self._otp.verifications.get(verification_id) if expected else None
        if told is None or told.status != "approved" or (told.purpose, told.transaction) != expected[:2]:
            return {"code": "not-approved"}, 403
        if self._started.pop(verification_id, None):  # of two requests at once, one
            self._done[verification_id] = told.to
            self.accounts.setdefault(expected.number, []).append(site)  # here a shop logs in, and a bank pays
        return {}

    def leave(self, site: str) -> ResponseReturnValue:
        """Forget the person."""
        self._done.pop(session.pop(site, ""), None)
        return redirect(f"/{site}", 303)

    def handset(self) -> ResponseReturnValue:
        """Show what phones would: all codes. For development alone; in production the service catches no messages."""
        return render_template("handset.html", messages=self._otp.sandbox.messages()[::-1])


def agreed() -> Consent:
    """Return what shows that the person agreed, to which words, here and now."""
    shown = URDU[CONSENT] if language() == "ur" else CONSENT
    return Consent(
        text_version="2026-11",
        text_sha256=hashlib.sha256(shown.encode()).hexdigest(),
        locale=language(),
        channel="web",
        given_at=datetime.now(UTC),
        source="login page",
    )


def language() -> str:
    """Return the language that the person chose, of pages and messages."""
    return str(session.get("language", "en"))


def choose_language() -> None:
    """Remember the language that an address names."""
    if request.args.get("language") in {"en", "ur"}:
        session["language"] = request.args["language"]


def refuse(error: OtpError) -> ResponseReturnValue:
    """Tell the page the service's code, and the log which rule refused."""
    told = error if isinstance(error, ApiError) else ApiError(503, {"code": "unreachable"})
    current_app.logger.warning("refused: %s, decision %s", error, told.decision)
    return {"code": told.code, "retry_after": told.retry_after}, told.status


def create_app(service: str, key: str, origin: str) -> Flask:
    """Return both sites and the handset as one program; ``service`` is the service's address, ``key`` an API key."""
    app = Flask(__name__)
    app.secret_key = secrets.token_bytes(32)
    app.config |= {"SESSION_COOKIE_NAME": "example", "SESSION_COOKIE_SAMESITE": "Strict"}  # with HTTPS also _SECURE
    app.config["TRUSTED_HOSTS"] = [urlsplit(origin).hostname]  # no other name may lead a browser to the codes

    @app.after_request
    def close(answer: Response) -> Response:
        answer.headers["Content-Security-Policy"] = POLICY.format(service=service)
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @app.context_processor
    def words() -> dict[str, object]:
        urdu = URDU if language() == "ur" else {}
        return {"_": lambda text: urdu.get(text, text), "urdu": urdu, "language": language(), "service": service}

    sites = Sites(OtpService(service, key), origin)
    app.before_request(choose_language)
    app.register_error_handler(OtpError, refuse)
    app.add_url_rule("/", view_func=lambda: redirect("/shop"), endpoint="home")
    app.add_url_rule("/handset", view_func=sites.handset)
    app.add_url_rule("/<any(shop, bank):site>", view_func=sites.page)
    for view in (sites.start, sites.done, sites.leave):
        app.add_url_rule(f"/<any(shop, bank):site>/{view.__name__}", view_func=view, methods=["POST"])
    return app
