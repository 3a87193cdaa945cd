"""The tables. Each column states its contents and its personal data; docs/data.md is generated from them.

Numbers are pseudonyms, times are milliseconds since the epoch. ``sequence`` is the ledger's own count of the changes
that the mirror in Redis needs (`head`).
"""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, MetaData, String, Table, Text

METADATA = MetaData()

HEAD, TRAFFIC, STATS, CONSENTS, SUPPRESSIONS, INBOUND, WEBHOOKS, FACTORS, ACCESS, ACCOUNTABILITY, AUDIT = (
    *("head", "traffic", "stats", "consents", "suppressions", "inbound"),
    *("webhooks", "factors", "access", "accountability", "audit"),
)
"""Classes of data, which are kept equally long (``retention`` in the configuration)."""

NAME = String(64)
PSEUDONYM = String(22)
PAYMENT = String(22)
TIME = BigInteger


ADDRESS, WORDS, OPERATOR, SEALED = "network prefix", "caller's text", "operator's name", "sealed"
"""Personal data in columns, beside pseudonyms."""


def _table(name: str, data: str, *items: Column[Any] | Index, **options: Any) -> Table:  # noqa: ANN401
    """Return a table of a class of data."""
    return Table(name, METADATA, *items, info={"class": data}, **options)


def _column(name: str, kind: Any, holds: str, personal: str = "", **options: Any) -> Column[Any]:  # noqa: ANN401
    """Return a column; a column of pseudonyms is always personal."""
    options.setdefault("nullable", False)
    personal = personal or ("pseudonym" if kind is PSEUDONYM else "")
    return Column(name, kind, info={"holds": holds, "personal": personal}, **options)


head = _table(
    "head",
    HEAD,
    _column("id", BigInteger, "always 1: the table has one row", primary_key=True, autoincrement=False),
    _column("identity", String(32), "random name of this ledger"),
    _column("sequence", BigInteger, "number of the last change that the mirror needs"),
    _column("access", BigInteger, "number of the last change of applications and keys"),
    _column("audit", BigInteger, "number of the last entry of the audit chain"),
    _column("audit_link", String(64), "link of that entry"),
    _column("changed", BigInteger, "number of the last mirrored change's entry in the audit chain"),
    _column("changed_link", String(64), "link of that entry"),
    _column("forgotten", BigInteger, "number of the last such entry that a purge deleted"),
    _column("forgotten_link", String(64), "link of that entry"),
    _column("mirrored", Boolean, "whether a mirror of this ledger was ever complete"),
    _column("diverged", Boolean, "whether the mirror's history was found to differ, until an operator decides"),
    _column("pseudonym_key", String(64), "fingerprint of the key that made the pseudonyms"),
    _column("purged", TIME, "when the last purge began; 0 before the first"),
)

# In PostgreSQL a partitioned table's primary key includes the partition's column: migrations/versions/v0001_first.py.
verifications = _table(
    "verifications",
    TRAFFIC,
    _column("id", NAME, "identifier of the verification", primary_key=True),
    _column("application", NAME, "application that started it"),
    _column("pseudonym", PSEUDONYM, "the number, as a pseudonym; empty until the start is recorded"),
    _column("purpose", NAME, "purpose of the code"),
    _column("country", String(2), "country of the number"),
    _column("started", TIME, "when it started"),
    _column("payment", PAYMENT, "the payment, as a keyed hash; empty without one"),
    _column("payment_reference", PAYMENT, "the payment's reference, as a keyed hash; empty without one"),
    _column("expires", TIME, "when the code expires; 0 until the start is recorded"),
    _column("status", NAME, "final status; pending where it expired"),
    _column("ended", TIME, "when it ended; 0 until then"),
    _column("channel", NAME, "channel of the first message"),
    _column("number_prefix", String(16), "first digits of the number, those of a carrier"),
    _column("standing", NAME, "unknown, checked or known: standing of the number at the start"),
    Index("verifications_of_number", "pseudonym", "started"),
    Index("verifications_by_age", "started"),
    Index("verifications_of_payment", "payment"),
    Index("verifications_of_reference", "payment_reference"),
    postgresql_partition_by="RANGE (started)",
)

