"""The gateway of Amazon SNS."""

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
    """An account, its region, and what India and senders need."""

    region: str = Field(pattern=r"^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$")
    access_key_id: str | None = Field(default=None, min_length=1)
    """Without keys here, those of the SDK's default chain: environment, profile, role of the container or host."""
    secret_access_key: SecretStr | None = Field(default=None, min_length=1)
    sender_id: str | None = Field(default=None, max_length=11, pattern=r"^[A-Za-z0-9-]*[A-Za-z][A-Za-z0-9-]*$")
    origination_number: str | None = Field(default=None, pattern=r"^\+?[0-9]{3,15}$")
    entity_id: str | None = Field(default=None, pattern=r"^[0-9]{1,50}$")
    """Of the sender at the Indian regulator."""
    template_id: str | None = Field(default=None, pattern=r"^[0-9]{1,50}$")
    """Of the text at the Indian regulator."""
    max_price: Decimal | None = Field(default=None, gt=0, le=10)
    """US dollars for one message: SNS drops a dearer one."""
    base_url: ApiUrl | None = None
    """Default: the region's own."""

    @property
    def sets_sender(self) -> bool:
        """Whether no number of the account is who messages come from."""
        return self.origination_number is None

    @property
    def endpoint(self) -> str | None:
        """The region's own, unless ``base_url`` is another."""
        of_china = ".cn" if self.region.startswith("cn-") else ""
        return None if self.base_url else f"https://sns.{self.region}.amazonaws.com{of_china}"

    @model_validator(mode="after")
    def _has_both_keys(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("needs both access_key_id and secret_access_key, or neither")
        return self

    def message_attributes(self, sender: str | None) -> dict[str, dict[str, str]]:
        """Return what is said of a message beside its text, as the API wants it; it may have a sender of its own."""
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


# After "Publish" of the SNS API reference and "Publishing SMS messages to a mobile phone" of its developer guide
# (https://docs.aws.amazon.com/sns/latest). There are no receipts: SNS reports on SMS to CloudWatch only.

FAILURES = {  # without "Exception", which some end with
    "AuthorizationError": FailureKind.ACCOUNT,  # this identity may not publish
    "ExpiredToken": FailureKind.ACCOUNT,
    "IncompleteSignature": FailureKind.ACCOUNT,
    "InternalError": FailureKind.ERROR,
    "InternalFailure": FailureKind.ERROR,
    "NotAuthorized": FailureKind.ACCOUNT,
    "OptInRequired": FailureKind.ACCOUNT,  # not subscribed to the service, or the bill is open
    "OptedOut": FailureKind.DESTINATION,  # the number asked for no more messages
    "RequestExpired": FailureKind.ACCOUNT,  # our clock is wrong
    "RequestLimitExceeded": FailureKind.THROTTLED,
    "ServiceUnavailable": FailureKind.UNAVAILABLE,
    "Throttled": FailureKind.THROTTLED,
    "Throttling": FailureKind.THROTTLED,
    "TooManyRequests": FailureKind.THROTTLED,
    "UnrecognizedClient": FailureKind.ACCOUNT,
}
_CODE = re.compile(r"<Code>([A-Za-z]{1,50})</Code>")
_ABOUT_THE_NUMBER = re.compile(r"<Message>[^<]*(?:[Pp]hone ?[Nn]umber|opted out)[^<]*</Message>")
_CONFIG: dict[str, Any] = {
    "retries": {"mode": "standard", "total_max_attempts": 1},
    "ignore_configured_endpoint_urls": True,  # the environment's would win over the region's own
}
_DESCRIPTIONS: Any = create_loader()
"""What the SDK knows of AWS, in files that are read once for all gateways."""
_PUBLISH = "before-send.sns.Publish"
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
        self._client: Any = _client(settings)
        self._client.meta.events.register(_PUBLISH, self._exchange)

    def send(self, message: Message) -> Accepted:
        """Publish the message; raise `GatewayError`."""
        with _silenced_sdk():
            outcome = self._publish(message)
        if isinstance(outcome, GatewayError):
            raise outcome  # outside of the handlers: the SDK's errors repeat what AWS answered
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
        except (CredentialRetrievalError, HTTPClientError) as failure:  # of where credentials come from
            return GatewayError(FailureKind.UNAVAILABLE, type(failure).__name__)
        except BotoCoreError as failure:  # a parameter that cannot be sent; all else is our credentials or settings
            about_it = isinstance(failure, ParamValidationError)
            return GatewayError(FailureKind.REJECTED if about_it else FailureKind.ACCOUNT, type(failure).__name__)

    def _exchange(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """Make the SDK's call; its own transport would neither bound the whole of it nor tell what was sent."""
        asked = requests.Request(request.method, request.url, headers=dict(request.headers), data=request.body)
        answer = self._http_client.call(asked)
        if not answer.is_success:
            raise _failure(answer)
        headers: Any = answer.headers
        return AWSResponse(request.url, answer.status, headers, _Body(answer.text))


class _Body:
    """The body of an answer, as the SDK reads it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def stream(self) -> Iterator[bytes]:
        yield self._text.encode()


def _client(settings: SnsSettings) -> Any:  # noqa: ANN401 - the SDK makes its classes as it runs
    secret = settings.secret_access_key
    core = CoreSession()
    core.register_component("data_loader", _DESCRIPTIONS)
    session = Session(
        aws_access_key_id=settings.access_key_id,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        region_name=settings.region,
        botocore_session=core,
    )
    return session.client("sns", endpoint_url=settings.base_url, config=Config(**_CONFIG))


def _failure(answer: HttpResponse) -> GatewayError:
    found, rest = _CODE.search(answer.text), answer.retry_after
    if found is None:
        return failure_of_status(answer.status, retry_after=rest)
    code = found[1].removesuffix("Exception")
    if code.startswith("InvalidParameter") and _ABOUT_THE_NUMBER.search(answer.text):
        return GatewayError(FailureKind.DESTINATION, code)
    if code in FAILURES:
        return GatewayError(FAILURES[code], code, retry_after=rest)
    return failure_of_status(answer.status, code, retry_after=rest)


@contextmanager
def _silenced_sdk() -> Iterator[None]:
    """Let the SDK's loggers say nothing of the call that this thread makes: at DEBUG they tell all of a request."""
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if name.startswith(("boto3", "botocore")) and isinstance(logger, logging.Logger):
            logger.addFilter(_between_calls)  # once; again does nothing
    _calls.under_way = True
    try:
        yield
    finally:
        _calls.under_way = False


def _between_calls(_: logging.LogRecord) -> bool:
    return not getattr(_calls, "under_way", False)
