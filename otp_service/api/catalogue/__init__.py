"""Every call of the API in words: what the specification says of it beyond its bodies. One module a section."""

from otp_service.api.catalogue import administration, development, gateways, operation, people, verifications
from otp_service.api.catalogue.call import Call, Schema, Success

__all__ = ["CALLS", "Call", "Schema", "Success"]

CALLS = (
    *verifications.CALLS,
    *people.CALLS,
    *development.CALLS,
    *gateways.CALLS,
    *administration.CALLS,
    *operation.CALLS,
)
