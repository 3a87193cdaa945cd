"""An application's own quota in headers (IETF draft ratelimit-headers)."""

from flask import Response

from otp_service.core.quota import Quota

_NAME = '"application"'


def show_quota(response: Response, quota: Quota | None) -> None:
    """Add ``RateLimit-Policy`` and ``RateLimit`` to a response, when there is a quota to tell."""
    if quota is not None:
        response.headers["RateLimit-Policy"] = f"{_NAME};q={quota.amount};w={quota.seconds}"
        response.headers["RateLimit"] = f"{_NAME};r={quota.remaining};t={quota.reset}"
