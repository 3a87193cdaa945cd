"""Which application an API key belongs to."""

from otp_service.core.application import Application
from otp_service.core.errors import UnauthenticatedError
from otp_service.core.keyring import api_key_hash
from otp_service.services.context import Context


def authenticate(context: Context, api_key: str) -> Application:
    """Return the application of an API key; raise `UnauthenticatedError`.

    The look-up is by the key's SHA-256: how long it takes depends on digests that nobody can choose, so it tells
    nothing of a key.
    """
    application = context.application_of_key.get(api_key_hash(api_key))
    if application is None:
        raise UnauthenticatedError("The API key is not known.")
    return application
