"""A login with Flask: the number, then the code. Start it with `flask --app flask_login run`."""

import os
from typing import Any

from flask import Flask, request, session
from otp_service_client import OtpError, OtpService, RateLimited

app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]
otp = OtpService(os.environ["OTP_URL"], os.environ["OTP_KEY"])


@app.post("/start")
def start() -> dict[str, Any]:
    """Send a code, and keep its id and its number together in the session: take neither from the browser."""
    phone = request.form["phone"]
    started = otp.verifications.start(phone, client_ip=request.remote_addr, idempotency_key=request.form.get("form_id"))
    session["started"] = {"id": started.id, "number": started.destination}
    return {"sent_to": started.to}


@app.post("/check")
def check() -> tuple[dict[str, Any], int]:
    """Log in the number that the code went to, never one of this form: it may be another person's."""
    started = session.get("started")
    if started is None:
        return {"say": "Please give your number first."}, 400
    checked = otp.verifications.check(started["id"], request.form["code"])
    if checked.valid:
        session["account"] = session.pop("started")["number"]
        return {"welcome": session["account"]}, 200
    return {"reason": checked.reason, "checks_left": checked.checks_left}, 403


@app.errorhandler(OtpError)
def say(error: OtpError) -> tuple[dict[str, Any], int]:
    """Tell the person what to do; `docs/integration.md` has the sentences for each code."""
    if isinstance(error, RateLimited):
        return {"say": "Too many attempts.", "retry_after": error.retry_after}, 429
    return {"say": "We cannot send codes at the moment.", "code": getattr(error, "code", "unreachable")}, 503
