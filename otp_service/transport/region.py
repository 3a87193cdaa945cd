"""The type of a setting that names a country."""

from typing import Annotated

from pydantic import AfterValidator

from otp_service.core.phone import is_region


def known_region(region: str) -> str:
    """Return a region that has a numbering plan; raise `ValueError` for any other."""
    if not is_region(region):
        raise ValueError("is not an ISO 3166-1 alpha-2 code with a numbering plan, such as PK")
    return region


Region = Annotated[str, AfterValidator(known_region)]
"""ISO 3166-1 alpha-2."""
