"""A shop's login and a bank's payment with client tokens: the back end's half of docs/browser.md.

To read, and to try on your own machine. What both would have besides (accounts, HTTPS, a server) is left out.
"""

import os
import secrets
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from flask import Flask, Response, current_app, redirect, render_template, request, session
from flask.typing import ResponseReturnValue

ALLOWED = ["read", "check", "resend"]
TO_THE_PAGE = ("id", "client_token", "to", "transaction")
PAYMENT = {"amount": "1500.00", "currency": "PKR", "payee": "Lahore Books"}
CUSTOMER = "+923001234567"
"""The number that the bank has in its books."""
SITES = {
    "shop": {"brand": "Acme Shop", "purpose": "login"},
    "bank": {"brand": "Acme Bank", "purpose": "payment", "payment": PAYMENT},
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {service}; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)


class Service:
    """The service, as a back end calls it."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self._key = key

    def start(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Start a verification; return the status and the answer."""
        return self._call("POST", "/v1/verifications", body)

    def read(self, verification_id: str) -> dict[str, Any]:
        """Return a verification, or what is wrong."""
        return self._call("GET", f"/v1/verifications/{verification_id}")[1]

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self._key}"}
        if body is not None:
            headers["Idempotency-Key"] = str(uuid.uuid4())  # the same for each try: one message
        for _ in range(3):
            try:
                answer = requests.request(method, self.url + path, json=body, headers=headers, timeout=(1, 4))
                if answer.status_code < 500:  # noqa: PLR2004 - HTTP's own
                    return answer.status_code, answer.json()
            except requests.RequestException:
                pass  # perhaps done, perhaps not: the next try finds out
        return 503, {"code": "unreachable"}


class Sites:
    """The views of both sites; ``origin`` is theirs, one of the application's ``browser_origins``."""

    def __init__(self, service: Service, origin: str) -> None:
        self._service = service
        self._origin = origin
        self._started: dict[str, tuple[str, Any]] = {}
        """By verification: purpose and payment. That, once, is all that its approval lets happen."""
        self._done: dict[str, str] = {}
        """By verification that let it happen: whose number."""

    def page(self, site: str) -> ResponseReturnValue:
        """Show where the person is."""
        done = self._done.get(session.get(site, ""))
        return render_template("page.html", site=site, done=done, service=self._service.url, **SITES[site])

    def start(self, site: str) -> ResponseReturnValue:
        """Start a verification; tell the page what it needs of it."""
        typed = request.get_json()  # no other type passes: forms of other sites cannot send it
        body = {
            "to": typed.get("to") if site == "shop" else CUSTOMER,
            "client_ip": request.remote_addr,
            "purpose": SITES[site]["purpose"],
            "client_token": {"allow": ALLOWED, "origin": self._origin},
            **({"transaction": PAYMENT} if site == "bank" else {}),
        }
        status, answer = self._service.start(body)
        if "id" not in answer:
            current_app.logger.warning("refused: %s %s %s", status, answer.get("detail"), answer.get("decision"))
            return answer, status
        session[site] = answer["id"]
        self._started[answer["id"]] = (answer["purpose"], answer["transaction"])
        return {name: answer[name] for name in TO_THE_PAGE}

    def done(self, site: str) -> ResponseReturnValue:
        """Log in or pay, where the service says so: the page's word is no proof, and its id could be another's."""
        request.get_json()
        verification_id = session.get(site, "")
        if verification_id in self._done:
            return {}  # asked again: the answer was lost
        expected = self._started.get(verification_id)
        told = self._service.read(verification_id) if expected else {}
        if told.get("status") != "approved" or (told["purpose"], told["transaction"]) != expected:
            return {"code": "not-approved"}, 403
        if self._started.pop(verification_id, None):  # of two requests at once, one
            self._done[verification_id] = told["to"]  # here a bank pays
        return {}

    def leave(self, site: str) -> ResponseReturnValue:
        """Forget the person."""
        self._done.pop(session.pop(site, ""), None)
        return redirect(f"/{site}", 303)


def create_app(service: Service, origin: str) -> Flask:
    """Return both sites as one program."""
    app = Flask(__name__)
    app.secret_key = secrets.token_bytes(32)
    app.config |= {"SESSION_COOKIE_NAME": "example", "SESSION_COOKIE_SAMESITE": "Strict"}  # with HTTPS also _SECURE

    @app.after_request
    def close(answer: Response) -> Response:
        answer.headers["Content-Security-Policy"] = POLICY.format(service=service.url)
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["X-Content-Type-Options"] = "nosniff"
        answer.headers["Cache-Control"] = "no-store"
        return answer

    sites = Sites(service, origin)
    app.add_url_rule("/", view_func=lambda: redirect("/shop"), endpoint="home")
    app.add_url_rule("/<any(shop, bank):site>", view_func=sites.page)
    for view in (sites.start, sites.done, sites.leave):
        app.add_url_rule(f"/<any(shop, bank):site>/{view.__name__}", view_func=view, methods=["POST"])
    return app


def main() -> None:
    """Serve both sites, with what the environment says."""
    origin = os.environ.get("ORIGIN", "http://localhost:5000")
    key = os.environ.get("OTP_KEY") or Path(".otp-service/api-key").read_text(encoding="utf-8").strip()
    service = Service(os.environ.get("OTP_URL", "http://127.0.0.1:8080"), key)
    create_app(service, origin).run(port=urlsplit(origin).port)


if __name__ == "__main__":
    main()