events = _table(
    "events",
    TRAFFIC,
    _column("id", NAME, "bucket, entry and digest of the event, which identify a repetition", primary_key=True),
    _column("verification", NAME, "identifier of the verification"),
    _column("type", NAME, "type of the event"),
    _column("at", TIME, "when it happened"),
    _column("gateway", NAME, "gateway; empty where none was called"),
    _column("details", Text, "channel, reason, reference, cost …: JSON, never a number or a code"),
    Index("events_of_verification", "verification"),
    Index("events_by_age", "at"),
    postgresql_partition_by="RANGE (at)",
)

hourly_stats = _table(
    "hourly_stats",
    STATS,
    _column("hour", TIME, "hour of the start, or of the refusal", primary_key=True),
    _column("application", NAME, "application", primary_key=True),
    _column("purpose", NAME, "purpose of the codes", primary_key=True),
    _column("country", String(2), "country of the numbers", primary_key=True),
    _column("number_prefix", String(16), "first digits of the numbers, those of a carrier", primary_key=True),
    _column("channel", NAME, "channel of the messages", primary_key=True),
    _column("gateway", NAME, "gateway of the messages", primary_key=True),
    _column("standing", NAME, "unknown, checked or known: standing of the number at the start", primary_key=True),
    _column("event", NAME, "type of event, or of refused request", primary_key=True),
    _column("reason", NAME, "one word of a closed list, or the rule that refused", primary_key=True),
    _column("times", BigInteger, "number of events"),
    _column("amount", BigInteger, "cost, in millionths of the currency's unit"),
    sqlite_with_rowid=False,
)

hourly_delays = _table(
    "hourly_delays",
    STATS,
    _column("hour", TIME, "hour in which the verifications started", primary_key=True),
    _column("application", NAME, "application", primary_key=True),
    _column("country", String(2), "country of the numbers", primary_key=True),
    _column("channel", NAME, "channel of the messages", primary_key=True),
    _column("gateway", NAME, "gateway of the messages", primary_key=True),
    _column("event", NAME, "type of the delayed event", primary_key=True),
    _column("at_most", BigInteger, "seconds; 0 for more than 300", primary_key=True, autoincrement=False),
    _column("times", BigInteger, "number of events"),
    sqlite_with_rowid=False,
)

stats_positions = _table(
    "stats_positions",
    HEAD,
    _column("stream", NAME, "bucket of a stream of decisions in Redis", primary_key=True),
    _column("entry", NAME, "last counted entry of the stream"),
)

consents = _table(
    "consents",
    CONSENTS,
    _column("sequence", BigInteger, "place in the ledger", primary_key=True, autoincrement=False),
    _column("pseudonym", PSEUDONYM, "the number, as a pseudonym"),
    _column("application", NAME, "application that received it"),
    _column("purpose", NAME, "purpose that it covers"),
    _column("withdrawn", Boolean, "whether this entry withdraws it"),
    _column("counts_from", BigInteger, "place in the ledger from which it counts"),
    _column("text_version", String(64), "version of the displayed text, until an erasure", WORDS),
    _column("text_sha256", String(64), "SHA-256 of the displayed text"),
    _column("locale", String(35), "language of the displayed text"),
    _column("channel", String(32), "channel on which it was displayed"),
    _column(
        "agreed_at", TIME, "when the person agreed, by the application; of a withdrawal, what a new one must follow"
    ),
    _column("source", String(200), "page, screen or paper, until an erasure", WORDS),
    _column("address_prefix", String(64), "the end user's address without its last part, until an erasure", ADDRESS),
    _column("recorded", TIME, "when it was recorded"),
    Index("consents_of_number", "pseudonym", "application", "purpose"),
)

suppressions = _table(
    "suppressions",
    SUPPRESSIONS,
    _column("sequence", BigInteger, "place in the ledger", primary_key=True, autoincrement=False),
    _column("pseudonym", PSEUDONYM, "the number, as a pseudonym"),
    _column("application", NAME, "application whose messages are blocked; * for all"),
    _column("scope", NAME, "blocked messages: all, marketing_only; frozen after fraud"),
    _column("lifted", Boolean, "whether this entry lifts it"),
    _column("source", NAME, "source of the entry"),
    _column("reason", String(200), "reason, until an erasure", WORDS),
    _column("until", TIME, "when it ends by itself; empty for never", nullable=True),
    _column("recorded", TIME, "when it was recorded"),
    Index("suppressions_of_number", "pseudonym", "application", "scope"),
)

