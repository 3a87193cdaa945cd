"""One application's view of an installation, for tests that speak to the use cases."""

from typing import Any

from support_installation import NUMBER

from otp_service.bootstrap import Installation
from otp_service.domain.codes import derive_code
from otp_service.domain.keyring import IdempotentRequest, idempotent_request
from otp_service.domain.numbers import destination_of
from otp_service.domain.payments import Transaction
from otp_service.services.start import StartRequest, start
from otp_service.services.verifications import VerificationView, cancel, check, read, resend

PAYMENT = Transaction("1500", "PKR", "Daraz")


class Caller:
    """An application of an installation."""

    def __init__(self, installation: Installation, name: str = "shop") -> None:
        self.context = installation.context
        self.application = self.context.applications[name]

    def retry(self, key: str, operation: str, *body: Any) -> IdempotentRequest:
        return idempotent_request(self.context.keyring, self.application.name, operation, key.replace(" ", "-"), body)

    def send(self, to: str = NUMBER, retry: IdempotentRequest | None = None, **members: Any) -> VerificationView:
        return start(self.context, self.application, StartRequest(to=to, **members), retry)

    def start(self, to: str = NUMBER, retry: IdempotentRequest | None = None, **members: Any) -> str:
        return self.send(to, retry, **members).verification.id

    def resend(self, one: str, retry: IdempotentRequest | None = None, channel: str | None = None) -> VerificationView:
        return resend(self.context, self.application, one, channel, retry)

    def cancel(self, one: str, retry: IdempotentRequest | None = None) -> VerificationView:
        return cancel(self.context, self.application, one, retry)

    def read(self, one: str) -> VerificationView:
        return read(self.context, self.application, one)

    def check(
        self,
        one: str,
        code: str,
        transaction: Transaction | None = None,
        retry: IdempotentRequest | None = None,
        to: str | None = None,
    ) -> tuple[str, bool, int, str | None]:
        number = destination_of(self.application, to, None).e164 if to else None
        pseudonym = self.context.keyring.pseudonym(number) if number else ""
        result = check(self.context, self.application, one, code, transaction, retry, pseudonym=pseudonym)
        return (result.status, result.valid, result.checks_left, result.reason)

    def code(self, one: str, generation: int | None = None) -> str:
        """Return the code that the last message carries, or that of another generation."""
        view = self.read(one)
        digest = self.context.keyring.transaction_digest(one, view.details.transaction)
        wanted = view.verification.generation if generation is None else generation
        return derive_code(self.context.keyring, view.verification, wanted, digest)

    def wrong(self, one: str) -> str:
        return wrong_code(self.code(one))


def wrong_code(code: str) -> str:
    """Return a code that is not this one, and as long."""
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"
