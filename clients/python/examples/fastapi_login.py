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
    """Send a code, and keep what it was for in the session: never take the id from the browser."""
    client_ip = request.client.host if request.client else None
    started = await otp.verifications.start(form.phone, client_ip=client_ip)
    request.session["started"] = {"id": started.id, "phone": form.phone}
    return {"sent_to": started.to}


@app.post("/check")
async def check(form: Code, request: Request) -> dict[str, Any]:
    """Let the person in when the code is right, and for nothing else."""
    started = request.session.get("started")
    if started is None:
        raise HTTPException(400, "Please give your number first.")
    checked = await otp.verifications.check(started["id"], form.code)
    if not checked.valid:
        raise HTTPException(403, {"reason": checked.reason, "checks_left": checked.checks_left})
    request.session["phone"] = request.session.pop("started")["phone"]
    return {"welcome": True}


@app.exception_handler(OtpError)
async def say(_: Request, error: Exception) -> JSONResponse:
    """Tell the person what to do; `docs/integration.md` has the sentences for each code."""
    code = error.code if isinstance(error, ApiError) else "unreachable"
    return JSONResponse({"say": "We cannot send codes at the moment.", "code": code}, 503)