inbound = _table(
    "inbound",
    INBOUND,
    _column("id", NAME, "hash of the gateway and its message id, which identifies a repetition", primary_key=True),
    _column("pseudonym", PSEUDONYM, "the sender's number, as a pseudonym"),
    _column("application", NAME, "application whose message it answers; empty when unknown"),
    _column("gateway", NAME, "gateway that received it"),
    _column("meaning", NAME, "stop, start, help or other; the text itself is not kept"),
    _column("received", TIME, "when it was received"),
    Index("inbound_of_number", "pseudonym"),
    Index("inbound_by_age", "received"),
)

factors = _table(
    "factors",
    FACTORS,
    _column("id", NAME, "identifier of the factor, which contains the user's pseudonym", primary_key=True),
    _column("application", NAME, "application of the user"),
    _column("pseudonym", PSEUDONYM, "the user, as a pseudonym"),
    _column("type", NAME, "totp: an authenticator app"),
    _column("label", Text, "name of the app for the user, sealed; empty once removed", SEALED),
    _column("secret", Text, "secret of its codes, sealed; empty once removed", SEALED),
    _column("root_key", String(8), "id of the root key that sealed it; empty once removed"),
    _column("algorithm", String(8), "hash function of its codes: SHA1, SHA256, SHA512"),
    _column("digits", BigInteger, "digits of a code"),
    _column("period", BigInteger, "seconds for which a code is valid"),
    _column("last_step", BigInteger, "last period with an accepted code: earlier codes are refused"),
    _column("place", BigInteger, "place in the ledger of its activation"),
    _column("created", TIME, "when it was activated"),
    _column("used", TIME, "when a code was last accepted; empty before the first", nullable=True),
    _column("removed", TIME, "when it was removed; empty until then", nullable=True),
    Index("factors_of_user", "pseudonym", "application"),
    Index("factors_by_key", "root_key"),
    Index("factors_by_removal", "removed"),
    Index("factors_by_place", "place"),
)

factor_changes = _table(
    "factor_changes",
    FACTORS,
    _column("sequence", BigInteger, "place in the ledger", primary_key=True, autoincrement=False),
    _column("factor", NAME, "identifier of the factor"),
    _column("application", NAME, "application of the user"),
    _column("pseudonym", PSEUDONYM, "the user, as a pseudonym"),
    _column("change", NAME, "activated, removed, resealed or step_reset"),
    _column("reason", NAME, "reason of a removal, one word; empty where a code removed it"),
    _column("recorded", TIME, "when it was recorded"),
    Index("factor_changes_of_user", "pseudonym", "application"),
    Index("factor_changes_by_age", "recorded"),
)

recovery_codes = _table(
    "recovery_codes",
    FACTORS,
    _column("hash", String(22), "the code and the user, as a keyed hash", primary_key=True),
    _column("application", NAME, "application of the user"),
    _column("pseudonym", PSEUDONYM, "the user, as a pseudonym"),
    _column("series", NAME, "random name of the codes that were made together"),
    _column("made", TIME, "when it was made"),
    _column("ended", TIME, "when it was used, or its series replaced; empty until then", nullable=True),
    _column("used", Boolean, "whether it was used"),
    Index("recovery_codes_of_user", "pseudonym", "application"),
    Index("recovery_codes_by_end", "ended"),
)

applications = _table(
    "applications",
    ACCESS,
    _column("name", NAME, "name of the application", primary_key=True),
    _column("settings", Text, "its section as in a configuration file: JSON"),
    _column("created", TIME, "when it was created"),
    _column("changed", TIME, "when it was last changed"),
)

api_keys = _table(
    "api_keys",
    ACCESS,
    _column("id", NAME, "name of the key, which is not secret", primary_key=True),
    _column("application", NAME, "application of the key"),
    _column("hash", String(71), "SHA-256 of the key", unique=True),
    _column("scopes", String(64), "scopes, separated by blanks"),
    _column("addresses", Text, "allowed networks, separated by blanks; empty for all"),
    _column("created", TIME, "when it was created"),
    _column("expires", TIME, "when it ends, such as after a rotation; empty for never", nullable=True),
    _column("revoked", TIME, "when it was revoked; empty until then", nullable=True),
    _column("used", TIME, "when it was last used, to the minute; empty until then", nullable=True),
    Index("api_keys_of_application", "application"),
)

