"""The type of a setting that names a country."""

from typing import Annotated

from pydantic import AfterValidator

from otp_service.domain.numbers import is_region


def known_country(code: str) -> str:
    """Return the code of a country that has a numbering plan; raise `ValueError` for anything else."""
    if not is_region(code):
        raise ValueError("is not an ISO 3166-1 alpha-2 code with a numbering plan, such as PK")
    return code


CountryCode = Annotated[str, AfterValidator(known_country)]
"""ISO 3166-1 alpha-2, of a country that has a numbering plan."""
