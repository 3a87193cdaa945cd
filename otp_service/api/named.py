"""The number that a caller's body names."""

from otp_service.api.current import exchange
from otp_service.api.people_schemas import NumberBody
from otp_service.domain.numbers import Named, destination_of, named
from otp_service.services.context import Context


def number_in(context: Context, body: NumberBody) -> Named:
    """Return the number with the names under which it is kept; raise `InvalidNumberError` or another."""
    return named(context.keyring, destination_of(exchange().application, body.to, body.region))
