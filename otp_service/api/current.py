"""The exchange of the request that Flask handles now."""

from flask import Flask, Response, g, request

from otp_service.api import errors
from otp_service.api.exchange import Answer, Exchange, headers_of, report
from otp_service.api.requests import refuse_query
from otp_service.api.schemas import NumberBody
from otp_service.domain.numbers import Named, destination_of, named
from otp_service.services.context import Context


def register(app: Flask) -> None:
    """Observe every request of an application, and answer its errors. To be registered before what may refuse one."""
    app.before_request(_begin)
    app.after_request(_finish)
    app.register_error_handler(Exception, lambda error: response(errors.answer_to(exchange(), error)))


def exchange() -> Exchange:
    """Return the request that is being answered."""
    found: Exchange = g.exchange
    return found


def no_query() -> None:
    """Refuse a query; a hook of resources whose calls have none."""
    refuse_query(exchange())


def response(answer: Answer) -> Response:
    """Return an answer as Flask's."""
    return Response(answer.body, answer.status, answer.headers, mimetype=answer.media_type)


def _begin() -> None:
    rule = request.url_rule
    g.exchange = Exchange(request.environ, rule.rule if rule else None, request.endpoint)


def _finish(answer: Response) -> Response:
    for name, value in headers_of(exchange()).items():
        answer.headers.setdefault(name, value)
    report(exchange(), answer.status_code)
    return answer


def number_in(context: Context, body: NumberBody) -> Named:
    """Return the number with the names under which it is kept; raise `InvalidNumberError` or another."""
    return named(context.keyring, destination_of(exchange().application, body.to, body.region))
