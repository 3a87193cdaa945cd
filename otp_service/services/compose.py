"""Compose a message: open the number and the details, derive the code, render the text."""

from otp_service.domain.keyring import Keyring
from otp_service.domain.templates import Message, Wording, minutes_told, write
from otp_service.domain.verification import Channel, Verification
from otp_service.gateways.base import AddressesReceipts, ReportsReceipts
from otp_service.services.clearance import today
from otp_service.services.codes import derive_code
from otp_service.services.context import Context
from otp_service.services.record_receipts import receipt_url
from otp_service.services.start import DESTINATION
from otp_service.services.view import transaction_in
from otp_service.store.outbox import Dispatched, Job


def compose(context: Context, job: Job, dispatched: Dispatched) -> Message:
    """Return the message of a dispatch.

    Raises `SealBrokenError` when its root key is gone from the configuration, and `MessageNotClearedError` when the
    rules of the country do not let it go out.
    """
    verification, keyring = dispatched.verification, context.keyring
    application = context.applications[verification.application]
    transaction = transaction_in(keyring, verification)
    digest = keyring.transaction_digest(verification.id, transaction)
    remaining = max(1, (verification.expires - dispatched.now) // 1000)
    wording = Wording(
        application=application,
        purpose=verification.purpose,
        channel=Channel(job.channel),
        locale=verification.locale,
        code=derive_code(keyring, verification, job.generation, digest),
        minutes=minutes_told(remaining),
        transaction=transaction,
        languages=context.clearance.rules_of(verification.country).languages,
    )
    words = write(context.catalogue, wording)
    sender = context.clearance.clear(
        verification.country, job.channel, application.name, words.template, today(), dispatched.gateway
    )
    return Message(
        to=destination_of(keyring, verification),
        text=words.text,
        channel=job.channel,
        locale=words.locale,
        expires_in=remaining,
        dispatch_id=dispatched.dispatch_id,
        receipt_url=_receipt_url(context, dispatched),
        verification_id=verification.id,
        application=application.name,
        variables=words.variables,
        sender=sender,
        template=words.template,
    )


def destination_of(keyring: Keyring, verification: Verification) -> str:
    """Return a number in the clear (E.164); raise `SealBrokenError` when its root key is gone."""
    number = keyring.unseal(
        verification.sealed_destination,
        verification_id=verification.id,
        application=verification.application,
        kind=DESTINATION,
    )
    return number.decode().rstrip()


def _receipt_url(context: Context, dispatched: Dispatched) -> str | None:
    gateway = context.gateways[dispatched.gateway]
    if context.public_url is None or not isinstance(gateway, ReportsReceipts):
        return None
    url = receipt_url(context.public_url, dispatched.gateway, dispatched.dispatch_id)
    return gateway.receipt_address(url, dispatched.dispatch_id) if isinstance(gateway, AddressesReceipts) else url
