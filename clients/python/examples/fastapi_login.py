"""A login with FastAPI and the asynchronous client. Start it with `uvicorn fastapi_login:app`."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from otp_service_client import ApiError, AsyncOtpService, OtpError
from pydantic import BaseModel
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import JSONResponse

otp = AsyncOtpService(os.environ["OTP_URL"], os.environ["OTP_KEY"])


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the connections at the end."""
    async with otp:
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(SessionMiddleware, secret_key=os.environ["SECRET_KEY"])


class Phone(BaseModel):
    """What the first form sends."""

    phone: str


class Code(BaseModel):
    """What the second form sends."""

    code: str


@app.post("/start")
async def start(form: Phone, request: Request) -> dict[str, Any]:
    """Send a code, and keep its id and its number together in the session: take neither from the browser."""
    client_ip = request.client.host if request.client else None
    started = await otp.verifications.start(form.phone, client_ip=client_ip)
    request.session["started"] = {"id": started.id, "number": started.destination}
    return {"sent_to": started.to}


@app.post("/check")
async def check(form: Code, request: Request) -> dict[str, Any]:
    """Log in the number that the code went to, never one of this form: it may be another person's."""
    started = request.session.get("started")
    if started is None:
        raise HTTPException(400, "Please give your number first.")
    checked = await otp.verifications.check(started["id"], form.code)
    if not checked.valid:
        raise HTTPException(403, {"reason": checked.reason, "checks_left": checked.checks_left})
    request.session["account"] = request.session.pop("started")["number"]
    return {"welcome": request.session["account"]}


@app.exception_handler(OtpError)
async def say(_: Request, error: Exception) -> JSONResponse:
    """Tell the person what to do; `docs/integration.md` has the sentences for each code."""
    code = error.code if isinstance(error, ApiError) else "unreachable"
    return JSONResponse({"say": "We cannot send codes at the moment.", "code": code}, 503)