console_users = _table(
    "console_users",
    ACCESS,
    _column("name", NAME, "name with which the user signs in", OPERATOR, primary_key=True),
    _column("role", NAME, "role of the user"),
    _column("applications", Text, "visible applications, separated by blanks; empty for all"),
    _column("password", String(200), "Argon2id of the password; empty until the invitation is accepted"),
    _column("secret", Text, "secret of the authenticator app; empty until the invitation is accepted", SEALED),
    _column("last_step", BigInteger, "last period with an accepted code: earlier codes are refused"),
    _column("version", BigInteger, "number of changes that ended sessions"),
    _column("invitation", String(64), "SHA-256 of the invitation; empty without one"),
    _column("invited_until", TIME, "when the invitation ends"),
    _column("created", TIME, "when the user was first invited"),
    _column("used", TIME, "when the user last signed in; empty until then", nullable=True),
    _column("disabled", TIME, "when the user was disabled; empty until then", nullable=True),
)

looks = _table(
    "looks",
    ACCOUNTABILITY,
    _column("id", NAME, "random name", primary_key=True),
    _column("at", TIME, "when the number was viewed"),
    _column("by", NAME, "name of the console user", OPERATOR),
    _column("view", NAME, "page of the console"),
    _column("pseudonym", PSEUDONYM, "the viewed number, as a pseudonym"),
    _column("reason", String(200), "reason of the view, until an erasure", WORDS),
    Index("looks_at_number", "pseudonym", "at"),
    Index("looks_by_age", "at"),
)

second_person_requests = _table(
    "second_person_requests",
    ACCOUNTABILITY,
    _column("id", NAME, "random name", primary_key=True),
    _column("at", TIME, "when it was requested"),
    _column("by", NAME, "name of the console user who requested it", OPERATOR),
    _column("act", NAME, "requested action: erase, unfreeze or lift a suppression"),
    _column("pseudonym", PSEUDONYM, "the number, as a pseudonym"),
    _column("application", NAME, "application; * for all"),
    _column("reason", String(200), "reason, until an erasure", WORDS),
    _column("decided", TIME, "when another user decided; empty until then", nullable=True),
    _column("decided_by", NAME, "name of the console user who decided; empty until then", OPERATOR),
    _column("outcome", NAME, "done, declined, or taken while it is done; empty until then"),
    Index("second_person_requests_of_number", "pseudonym", "at"),
    Index("second_person_requests_by_age", "at"),
)

endpoints = _table(
    "endpoints",
    ACCESS,
    _column("id", NAME, "random name", primary_key=True),
    _column("application", NAME, "application of the endpoint"),
    _column("url", Text, "address that receives webhooks"),
    _column("types", Text, "subscribed types and groups of types, separated by blanks"),
    _column("secret", Text, "signing secret, sealed; empty once removed"),
    _column("previous", Text, "signing secret before the last rotation, sealed; empty without one"),
    _column("previous_until", TIME, "until when both secrets sign"),
    _column("status", NAME, "enabled, or why not"),
    _column("failing_since", TIME, "since when every attempt failed; empty while they do not", nullable=True),
    _column("latency", BigInteger, "milliseconds of its calls while it is slow, else empty", nullable=True),
    _column("sequence", BigInteger, "number of its webhooks so far"),
    _column("created", TIME, "when it was created"),
    _column("removed", TIME, "when it was removed; empty until then", nullable=True),
    Index("endpoints_of_application", "application"),
)

webhooks = _table(
    "webhooks",
    WEBHOOKS,
    _column("id", NAME, "name of the webhook, derived from the event's or random", primary_key=True),
    _column("application", NAME, "application that receives it"),
    _column("type", NAME, "type of the webhook"),
    _column("verification", NAME, "identifier of the verification; empty for none"),
    _column("at", TIME, "when the event happened"),
    _column("details", Text, "purpose, country, channel, reason …: JSON, never a number or a code"),
    _column("user", NAME, "identifier of the application's user, a pseudonym; empty for none", "pseudonym"),
    Index("webhooks_of_verification", "verification"),
    Index("webhooks_of_user", "user"),
    Index("webhooks_by_age", "at"),
)

