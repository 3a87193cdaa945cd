"""Hosted pages, where a person types the code, and the one-time result that the application redeems."""

from dataclasses import dataclass, field

from otp_service.domain.applications import Application
from otp_service.domain.codes import is_code, unseal_details
from otp_service.domain.guard import ceil_seconds
from otp_service.domain.hosted_pages import PAGE, RESULT_LIFE, PageResult, may_return_to, with_result
from otp_service.domain.keyring import IdempotentRequest
from otp_service.domain.numbers import ip_prefix_of
from otp_service.domain.verification import CheckFailure, Status
from otp_service.errors import (
    AlreadyRedeemedError,
    InvalidResultError,
    NotFoundError,
    RateLimitedError,
    ReturnUrlNotAllowedError,
)
from otp_service.services.context import Context
from otp_service.services.proofs import prove_verification
from otp_service.services.verifications import VerificationView, check, require_bucket, resend, view_of

_GONE = "There is no such page, or its verification is over."
_NO_RESULT = "The result is not one of this application, or it is too old."


@dataclass(frozen=True, slots=True)
class Page:
    """The page of a verification at a time."""

    application: Application
    view: VerificationView
    return_url: str = field(repr=False)
    channels: tuple[str, ...]
    """Channels by which a further message can be requested."""
    wait: int
    """Milliseconds until the next message may be requested."""
    return_with_result: str | None = field(default=None, repr=False)
    """The return URL of a verification that ended without an approval. An approval's goes only with the right code."""


@dataclass(frozen=True, slots=True)
class RedeemedResult:
    """The result of a page."""

    verification_id: str
    status: Status
    proof: str | None = field(repr=False)


def require_return_url(application: Application, return_url: str) -> None:
    """Raise `ReturnUrlNotAllowedError` unless the application's pages may return to the address."""
    if not may_return_to(return_url, application.page_return_urls):
        raise ReturnUrlNotAllowedError(
            "page.return_url without its query is none of the application's page_return_urls; or its query "
            "has a parameter result, encoded or not, or characters to encode."
        )


def page_url(context: Context, view: VerificationView) -> str | None:
    """Return the address of a verification's page; ``None`` without one."""
    if view.details.return_url is None:
        return None
    return f"{context.public_url}/p/{context.keyring.signed(PAGE, view.verification.id)}"


def count_request(context: Context, address: str | None, max_requests: int) -> None:
    """Count a request for pages; raise `RateLimitedError` above ``max_requests`` a minute from an address."""
    if address is None:
        return
    network = context.keyring.network_pseudonym(ip_prefix_of(address))
    wait = context.store.verifications.count_page(network, max_requests)
    if wait:
        raise RateLimitedError("Too many requests for pages from this address.", ceil_seconds(wait))


def open_page(context: Context, token: str) -> Page:
    """Return a page by the token of its address; raises `NotFoundError`."""
    signed = context.keyring.read_signed(PAGE, token)
    if signed is None:
        raise NotFoundError(_GONE)
    verification_id = signed[0]
    bucket = require_bucket(context.keyring, verification_id)
    now, verification = context.store.verifications.read_at(bucket, verification_id)
    application = context.access_cache.get(verification.application) if verification else None
    if verification is None or application is None:
        raise NotFoundError(_GONE)
    view = view_of(context, verification)
    if view.details.return_url is None:
        raise NotFoundError(_GONE)
    is_over = verification.status not in {Status.PENDING, Status.APPROVED}
    purpose, gateways_for = verification.purpose, context.routes.gateways_for
    result = PageResult(verification_id, purpose.name, now, approved=False).sign(context.keyring)
    channels = purpose.channels if verification.sends_left else ()
    return Page(
        application,
        view,
        view.details.return_url,
        tuple(channel for channel in channels if gateways_for(verification.country, purpose.name, channel)),
        max(0, (verification.resend_after or 0) - now),
        with_result(view.details.return_url, result) if is_over else None,
    )


def submit_code(context: Context, page: Page, typed: str, attempt: str) -> str | CheckFailure:
    """Check a typed code, once for each ``attempt``; return the return URL of an approval, or the failure's reason."""
    verification, transaction = page.view.verification, page.view.details.transaction
    once = _once(context, page, attempt, typed)
    checked = check(context, page.application, verification.id, typed, transaction, once)
    if checked.reason is not None:
        return checked.reason
    if not is_code(context.keyring, verification, transaction, typed):
        return CheckFailure.WRONG_CODE  # Redis was written to from outside, maybe by the sender of this form
    result = PageResult(verification.id, verification.purpose.name, checked.at, approved=True)
    return with_result(page.return_url, result.sign(context.keyring))


def ask_again(context: Context, page: Page, channel: str, attempt: str) -> None:
    """Queue a further message, once for each ``attempt``; raises as `resend` does."""
    verification_id = page.view.verification.id
    resend(context, page.application, verification_id, channel, _once(context, page, attempt, channel))


def _once(context: Context, page: Page, attempt: str, content: str) -> IdempotentRequest:
    parts = (page.application.name, page.view.verification.id, content)
    return IdempotentRequest(
        context.keyring.fingerprint("page", attempt, *parts), context.keyring.fingerprint("page", *parts)
    )


def redeem_result(context: Context, application: Application, result: str) -> RedeemedResult:
    """Return the result of an application's page; raises `InvalidResultError` and `AlreadyRedeemedError`."""
    signed = PageResult.read(context.keyring, result)
    if signed is None:
        raise InvalidResultError(_NO_RESULT)
    bucket, until = require_bucket(context.keyring, signed.verification_id), signed.at + 1000 * RESULT_LIFE
    now, verification = context.store.verifications.read_at(bucket, signed.verification_id)
    expected = (application.name, signed.purpose)
    if now >= until or (verification and (verification.application, verification.purpose.name) != expected):
        raise InvalidResultError(_NO_RESULT)
    status = context.store.verifications.redeem_result(bucket, signed.verification_id, application.name, until)
    if verification is None or status is None:
        raise AlreadyRedeemedError("The result was redeemed before, or its verification is not known any more.")
    if (status is Status.APPROVED) is not signed.approved:
        raise InvalidResultError(_NO_RESULT)
    proof = None
    if application.proofs and signed.approved:
        transaction = unseal_details(context.keyring, verification).transaction
        proof = prove_verification(context, verification, transaction, signed.at)
    return RedeemedResult(verification.id, status, proof)
