"""An application's own quota in headers (IETF draft ratelimit-headers)."""

from otp_service.api.exchange import Answer
from otp_service.errors import Quota

_NAME = '"application"'


def show_quota(answer: Answer, quota: Quota | None) -> None:
    """Add ``RateLimit-Policy`` and ``RateLimit`` to an answer, when there is a quota to tell."""
    if quota is not None:
        answer.headers["RateLimit-Policy"] = f"{_NAME};q={quota.amount};w={quota.seconds}"
        answer.headers["RateLimit"] = f"{_NAME};r={quota.remaining};t={quota.reset}"