deliveries = _table(
    "webhook_deliveries",
    WEBHOOKS,
    _column("id", NAME, "random name", primary_key=True),
    _column("application", NAME, "application that receives it"),
    _column("webhook", NAME, "name of the webhook"),
    _column("endpoint", NAME, "name of the endpoint"),
    _column("sequence", BigInteger, "number among all webhooks of the endpoint"),
    _column("at", TIME, "when the event happened"),
    _column("status", NAME, "status of the delivery"),
    _column("tries", BigInteger, "attempts since it was created or replayed"),
    _column("next", TIME, "time of the next attempt; during an attempt, when another worker may try"),
    _column("lease", TIME, "end of a worker's lease; 0 for none"),
    _column("attempts", Text, "the last attempts: time, duration, status of the response, reason: JSON"),
    Index("webhook_deliveries_due", "endpoint", "status", "next"),
    Index("webhook_deliveries_in_flight", "endpoint", "lease"),
    Index("webhook_deliveries_of_webhook", "webhook"),
    Index("webhook_deliveries_of_application", "application", "at"),
    Index("webhook_deliveries_by_age", "at"),
)

proof_keys = _table(
    "proof_keys",
    HEAD,
    _column("kid", String(43), "thumbprint of the public key (RFC 7638)", primary_key=True),
    _column("jwk", Text, "the public key: JSON (RFC 7517)"),
    _column("first", TIME, "when a process was first ready to sign proofs with it"),
    _column("retired", TIME, "when a process first ran without it; empty while it is in use", nullable=True),
)

erasures = _table(
    "erasures",
    ACCOUNTABILITY,
    _column("id", NAME, "random name", primary_key=True),
    _column("pseudonym", PSEUDONYM, "the number, as a pseudonym"),
    _column("application", NAME, "application; * for all"),
    _column("place", BigInteger, "place in the ledger: earlier consents lose their address and texts"),
    _column("reason", String(300), "why rows were kept"),
    _column("kept", Text, "number of kept rows by table: JSON"),
    _column("erased", Text, "number of erased rows or values by table: JSON"),
    _column("at", TIME, "when it was done"),
    Index("erasures_of_number", "pseudonym"),
    Index("erasures_by_place", "place"),
)

purges = _table(
    "purges",
    AUDIT,
    _column("id", NAME, "random name", primary_key=True),
    _column("class", NAME, "class of data", key="data"),
    _column("before", TIME, "time before which rows were deleted"),
    _column("rows", BigInteger, "number of deleted rows"),
    _column("names", Text, "keys and digests of the rows, of consents and suppressions: JSON"),
    _column("last_sequence", BigInteger, "number of the last deleted entry of the audit chain; 0 for none"),
    _column("link", String(64), "link of that entry"),
    _column("at", TIME, "when it was done"),
    _column("signature", String(88), "Ed25519, base64"),
    Index("purges_by_age", "at"),
)

operator_actions = _table(
    "operator_actions",
    ACCOUNTABILITY,
    _column("id", NAME, "random name", primary_key=True),
    _column("at", TIME, "when it was done"),
    _column("action", NAME, "the action"),
    _column("by", NAME, "login at a command line, or name of an operator's API key", OPERATOR),
    _column("application", NAME, "application; empty for none or all"),
    _column("target", NAME, "object of the action, such as the name of a key, or its result"),
    Index("operator_actions_by_age", "at"),
)

audit = _table(
    "audit",
    AUDIT,
    _column("sequence", BigInteger, "place in the chain", primary_key=True, autoincrement=False),
    _column("at", TIME, "when it was appended"),
    _column("table", NAME, "table of the row"),
    _column("row", NAME, "the row's key, such as the name of a console user; of a factor its place", OPERATOR),
    _column("digest", String(64), "SHA-256 of the row, without the columns that an erasure empties"),
    _column("link", String(64), "SHA-256 over this entry and the link before it"),
    Index("audit_of_row", "table", "row"),
)

audit_heads = _table(
    "audit_heads",
    AUDIT,
    _column("sequence", BigInteger, "end of the chain when it was signed", primary_key=True, autoincrement=False),
    _column("ledger", String(32), "name of the ledger at that time"),
    _column("link", String(64), "link of that entry"),
    _column("at", TIME, "when it was signed"),
    _column("signature", String(88), "Ed25519, base64"),
    _column("exported", TIME, "when it was exported; empty until then", nullable=True),
)
