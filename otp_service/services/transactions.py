"""Transactions as they come in with a request."""

from dataclasses import dataclass

from otp_service.domain.applications import Application
from otp_service.domain.payments import Transaction, canonical_transaction


@dataclass(frozen=True, slots=True)
class TransactionInput:
    """A transaction as a caller wrote it."""

    amount: str
    currency: str
    payee: str
    account: str | None = None
    reference: str | None = None


def transaction_of(application: Application, written: TransactionInput | None) -> Transaction | None:
    """Return the canonical transaction; raise `InvalidTransactionError`."""
    if written is None:
        return None
    return canonical_transaction(
        amount=written.amount,
        currency=written.currency,
        payee=written.payee,
        account=written.account,
        reference=written.reference,
        trusted_payees=application.payees,
    )
