"""What the dashboard shows: panels in rows, each with its queries. ``make_dashboard.py`` makes Grafana's file of it."""

from dataclasses import dataclass

_STARTED = "otp_service_verification_starts_total"
_EVENTS = "otp_service_events_recorded_total"
_REQUESTS = "otp_service_http_server_request_duration_seconds"


@dataclass(frozen=True)
class Query:
    """One query, and what its lines are called (``{{label}}``)."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One picture."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "ops"
    """Of Grafana: ``ops`` (a second), ``s``, ``percentunit``, ``bytes``, ``short``."""
    kind: str = "timeseries"
    """``timeseries``, ``stat`` or ``bargauge``."""
    about: str = ""


@dataclass(frozen=True)
class Row:
    """Panels beside each other."""

    title: str
    panels: tuple[Panel, ...]


def _by_country(metric: str, window: str) -> str:
    return f'max by (application, country) (otp_service_{metric}{{window="{window}"}})'


def _events(name: str, within: str) -> str:
    return f'sum(increase({_EVENTS}{{event="{name}"}}[{within}]))'


def _quantile(share: float, metric: str, by: str, which: str = "") -> str:
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({metric}_bucket{which}[1m])))"


ROWS = (
    Row(
        "From start to approval",
        (
            Panel(
                "Funnel of the last hour",
                (
                    Query(_events("verification.started", "1h"), "started"),
                    Query(_events("delivery.sent", "1h"), "messages taken by a gateway"),
                    Query(_events("delivery.delivered", "1h"), "messages reported as delivered"),
                    Query(_events("verification.approved", "1h"), "approved"),
                ),
                unit="short",
                kind="bargauge",
                about="Events as the recorders bring them into the ledger; a resend is a further message.",
            ),
            Panel(
                "Starts by outcome",
                (Query(f"sum by (outcome) (rate({_STARTED}[1m]))", "{{outcome}}"),),
            ),
            Panel(
                "Checks by result",
                (
                    Query("sum by (outcome) (rate(otp_service_verification_checks_total[1m]))", "{{outcome}}"),
                    Query("sum by (outcome) (rate(otp_service_factor_checks_total[1m]))", "apps: {{outcome}}"),
                ),
            ),
            Panel(
                "Conversion by country",
                (
                    Query(
                        f'sum by (country) (increase({_EVENTS}{{event="verification.approved"}}[15m]))'
                        f' / sum by (country) (increase({_EVENTS}{{event="verification.started"}}[15m]))',
                        "{{country}}",
                    ),
                ),
                unit="percentunit",
                about="Approved of started, over a quarter of an hour.",
            ),
            Panel(
                "Starts accepted by country",
                (Query(f'sum by (country) (rate({_STARTED}{{outcome="accepted"}}[1m]))', "{{country}}"),),
            ),
            Panel(
                "Resends by outcome",
                (Query("sum by (outcome) (rate(otp_service_verification_resends_total[1m]))", "{{outcome}}"),),
            ),
        ),
    ),
    Row(
        "The API",
        (
            Panel(
                "Answers by status",
                (
                    Query(f'sum by (status) (rate({_REQUESTS}_count{{route=~"/v1/.*|/twilio/.*"}}[1m]))', "{{status}}"),
                    Query(
                        "sum(rate(haproxy_backend_connection_errors_total[1m])) or vector(0)", "refused by the proxy"
                    ),
                ),
            ),
            Panel(
                "Time to the answer, p50",
                (Query(_quantile(0.5, _REQUESTS, "route", '{route=~"/v1/.*|/twilio/.*"}'), "{{route}}"),),
                unit="s",
            ),
            Panel(
                "Time to the answer, p99",
                (Query(_quantile(0.99, _REQUESTS, "route", '{route=~"/v1/.*|/twilio/.*"}'), "{{route}}"),),
                unit="s",
            ),
            Panel(
                "Releases that run",
                (Query("count by (job, version) (otp_service_build_info)", "{{job}} {{version}}"),),
                unit="short",
                about="How many APIs and workers run each release.",
            ),
            Panel(
                "Memory of processes",
                (
                    Query('process_resident_memory_bytes{job="otp-service"}', "API {{instance}}"),
                    Query('process_resident_memory_bytes{job="otp-service-worker"}', "worker {{instance}}"),
                ),
                unit="bytes",
                about="Of a process and its children together.",
            ),
            Panel(
                "Processor time of processes",
                (
                    Query('rate(process_cpu_seconds_total{job="otp-service"}[1m])', "API {{instance}}"),
                    Query('rate(process_cpu_seconds_total{job="otp-service-worker"}[1m])', "worker {{instance}}"),
                ),
                unit="percentunit",
            ),
        ),
    ),
    Row(
        "Deliveries",
        (
            Panel(
                "Calls to gateways by outcome",
                (
                    Query(
                        "sum by (gateway, outcome) (rate(otp_service_dispatches_total[1m]))",
                        "{{gateway}} {{outcome}}",
                    ),
                ),
            ),
            Panel(
                "Time of a gateway's answer, p95",
                (Query(_quantile(0.95, "otp_service_dispatch_seconds", "gateway"), "{{gateway}}"),),
                unit="s",
            ),
            Panel(
                "Calls to gateways in flight",
                (Query("sum by (gateway) (otp_service_gateway_calls_in_flight)", "{{gateway}}"),),
                unit="short",
            ),
            Panel(
                "Age of the oldest message that waits",
                (Query("max(otp_service_outbox_lag_seconds)", "outbox"),),
                unit="s",
            ),
            Panel(
                "Reports of gateways",
                (Query("sum by (gateway, status) (rate(otp_service_receipts_total[1m]))", "{{gateway}} {{status}}"),),
            ),
            Panel(
                "Breakers: 1 open, 0.5 half open",
                (Query("max by (gateway) (otp_service_gateway_breaker_open)", "{{gateway}}"),),
                unit="short",
            ),
            Panel(
                "Messages given up",
                (Query("sum by (reason) (rate(otp_service_dead_letters_total[1m])) or vector(0)", "{{reason}}"),),
            ),
        ),
    ),
    Row(
        "The guard",
        (
            Panel(
                "Refusals by rule",
                (
                    Query(
                        'sum by (rule) (rate(otp_service_guard_refusals_total{mode="enforce"}[1m])) or vector(0)',
                        "{{rule}}",
                    ),
                ),
            ),
            Panel(
                "Would have refused, by rule",
                (
                    Query(
                        'sum by (rule) (rate(otp_service_guard_refusals_total{mode="record_only"}[1m])) or vector(0)',
                        "{{rule}}",
                    ),
                ),
            ),
            Panel(
                "Unapproved messages to unknown numbers that passed, of the last hour",
                (
                    Query(_by_country("unapproved_messages", "hour"), "{{application}} {{country}}"),
                    Query(_by_country("unapproved_messages_usual", "hour"), "usual: {{application}} {{country}}"),
                ),
                unit="short",
            ),
            Panel(
                "Their cost, of the last day",
                (Query(_by_country("unapproved_money", "day"), "{{application}} {{country}}"),),
                unit="short",
            ),
            Panel(
                "Human checks by outcome",
                (Query("sum by (check, outcome) (rate(otp_service_human_checks_total[1m]))", "{{check}} {{outcome}}"),),
            ),
            Panel(
                "Alarms of wrong codes, in the last hour",
                (Query("sum(increase(otp_service_wrong_code_alarms_total[1h])) or vector(0)"),),
                unit="short",
                kind="stat",
            ),
        ),
    ),
    Row(
        "Error budget",
        (
            Panel(
                "Left of the month's budget",
                (Query("1 - otp_service:errors:ratio_rate30d / 0.001"),),
                unit="percentunit",
                kind="stat",
                about="Of 1,000 answers at most one may be an error of ours, over 30 days.",
            ),
            Panel(
                "Errors, share of the answers",
                (
                    Query("otp_service:errors:ratio_rate5m", "5 minutes"),
                    Query("otp_service:errors:ratio_rate1h", "1 hour"),
                    Query("vector(0.001)", "objective"),
                ),
                unit="percentunit",
            ),
            Panel(
                "Starts slower than 100 ms, share",
                (Query("otp_service:starts_slow:ratio_rate5m", "5 minutes"), Query("vector(0.01)", "objective")),
                unit="percentunit",
            ),
        ),
    ),
    Row(
        "Redis and the ledger",
        (
            Panel(
                "Operations that Redis or the ledger did not answer",
                (
                    Query("sum(rate(otp_service_store_errors_total[1m])) or vector(0)", "Redis"),
                    Query("sum(rate(otp_service_ledger_errors_total[1m])) or vector(0)", "ledger"),
                ),
            ),
            Panel(
                "Events that are not in the ledger yet",
                (Query("max(otp_service_events_unrecorded)", "events"),),
                unit="short",
            ),
            Panel(
                "Age of the oldest audit head that is not exported",
                (Query("max(otp_service_audit_export_lag_seconds)", "head"),),
                unit="s",
            ),
            Panel(
                "Webhooks by outcome",
                (Query("sum by (outcome) (rate(otp_service_webhooks_total[1m]))", "{{outcome}}"),),
            ),
            Panel(
                "Slow webhook endpoints",
                (Query("sum by (application) (otp_service_endpoints_slow)", "{{application}}"),),
                unit="short",
            ),
            Panel(
                "Redis: memory",
                (Query("redis_memory_used_bytes", "used"), Query("redis_memory_max_bytes", "at most")),
                unit="bytes",
            ),
            Panel("Redis: commands", (Query("rate(redis_commands_processed_total[1m])", "commands"),)),
            Panel("Redis: keys", (Query('redis_db_keys{db="db0"}', "keys"),), unit="short"),
            Panel(
                "Redis: processor time",
                (
                    Query(
                        "rate(redis_cpu_sys_seconds_total[1m]) + rate(redis_cpu_user_seconds_total[1m])", "of one core"
                    ),
                ),
                unit="percentunit",
            ),
        ),
    ),
)
