"""Create all tables. A downgrade does not exist: no command drops what must not be lost."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, String, Text

from otp_service.ledger.migrations import FORMAT

revision = FORMAT
down_revision = None
branch_labels = None
depends_on = None

_NEVER_CHANGED = ("consents", "suppressions", "factor_changes", "operator_actions", "audit")


def upgrade() -> None:
    """Create them."""
    op.create_table(
        "head",
        Column("id", BigInteger, primary_key=True, autoincrement=False),
        Column("identity", String(32), nullable=False),
        Column("sequence", BigInteger, nullable=False),
        Column("access", BigInteger, nullable=False),
        Column("audit", BigInteger, nullable=False),
        Column("audit_link", String(64), nullable=False),
        Column("changed", BigInteger, nullable=False),
        Column("changed_link", String(64), nullable=False),
        Column("forgotten", BigInteger, nullable=False),
        Column("forgotten_link", String(64), nullable=False),
        Column("mirrored", Boolean, nullable=False),
        Column("diverged", Boolean, nullable=False),
        Column("pseudonym_key", String(64), nullable=False),
        Column("purged", BigInteger, nullable=False),
    )
    _traffic()
    _stats()
    _consents()
    _suppressions()
    _inbound()
    _factors()
    _access()
    _webhooks()
    _duties()
    _console()
    _audit()
    for table in _NEVER_CHANGED:
        _refuse_changes(table)


def _traffic() -> None:
    # A partition's primary key holds the column by which a table is partitioned.
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    op.create_table(
        "verifications",
        Column("id", String(64), primary_key=True),
        Column("application", String(64), nullable=False),
        Column("pseudonym", String(22), nullable=False),
        Column("purpose", String(64), nullable=False),
        Column("country", String(2), nullable=False),
        Column("started", BigInteger, nullable=False, primary_key=is_postgresql, autoincrement=False),
        Column("payment", String(22), nullable=False),
        Column("payment_reference", String(22), nullable=False),
        Column("expires", BigInteger, nullable=False),
        Column("status", String(64), nullable=False),
        Column("ended", BigInteger, nullable=False),
        Column("channel", String(64), nullable=False),
        Column("number_prefix", String(16), nullable=False),
        Column("standing", String(64), nullable=False),
        postgresql_partition_by="RANGE (started)",
    )
    op.create_index("verifications_of_number", "verifications", ["pseudonym", "started"])
    op.create_index("verifications_by_age", "verifications", ["started"])
    op.create_index("verifications_of_payment", "verifications", ["payment"])
    op.create_index("verifications_of_reference", "verifications", ["payment_reference"])
    op.create_table(
        "events",
        Column("id", String(64), primary_key=True),
        Column("verification", String(64), nullable=False),
        Column("type", String(64), nullable=False),
        Column("at", BigInteger, nullable=False, primary_key=is_postgresql, autoincrement=False),
        Column("gateway", String(64), nullable=False),
        Column("details", Text, nullable=False),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index("events_of_verification", "events", ["verification"])
    op.create_index("events_by_age", "events", ["at"])


def _stats() -> None:
    op.create_table(
        "hourly_stats",
        Column("hour", BigInteger, primary_key=True, autoincrement=False),
        *(Column(name, String(64), primary_key=True) for name in ("application", "purpose")),
        Column("country", String(2), primary_key=True),
        Column("number_prefix", String(16), primary_key=True),
        *(Column(name, String(64), primary_key=True) for name in ("channel", "gateway", "standing", "what", "reason")),
        Column("times", BigInteger, nullable=False),
        Column("amount", BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "hourly_delays",
        Column("hour", BigInteger, primary_key=True, autoincrement=False),
        Column("application", String(64), primary_key=True),
        Column("country", String(2), primary_key=True),
        *(Column(name, String(64), primary_key=True) for name in ("channel", "gateway", "what")),
        Column("at_most", BigInteger, primary_key=True, autoincrement=False),
        Column("times", BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "stats_positions",
        Column("stream", String(64), primary_key=True),
        Column("entry", String(64), nullable=False),
    )


def _consents() -> None:
    op.create_table(
        "consents",
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("pseudonym", String(22), nullable=False),
        Column("application", String(64), nullable=False),
        Column("purpose", String(64), nullable=False),
        Column("withdrawn", Boolean, nullable=False),
        Column("counts_from", BigInteger, nullable=False),
        Column("text_version", String(64), nullable=False),
        Column("text_sha256", String(64), nullable=False),
        Column("locale", String(35), nullable=False),
        Column("channel", String(32), nullable=False),
        Column("given", BigInteger, nullable=False),
        Column("source", String(200), nullable=False),
        Column("address_prefix", String(64), nullable=False),
        Column("recorded", BigInteger, nullable=False),
    )
    op.create_index("consents_of_number", "consents", ["pseudonym", "application", "purpose"])


def _suppressions() -> None:
    op.create_table(
        "suppressions",
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("pseudonym", String(22), nullable=False),
        Column("application", String(64), nullable=False),
        Column("scope", String(64), nullable=False),
        Column("lifted", Boolean, nullable=False),
        Column("source", String(64), nullable=False),
        Column("reason", String(200), nullable=False),
        Column("until", BigInteger, nullable=True),
        Column("recorded", BigInteger, nullable=False),
    )
    op.create_index("suppressions_of_number", "suppressions", ["pseudonym", "application", "scope"])


def _inbound() -> None:
    op.create_table(
        "inbound",
        Column("id", String(64), primary_key=True),
        Column("pseudonym", String(22), nullable=False),
        Column("application", String(64), nullable=False),
        Column("gateway", String(64), nullable=False),
        Column("meaning", String(64), nullable=False),
        Column("received", BigInteger, nullable=False),
    )
    op.create_index("inbound_of_number", "inbound", ["pseudonym"])
    op.create_index("inbound_by_age", "inbound", ["received"])


def _factors() -> None:
    op.create_table(
        "factors",
        Column("id", String(64), primary_key=True),
        Column("application", String(64), nullable=False),
        Column("pseudonym", String(22), nullable=False),
        Column("type", String(64), nullable=False),
        Column("label", Text, nullable=False),
        Column("secret", Text, nullable=False),
        Column("root_key", String(8), nullable=False),
        Column("algorithm", String(8), nullable=False),
        Column("digits", BigInteger, nullable=False),
        Column("period", BigInteger, nullable=False),
        Column("last_step", BigInteger, nullable=False),
        Column("place", BigInteger, nullable=False),
        Column("created", BigInteger, nullable=False),
        Column("used", BigInteger, nullable=True),
        Column("removed", BigInteger, nullable=True),
    )
    op.create_index("factors_of_user", "factors", ["pseudonym", "application"])
    op.create_index("factors_by_key", "factors", ["root_key"])
    op.create_index("factors_by_removal", "factors", ["removed"])
    op.create_index("factors_by_place", "factors", ["place"])
    op.create_table(
        "factor_changes",
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("factor", String(64), nullable=False),
        Column("application", String(64), nullable=False),
        Column("pseudonym", String(22), nullable=False),
        Column("change", String(64), nullable=False),
        Column("reason", String(64), nullable=False),
        Column("recorded", BigInteger, nullable=False),
    )
    op.create_index("factor_changes_of_user", "factor_changes", ["pseudonym", "application"])
    op.create_index("factor_changes_by_age", "factor_changes", ["recorded"])
    op.create_table(
        "recovery_codes",
        Column("hash", String(22), primary_key=True),
        Column("application", String(64), nullable=False),
        Column("pseudonym", String(22), nullable=False),
        Column("series", String(64), nullable=False),
        Column("made", BigInteger, nullable=False),
        Column("ended", BigInteger, nullable=True),
        Column("used", Boolean, nullable=False),
    )
    op.create_index("recovery_codes_of_user", "recovery_codes", ["pseudonym", "application"])
    op.create_index("recovery_codes_by_end", "recovery_codes", ["ended"])


def _access() -> None:
    op.create_table(
        "proof_keys",
        Column("kid", String(43), primary_key=True),
        Column("jwk", Text, nullable=False),
        Column("first", BigInteger, nullable=False),
        Column("retired", BigInteger, nullable=True),
    )
    op.create_table(
        "applications",
        Column("name", String(64), primary_key=True),
        Column("settings", Text, nullable=False),
        Column("created", BigInteger, nullable=False),
        Column("changed", BigInteger, nullable=False),
    )
    op.create_table(
        "api_keys",
        Column("id", String(64), primary_key=True),
        Column("application", String(64), nullable=False),
        Column("hash", String(71), nullable=False, unique=True),
        Column("scopes", String(64), nullable=False),
        Column("addresses", Text, nullable=False),
        Column("created", BigInteger, nullable=False),
        Column("expires", BigInteger, nullable=True),
        Column("revoked", BigInteger, nullable=True),
        Column("used", BigInteger, nullable=True),
    )
    op.create_index("api_keys_of_application", "api_keys", ["application"])


def _webhooks() -> None:
    op.create_table(
        "endpoints",
        Column("id", String(64), primary_key=True),
        Column("application", String(64), nullable=False),
        Column("url", Text, nullable=False),
        Column("types", Text, nullable=False),
        Column("secret", Text, nullable=False),
        Column("previous", Text, nullable=False),
        Column("previous_until", BigInteger, nullable=False),
        Column("status", String(64), nullable=False),
        Column("failing_since", BigInteger),
        Column("latency", BigInteger),
        Column("sequence", BigInteger, nullable=False),
        Column("created", BigInteger, nullable=False),
        Column("removed", BigInteger),
    )
    op.create_index("endpoints_of_application", "endpoints", ["application"])
    op.create_table(
        "webhooks",
        Column("id", String(64), primary_key=True),
        Column("application", String(64), nullable=False),
        Column("type", String(64), nullable=False),
        Column("verification", String(64), nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("details", Text, nullable=False),
        Column("user", String(64), nullable=False),
    )
    op.create_index("webhooks_of_verification", "webhooks", ["verification"])
    op.create_index("webhooks_of_user", "webhooks", ["user"])
    op.create_index("webhooks_by_age", "webhooks", ["at"])
    op.create_table(
        "webhook_deliveries",
        Column("id", String(64), primary_key=True),
        Column("application", String(64), nullable=False),
        Column("webhook", String(64), nullable=False),
        Column("endpoint", String(64), nullable=False),
        Column("sequence", BigInteger, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("status", String(64), nullable=False),
        Column("tries", BigInteger, nullable=False),
        Column("next", BigInteger, nullable=False),
        Column("lease", BigInteger, nullable=False),
        Column("attempts", Text, nullable=False),
    )
    op.create_index("webhook_deliveries_due", "webhook_deliveries", ["endpoint", "status", "next"])
    op.create_index("webhook_deliveries_in_flight", "webhook_deliveries", ["endpoint", "lease"])
    op.create_index("webhook_deliveries_of_webhook", "webhook_deliveries", ["webhook"])
    op.create_index("webhook_deliveries_of_application", "webhook_deliveries", ["application", "at"])
    op.create_index("webhook_deliveries_by_age", "webhook_deliveries", ["at"])


def _duties() -> None:
    op.create_table(
        "erasures",
        Column("id", String(64), primary_key=True),
        Column("pseudonym", String(22), nullable=False),
        Column("application", String(64), nullable=False),
        Column("place", BigInteger, nullable=False),
        Column("reason", String(300), nullable=False),
        Column("kept", Text, nullable=False),
        Column("erased", Text, nullable=False),
        Column("at", BigInteger, nullable=False),
    )
    op.create_index("erasures_of_number", "erasures", ["pseudonym"])
    op.create_index("erasures_by_place", "erasures", ["place"])
    op.create_table(
        "purges",
        Column("id", String(64), primary_key=True),
        Column("class", String(64), nullable=False),
        Column("before", BigInteger, nullable=False),
        Column("rows", BigInteger, nullable=False),
        Column("names", Text, nullable=False),
        Column("last_sequence", BigInteger, nullable=False),
        Column("link", String(64), nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("signature", String(88), nullable=False),
    )
    op.create_index("purges_by_age", "purges", ["at"])


def _console() -> None:
    op.create_table(
        "console_users",
        Column("name", String(64), primary_key=True),
        Column("role", String(64), nullable=False),
        Column("applications", Text, nullable=False),
        Column("password", String(200), nullable=False),
        Column("secret", Text, nullable=False),
        Column("last_step", BigInteger, nullable=False),
        Column("version", BigInteger, nullable=False),
        Column("invitation", String(64), nullable=False),
        Column("invited_until", BigInteger, nullable=False),
        Column("created", BigInteger, nullable=False),
        Column("used", BigInteger),
        Column("disabled", BigInteger),
    )
    op.create_table(
        "looks",
        Column("id", String(64), primary_key=True),
        Column("at", BigInteger, nullable=False),
        Column("by", String(64), nullable=False),
        Column("view", String(64), nullable=False),
        Column("pseudonym", String(22), nullable=False),
        Column("reason", String(200), nullable=False),
    )
    op.create_index("looks_at_number", "looks", ["pseudonym", "at"])
    op.create_index("looks_by_age", "looks", ["at"])
    op.create_table(
        "second_person_requests",
        Column("id", String(64), primary_key=True),
        Column("at", BigInteger, nullable=False),
        Column("by", String(64), nullable=False),
        Column("act", String(64), nullable=False),
        Column("pseudonym", String(22), nullable=False),
        Column("application", String(64), nullable=False),
        Column("reason", String(200), nullable=False),
        Column("decided", BigInteger),
        Column("decided_by", String(64), nullable=False),
        Column("outcome", String(64), nullable=False),
    )
    op.create_index("second_person_requests_of_number", "second_person_requests", ["pseudonym", "at"])
    op.create_index("second_person_requests_by_age", "second_person_requests", ["at"])


def _audit() -> None:
    op.create_table(
        "operator_actions",
        Column("id", String(64), primary_key=True),
        Column("at", BigInteger, nullable=False),
        Column("action", String(64), nullable=False),
        Column("by", String(64), nullable=False),
        Column("application", String(64), nullable=False),
        Column("about", String(64), nullable=False),
    )
    op.create_index("operator_actions_by_age", "operator_actions", ["at"])
    op.create_table(
        "audit",
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("at", BigInteger, nullable=False),
        Column("table", String(64), nullable=False),
        Column("row", String(64), nullable=False),
        Column("digest", String(64), nullable=False),
        Column("link", String(64), nullable=False),
    )
    op.create_index("audit_of_row", "audit", ["table", "row"])
    op.create_table(
        "audit_heads",
        Column("sequence", BigInteger, primary_key=True, autoincrement=False),
        Column("ledger", String(32), nullable=False),
        Column("link", String(64), nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("signature", String(88), nullable=False),
        Column("exported", BigInteger, nullable=True),
    )


def _refuse_changes(table: str) -> None:
    """Let nobody change an entry, whoever writes SQL; only what an erasure takes may become empty."""
    columns = {
        "consents": (
            "sequence", "pseudonym", "application", "purpose", "withdrawn", "counts_from",
            "text_sha256", "locale", "channel", "given", "recorded",
        ),
        "suppressions": (
            "sequence", "pseudonym", "application", "scope", "lifted", "source", "until", "recorded",
        ),
        "factor_changes": ("sequence", "factor", "application", "pseudonym", "change", "reason", "recorded"),
        "operator_actions": ("id", "at", "action", "by", "application", "about"),
        "audit": ("sequence", "at", "table", "row", "digest", "link"),
    }[table]  # fmt: skip
    different = " OR ".join(f'NEW."{column}" IS DISTINCT FROM OLD."{column}"' for column in columns)
    erasable = {"consents": ("text_version", "source", "address_prefix"), "suppressions": ("reason",)}
    for column in erasable.get(table, ()):
        different += f" OR (NEW.{column} <> OLD.{column} AND NEW.{column} <> '')"
    message = f"an entry of {table} is never changed, only followed by another"
    if op.get_bind().dialect.name == "sqlite":
        different = different.replace("IS DISTINCT FROM", "IS NOT")
        op.execute(
            f"CREATE TRIGGER {table}_fixed BEFORE UPDATE ON {table} WHEN {different} "
            f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        )
        return
    op.execute(
        f"CREATE FUNCTION {table}_fixed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {different} THEN RAISE EXCEPTION '{message}'; END IF; RETURN NEW; END $$"
    )
    op.execute(f"CREATE TRIGGER {table}_fixed BEFORE UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_fixed()")
