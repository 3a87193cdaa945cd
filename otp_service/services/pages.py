"""Hosted pages: where a person types the code, and the one-time result that the application redeems."""

from dataclasses import dataclass, field

from otp_service.domain.applications import Application
from otp_service.domain.codes import is_code, unseal_details
from otp_service.domain.guard import ceil_seconds
from otp_service.domain.hosted_pages import PAGE, RESULT_LIFE, PageResult, may_return_to, with_result
from otp_service.domain.keyring import IdempotentRequest
from otp_service.domain.numbers import network_of
from otp_service.domain.verification import CheckFailure, Status, Verification
from otp_service.errors import (
    AlreadyRedeemedError,
    InvalidResultError,
    NotFoundError,
    RateLimitedError,
    ReturnUrlNotAllowedError,
)
from otp_service.services.context import Context
from otp_service.services.proofs import prove_verification
from otp_service.services.verifications import VerificationView, can_reach, check, require_bucket, resend, view_of

_GONE = "There is no such page, or its verification is over."


@dataclass(frozen=True, slots=True)
class Page:
    """The page of a verification, as it is at a time."""

    application: Application
    view: VerificationView
    return_url: str = field(repr=False)
    channels: tuple[str, ...]
    """By which a message can be asked for."""
    wait: int
    """Milliseconds until the next message may be asked for."""
    return_with_result: str | None = field(default=None, repr=False)
    """The way back from a verification that ended without an approval; an approval's is for who typed the code."""


@dataclass(frozen=True, slots=True)
class RedeemedResult:
    """What came of a page."""

    verification_id: str
    status: Status
    proof: str | None = field(repr=False)


def require_return_url(application: Application, return_url: str) -> None:
    """Raise `ReturnUrlNotAllowedError` unless people may be sent there from the application's pages."""
    if not may_return_to(return_url, application.page_return_urls):
        raise ReturnUrlNotAllowedError(
            "page.return_url without its query is none of the application's page_return_urls; or its query "
            "has a parameter result, encoded or not, or characters to encode."
        )


def page_url(context: Context, view: VerificationView) -> str | None:
    """Return the address of a verification's page; ``None`` where none was asked for."""
    if view.details.return_url is None:
        return None
    return f"{context.public_url}/p/{context.keyring.signed(PAGE, view.verification.id)}"


def count_request(context: Context, address: str | None, most: int) -> None:
    """Count a request for pages from an address, of ``most`` a minute; raise `RateLimitedError` for one too many.

    Where no address is known nothing is counted.
    """
    if address is None:
        return
    wait = context.store.verifications.count_page(context.keyring.network_pseudonym(network_of(address)), most)
    if wait:
        raise RateLimitedError("Too many requests for pages from this address.", ceil_seconds(wait))


def open_page(context: Context, token: str) -> Page:
    """Return a page by the end of its address; raise `NotFoundError` where none was asked for, or it is gone."""
    told = context.keyring.read_signed(PAGE, token)
    if told is None:
        raise NotFoundError(_GONE)
    verification_id = told[0]
    bucket = require_bucket(context.keyring, verification_id)
    now, found = context.store.verifications.read_at(bucket, verification_id)
    application = context.access_cache.get(found.application) if found else None
    if found is None or application is None:
        raise NotFoundError(_GONE)
    view = view_of(context, found)
    if view.details.return_url is None:
        raise NotFoundError(_GONE)
    is_over = found.status not in {Status.PENDING, Status.APPROVED}
    result = PageResult(verification_id, found.purpose.name, now, approved=False).sign(context.keyring)
    return Page(
        application,
        view,
        view.details.return_url,
        tuple(one for one in found.purpose.channels if can_reach(context, found, one)) if found.sends_left else (),
        max(0, (found.resend_after or 0) - now),
        with_result(view.details.return_url, result) if is_over else None,
    )


def submit_code(context: Context, page: Page, typed: str, attempt: str) -> str | CheckFailure:
    """Check what a person typed; return the way back with the result of an approval, or why there is none.

    ``attempt`` names the form that was sent: sent twice, it counts once and is answered the same. Raises
    `OtpServiceError` as `check` does.
    """
    verification, transaction = page.view.verification, page.view.details.transaction
    once = _once(context, page, attempt, typed)
    checked = check(context, page.application, verification.id, typed, transaction, once)
    if checked.reason is not None:
        return checked.reason
    if not is_code(context.keyring, verification, transaction, typed):
        return CheckFailure.WRONG_CODE  # somebody wrote to Redis: who repeats a form here may be he
    result = PageResult(verification.id, verification.purpose.name, checked.at, approved=True)
    return with_result(page.return_url, result.sign(context.keyring))


def ask_again(context: Context, page: Page, channel: str, attempt: str) -> None:
    """Queue a further message, once for each ``attempt``; raises `OtpServiceError` as `resend` does."""
    verification_id = page.view.verification.id
    resend(context, page.application, verification_id, channel, _once(context, page, attempt, channel))


def _once(context: Context, page: Page, attempt: str, *about: str) -> IdempotentRequest:
    parts = (page.application.name, page.view.verification.id, *about)
    return IdempotentRequest(
        context.keyring.fingerprint("page", attempt, *parts), context.keyring.fingerprint("page", *parts)
    )


def redeem_result(context: Context, application: Application, result: str) -> RedeemedResult:
    """Return what came of an application's page, the first time.

    Raises `InvalidResultError`, and `AlreadyRedeemedError` also when Redis has lost what it is about.
    """
    told = PageResult.read(context.keyring, result)
    if told is None:
        raise InvalidResultError(_NO_RESULT)
    bucket, until = require_bucket(context.keyring, told.verification_id), told.at + 1000 * RESULT_LIFE
    now, verification = context.store.verifications.read_at(bucket, told.verification_id)
    if now >= until or (verification is not None and not _is_of(verification, application, told)):
        raise InvalidResultError(_NO_RESULT)
    status = context.store.verifications.redeem_result(bucket, told.verification_id, application.name, until)
    if verification is None or status is None:
        raise AlreadyRedeemedError("The result was redeemed before, or its verification is not known any more.")
    if (status is Status.APPROVED) is not told.approved:
        raise InvalidResultError(_NO_RESULT)
    proof = None
    if application.proofs and told.approved:
        transaction = unseal_details(context.keyring, verification).transaction
        proof = prove_verification(context, verification, transaction, told.at)
    return RedeemedResult(verification.id, status, proof)


def _is_of(verification: Verification, application: Application, result: PageResult) -> bool:
    return (verification.application, verification.purpose.name) == (application.name, result.purpose)


_NO_RESULT = "This is no result of ours for this application, or it is too old."
