"""An answer of ours as WSGI's, for what is answered before Flask."""

from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus
from wsgiref.types import StartResponse

from otp_service.api.exchange import Answer, Exchange
from otp_service.api.observation import headers_of


def written(exchange: Exchange, answer: Answer, start_response: StartResponse) -> Iterable[bytes]:
    """Begin the answer with the headers that every answer has, and return its body."""
    own = {"Content-Type": answer.media_type, "Content-Length": str(len(answer.body))}
    start_response(_line(answer.status), list({**own, **headers_of(exchange), **answer.headers}.items()))
    return (answer.body,)


@lru_cache
def _line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase.upper()}"
