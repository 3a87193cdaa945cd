"""Gateway ``sns``: SMS through Amazon SNS."""

import logging
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, ClassVar, Self

import requests
from boto3.session import Session
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import BotoCoreError, CredentialRetrievalError, HTTPClientError, ParamValidationError
from botocore.loaders import create_loader
from botocore.parsers import ResponseParserError
from botocore.session import Session as CoreSession
from pydantic import Field, SecretStr, model_validator

from otp_service.domain.messages import Message
from otp_service.gateways.base import Accepted, FailureKind, GatewayContext, GatewayError, GatewaySettings
from otp_service.gateways.http_client import ApiUrl, GatewayClient, HttpResponse, failure_of_status, reference_of


class SnsSettings(GatewaySettings):
    """An AWS account, its region, and its senders."""

    region: str = Field(pattern=r"^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$")
    access_key_id: str | None = Field(default=None, min_length=1)
    """Default: the SDK's own chain of environment, profile, and role of the container or host."""
    secret_access_key: SecretStr | None = Field(default=None, min_length=1)
    sender_id: str | None = Field(default=None, max_length=11, pattern=r"^[A-Za-z0-9-]*[A-Za-z][A-Za-z0-9-]*$")
    origination_number: str | None = Field(default=None, pattern=r"^\+?[0-9]{3,15}$")
    entity_id: str | None = Field(default=None, pattern=r"^[0-9]{1,50}$")
    """Id of the sender at the Indian regulator."""
    template_id: str | None = Field(default=None, pattern=r"^[0-9]{1,50}$")
    """Id of the text at the Indian regulator."""
    max_price: Decimal | None = Field(default=None, gt=0, le=10)
    """Maximum US dollars for a message; SNS drops a dearer message."""
    base_url: ApiUrl | None = None
    """Default: the region's URL."""

    @property
    def sets_sender(self) -> bool:
        return self.origination_number is None

    @property
    def endpoint(self) -> str | None:
        china = ".cn" if self.region.startswith("cn-") else ""
        return None if self.base_url else f"https://sns.{self.region}.amazonaws.com{china}"

    @model_validator(mode="after")
    def _has_both_keys(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("needs both access_key_id and secret_access_key, or neither")
        return self

    def message_attributes(self, sender: str | None) -> dict[str, dict[str, str]]:
        price = None if self.max_price is None else f"{self.max_price:f}"
        values = {
            "AWS.SNS.SMS.SMSType": ("String", "Transactional"),
            "AWS.SNS.SMS.SenderID": ("String", sender or self.sender_id),
            "AWS.SNS.SMS.MaxPrice": ("Number", price),
            "AWS.MM.SMS.OriginationNumber": ("String", self.origination_number),
            "AWS.MM.SMS.EntityId": ("String", self.entity_id),
            "AWS.MM.SMS.TemplateId": ("String", self.template_id),
        }
        return {name: {"DataType": kind, "StringValue": value} for name, (kind, value) in values.items() if value}


# Source: "Publish" of the SNS API reference and "Publishing SMS messages to a mobile phone" of its developer guide
# (https://docs.aws.amazon.com/sns/latest). SNS has no receipts: it reports on SMS to CloudWatch only.

FAILURES = {  # without the ending "Exception" that some have
    "AuthorizationError": FailureKind.ACCOUNT,  # this identity may not publish
    "ExpiredToken": FailureKind.ACCOUNT,
    "IncompleteSignature": FailureKind.ACCOUNT,
    "InternalError": FailureKind.ERROR,
    "InternalFailure": FailureKind.ERROR,
    "NotAuthorized": FailureKind.ACCOUNT,
    "OptInRequired": FailureKind.ACCOUNT,  # not subscribed to the service, or the bill is open
    "OptedOut": FailureKind.DESTINATION,  # the number opted out
    "RequestExpired": FailureKind.ACCOUNT,  # our clock is wrong
    "RequestLimitExceeded": FailureKind.THROTTLED,
    "ServiceUnavailable": FailureKind.UNAVAILABLE,
    "Throttled": FailureKind.THROTTLED,
    "Throttling": FailureKind.THROTTLED,
    "TooManyRequests": FailureKind.THROTTLED,
    "UnrecognizedClient": FailureKind.ACCOUNT,
}
_CODE = re.compile(r"<Code>([A-Za-z]{1,50})</Code>")
_NUMBER_MESSAGE = re.compile(r"<Message>[^<]*(?:[Pp]hone ?[Nn]umber|opted out)[^<]*</Message>")
_CONFIG: dict[str, Any] = {
    "retries": {"mode": "standard", "total_max_attempts": 1},
    "ignore_configured_endpoint_urls": True,  # the environment's URL would win over the region's
}
_DESCRIPTIONS: Any = create_loader()
"""The SDK's files about AWS, read once for all gateways."""
_calls = threading.local()


class SnsGateway:
    """Publishes each SMS once: the SDK makes and signs requests and reads answers, `GatewayClient` carries them."""

    kind: ClassVar[str] = "sns"
    channels = frozenset({"sms"})
    development_only: ClassVar[bool] = False
    Settings: ClassVar[type[GatewaySettings]] = SnsSettings

    def __init__(self, settings: SnsSettings, context: GatewayContext) -> None:  # noqa: ARG002 - the contract's
        self._settings = settings
        self._http_client = GatewayClient(settings.timeout)
        secret = settings.secret_access_key
        core = CoreSession()
        core.register_component("data_loader", _DESCRIPTIONS)
        session = Session(
            aws_access_key_id=settings.access_key_id,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            region_name=settings.region,
            botocore_session=core,
        )
        self._client: Any = session.client("sns", endpoint_url=settings.base_url, config=Config(**_CONFIG))
        self._client.meta.events.register("before-send.sns.Publish", self._exchange)

    def send(self, message: Message) -> Accepted:
        with _silenced_sdk():
            outcome = self._publish(message)
        if isinstance(outcome, GatewayError):
            raise outcome  # outside the handlers: the SDK's errors repeat the answer of AWS
        return Accepted(reference_of(outcome, message))

    def _publish(self, message: Message) -> object:
        try:
            published = self._client.publish(
                PhoneNumber=message.to,
                Message=message.text,
                MessageAttributes=self._settings.message_attributes(message.sender),
            )
            return published["MessageId"]
        except GatewayError as failure:
            return failure
        except (ResponseParserError, LookupError):
            return GatewayError(FailureKind.UNAVAILABLE, "malformed answer", ambiguous=True)
        except (CredentialRetrievalError, HTTPClientError) as failure:  # from the source of credentials
            return GatewayError(FailureKind.UNAVAILABLE, type(failure).__name__)
        except BotoCoreError as failure:  # an invalid parameter, or else our credentials or settings
            kind = FailureKind.REJECTED if isinstance(failure, ParamValidationError) else FailureKind.ACCOUNT
            return GatewayError(kind, type(failure).__name__)

    def _exchange(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """Make the SDK's call; its own transport has no deadline and does not show whether anything was sent."""
        answer = self._http_client.call(
            requests.Request(request.method, request.url, headers=dict(request.headers), data=request.body)
        )
        if not answer.is_success:
            raise _failure(answer)
        headers: Any = answer.headers
        return AWSResponse(request.url, answer.status, headers, _Body(answer.text))


class _Body:
    def __init__(self, text: str) -> None:
        self._text = text

    def stream(self) -> Iterator[bytes]:
        yield self._text.encode()


def _failure(answer: HttpResponse) -> GatewayError:
    match, retry_after = _CODE.search(answer.text), answer.retry_after
    if match is None:
        return failure_of_status(answer.status, retry_after=retry_after)
    code = match[1].removesuffix("Exception")
    if code.startswith("InvalidParameter") and _NUMBER_MESSAGE.search(answer.text):
        return GatewayError(FailureKind.DESTINATION, code)
    if code in FAILURES:
        return GatewayError(FAILURES[code], code, retry_after=retry_after)
    return failure_of_status(answer.status, code, retry_after=retry_after)


@contextmanager
def _silenced_sdk() -> Iterator[None]:
    """Silence the SDK's loggers for the call of this thread: at DEBUG they log whole requests."""
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if name.startswith(("boto3", "botocore")) and isinstance(logger, logging.Logger):
            logger.addFilter(_between_calls)  # a second time does nothing
    _calls.under_way = True
    try:
        yield
    finally:
        _calls.under_way = False


def _between_calls(_: logging.LogRecord) -> bool:
    return not getattr(_calls, "under_way", False)
