"""Twilio Verify's errors (https://www.twilio.com/docs/api/errors) for the problems of this API."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any, Final

from otp_service.api.errors import PROBLEM_KINDS
from otp_service.api.routes import Answer
from otp_service.errors import Fault


@dataclass(frozen=True, slots=True)
class TwilioError:
    """An error of Twilio Verify."""

    code: int
    status: int
    """Of HTTP."""
    message: str

    def answer(self) -> Answer:
        """Return the error as Twilio's libraries read it; members of RFC 9457 would raise another class of errors."""
        more = f"https://www.twilio.com/docs/errors/{self.code}"
        body = {"code": self.code, "message": self.message, "more_info": more, "status": self.status}
        return Answer(json.dumps(body).encode(), self.status)


OWN_MEMBERS: Final[Mapping[str, Mapping[str, Any]]] = tomllib.loads(
    resources.files(__package__).joinpath("errors.toml").read_text(encoding="utf-8")
)
"""By the code of a problem, the members of its `TwilioError` that differ from the default."""


def error_for(code: str, faults: tuple[Fault, ...] = ()) -> TwilioError:
    """Return the error for a problem; its message ends with the names of the parameters at fault."""
    kind = PROBLEM_KINDS[code]
    default = {"code": 20_000 + kind.status, "status": kind.status, "message": kind.title}
    error = TwilioError(**{**default, **OWN_MEMBERS.get(code, {})})
    names = ", ".join(fault.pointer.removeprefix("/") for fault in faults)
    return replace(error, message=f"{error.message}: {names}") if names else error
