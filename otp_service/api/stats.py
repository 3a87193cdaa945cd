"""Statistics of an application's verifications, for its own dashboards."""

from dataclasses import dataclass

from otp_service.api.exchange import Exchange
from otp_service.api.requests import read_moment, read_query_lists
from otp_service.api.routes import COMMON_PROBLEMS, Parameter, Resource, query_parameter
from otp_service.api.schemas import TIMESTAMP_PATTERN
from otp_service.clock import now
from otp_service.domain.applications import KeyScope
from otp_service.errors import Fault, InvalidRequestError
from otp_service.services import stats as service
from otp_service.services.stats import DelayStatsRow, MessageStatsRow, RefusalStatsRow, StatsQuery, VerificationStatsRow


@dataclass(frozen=True, slots=True)
class VerificationStatsAnswer:
    """Verification outcomes."""

    currency: str
    """Of all amounts (ISO 4217)."""
    rows: tuple[VerificationStatsRow, ...]
    """In the order of `by`; where nothing started there is no row."""


@dataclass(frozen=True, slots=True)
class MessageStatsAnswer:
    """Message outcomes."""

    currency: str
    """Of all amounts (ISO 4217)."""
    rows: tuple[MessageStatsRow, ...]
    """In the order of `by`."""


@dataclass(frozen=True, slots=True)
class RefusalStatsAnswer:
    """Refusals."""

    rows: tuple[RefusalStatsRow, ...]
    """In the order of `by`."""


@dataclass(frozen=True, slots=True)
class DelayStatsAnswer:
    """Delays from the start of verifications."""

    rows: tuple[DelayStatsRow, ...]
    """In the order of `by`."""


_NOTE = (
    "Counts of the key's application, exact and in whole hours: those that begin at `from` or later, and before "
    f"`until`; at most {service.MAX_DAYS_BY_HOUR} days by hour, else {service.MAX_DAYS}. They are there within "
    "seconds, or when the ledger is back."
)
_MOMENT = {"type": "string", "format": "date-time", "pattern": TIMESTAMP_PATTERN}

stats = Resource(
    "stats", "Statistics", KeyScope.STATS, problems=(*COMMON_PROBLEMS, "invalid-time"), note=_NOTE, asks_ledger=True
)


def _parameters(by: tuple[str, ...]) -> tuple[Parameter, ...]:
    names = [name for name in by if name != "application"]
    choices = {"type": "array", "items": {"type": "string", "enum": names}}
    return (
        query_parameter("from", "RFC 3339 in UTC.", _MOMENT, required=True),
        query_parameter("until", "RFC 3339 in UTC. Default: now.", _MOMENT),
        query_parameter("by", "Members to group rows by, repeated or with commas. Default: one row of all.", choices),
    )


_STATISTICS = {200: "The statistics."}


@stats.route(
    "GET /v1/stats/verifications",
    _STATISTICS,
    query=_parameters(service.BY_VERIFICATION),
    endpoint="verifications",
)
def count_verifications(exchange: Exchange) -> VerificationStatsAnswer:
    """Count verifications.

    Counts of started and approved verifications, their cost, and sent and delivered first messages.
    """
    rows = service.count_verifications(exchange.context, _query(exchange, service.BY_VERIFICATION))
    return VerificationStatsAnswer(exchange.settings.guard.currency, tuple(rows))


@stats.route("GET /v1/stats/messages", _STATISTICS, query=_parameters(service.BY_MESSAGE), endpoint="messages")
def count_messages(exchange: Exchange) -> MessageStatsAnswer:
    """Count messages.

    Outcomes and cost of each gateway call. One message may be tried at several gateways.
    """
    rows = service.count_messages(exchange.context, _query(exchange, service.BY_MESSAGE))
    return MessageStatsAnswer(exchange.settings.guard.currency, tuple(rows))


@stats.route("GET /v1/stats/refusals", _STATISTICS, query=_parameters(service.BY_REFUSAL), endpoint="refusals")
def count_refusals(exchange: Exchange) -> RefusalStatsAnswer:
    """Count refusals.

    Refusals of the rules against abuse, and of rules that only record.
    """
    rows = service.count_refusals(exchange.context, _query(exchange, service.BY_REFUSAL))
    return RefusalStatsAnswer(tuple(rows))


@stats.route("GET /v1/stats/delays", _STATISTICS, query=_parameters(service.BY_DELAY), endpoint="delays")
def count_delays(exchange: Exchange) -> DelayStatsAnswer:
    """Count delays.

    Times until first messages were sent and delivered, and until codes were approved.
    """
    rows = service.count_delays(exchange.context, _query(exchange, service.BY_DELAY))
    return DelayStatsAnswer(tuple(rows))


def _query(exchange: Exchange, groups: tuple[str, ...]) -> StatsQuery:
    parameters = read_query_lists(exchange, "from", "until", repeated=("by",))
    by = tuple(name for text in parameters.pop("by", []) for name in text.split(","))
    if not set(by) <= {*groups} - {"application"}:
        raise InvalidRequestError("The parameter by has an unknown name.", (Fault("", "by is not known"),))
    times = {name: texts[0] for name, texts in parameters.items()}
    since, until = read_moment(times, "from"), read_moment(times, "until")
    if since is None:
        raise InvalidRequestError("The parameter from is missing.", (Fault("", "from is missing"),))
    return StatsQuery(since, now() if until is None else until, by, {"application": [exchange.application.name]})
