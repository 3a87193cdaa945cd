"""The tables. Each column says what it holds, of whom, and its class of data: docs/data.md is made from that.

Numbers are pseudonyms, times are milliseconds since the epoch. ``sequence`` is the ledger's own count of all that the
mirror in Redis has to know (`head`).
"""

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Index, MetaData, String, Table, Text

METADATA = MetaData()

HEAD, TRAFFIC, STATS, CONSENTS, SUPPRESSIONS, INBOUND, WEBHOOKS, FACTORS, ACCESS, ACCOUNTABILITY, AUDIT = (
    "head",
    "traffic",
    "stats",
    "consents",
    "suppressions",
    "inbound",
    "webhooks",
    "factors",
    "access",
    "accountability",
    "audit",
)
"""Classes of data, which are kept equally long (``retention`` in the configuration)."""

NAME = String(64)
PSEUDONYM = String(22)
PAYMENT = String(22)
TIME = BigInteger


ADDRESS, WORDS, OPERATOR, SEALED = "a network's first part", "words of a caller", "name of an operator", "sealed"
"""What columns hold of a person, beside pseudonyms."""


def _column(name: str, kind: Any, holds: str, data: str, personal: str = "", **options: Any) -> Column[Any]:  # noqa: ANN401
    """Return a column; one of pseudonyms is personal without being said to be."""
    options.setdefault("nullable", False)
    personal = personal or ("pseudonym" if kind is PSEUDONYM else "")
    return Column(name, kind, info={"holds": holds, "class": data, "personal": personal}, **options)


head = Table(
    "head",
    METADATA,
    _column("id", BigInteger, "1: there is one row", HEAD, primary_key=True, autoincrement=False),
    _column("identity", String(32), "random name of this ledger", HEAD),
    _column("sequence", BigInteger, "number of the last change that the mirror has to know", HEAD),
    _column("access", BigInteger, "number of the last change of applications and keys", HEAD),
    _column("audit", BigInteger, "number of the last entry of the audit chain", HEAD),
    _column("audit_link", String(64), "its link", HEAD),
    _column("changed", BigInteger, "number of that change's entry in the audit chain", HEAD),
    _column("changed_link", String(64), "its link", HEAD),
    _column("forgotten", BigInteger, "number of such an entry that a purge took while it was the last one", HEAD),
    _column("forgotten_link", String(64), "its link", HEAD),
    _column("mirrored", Boolean, "whether a mirror of this ledger was ever complete", HEAD),
    _column("diverged", Boolean, "whether its history was seen not to be the mirror's; nobody decided since", HEAD),
    _column("pseudonym_key", String(64), "fingerprint of the key that made its pseudonyms", HEAD),
    _column("purged", TIME, "when the last purge began; 0 before the first", HEAD),
)

verifications = Table(
    "verifications",
    METADATA,
    _column("id", NAME, "identifier of the verification", TRAFFIC, primary_key=True),
    _column("application", NAME, "who asked", TRAFFIC),
    _column("pseudonym", PSEUDONYM, "the number, as a pseudonym; empty until its start is recorded", TRAFFIC),
    _column("purpose", NAME, "what the code was for", TRAFFIC),
    _column("country", String(2), "of the number", TRAFFIC),
    _column("started", TIME, "when", TRAFFIC),
    _column("payment", PAYMENT, "the payment, as a keyed hash; empty without one", TRAFFIC),
    _column("payment_reference", PAYMENT, "its reference, as a keyed hash; empty without one", TRAFFIC),
    _column("expires", TIME, "when its code does; 0 until its start is recorded", TRAFFIC),
    _column("status", NAME, "how somebody ended it; pending where nobody did", TRAFFIC),
    _column("ended", TIME, "when it ended; 0 until then", TRAFFIC),
    _column("channel", NAME, "of its first message", TRAFFIC),
    _column("number_prefix", String(16), "first digits of the number, those of a carrier", TRAFFIC),
    _column("standing", NAME, "unknown, checked or known: whether its number was known then", TRAFFIC),
    Index("verifications_of_number", "pseudonym", "started"),
    Index("verifications_by_age", "started"),
    Index("verifications_of_payment", "payment"),
    Index("verifications_of_reference", "payment_reference"),
)

events = Table(
    "events",
    METADATA,
    _column(
        "id",
        NAME,
        "bucket, entry and digest of the event: a repetition is known",
        TRAFFIC,
        primary_key=True,
    ),
    _column("verification", NAME, "identifier of the verification", TRAFFIC),
    _column("type", NAME, "what happened", TRAFFIC),
    _column("at", TIME, "when", TRAFFIC),
    _column("gateway", NAME, "through which; empty where none was called", TRAFFIC),
    _column("details", Text, "channel, reason, reference, cost …: JSON, never a number or a code", TRAFFIC),
    Index("events_of_verification", "verification"),
    Index("events_by_age", "at"),
)

hourly_stats = Table(
    "hourly_stats",
    METADATA,
    _column("hour", TIME, "in which the verifications started, or something was refused", STATS, primary_key=True),
    _column("application", NAME, "whose", STATS, primary_key=True),
    _column("purpose", NAME, "what the codes were for", STATS, primary_key=True),
    _column("country", String(2), "of the numbers", STATS, primary_key=True),
    _column("number_prefix", String(16), "their first digits, those of a carrier", STATS, primary_key=True),
    _column("channel", NAME, "of the messages", STATS, primary_key=True),
    _column("gateway", NAME, "through which they went", STATS, primary_key=True),
    _column("standing", NAME, "unknown, checked or known: the number at the start", STATS, primary_key=True),
    _column("what", NAME, "type of event, or what was refused", STATS, primary_key=True),
    _column("reason", NAME, "one word of a closed list, or the rule that refused", STATS, primary_key=True),
    _column("times", BigInteger, "how often", STATS),
    _column("amount", BigInteger, "what it cost, in millionths of the currency's unit", STATS),
    sqlite_with_rowid=False,
)

hourly_delays = Table(
    "hourly_delays",
    METADATA,
    _column("hour", TIME, "in which the verifications started", STATS, primary_key=True),
    _column("application", NAME, "whose", STATS, primary_key=True),
    _column("country", String(2), "of the numbers", STATS, primary_key=True),
    _column("channel", NAME, "of the messages", STATS, primary_key=True),
    _column("gateway", NAME, "through which they went", STATS, primary_key=True),
    _column("what", NAME, "type of the event that came so long after the start", STATS, primary_key=True),
    _column("at_most", BigInteger, "seconds; 0 for more than 300", STATS, primary_key=True, autoincrement=False),
    _column("times", BigInteger, "how often", STATS),
    sqlite_with_rowid=False,
)

stats_positions = Table(
    "stats_positions",
    METADATA,
    _column("stream", NAME, "bucket of a stream of decisions in Redis", HEAD, primary_key=True),
    _column("entry", NAME, "its last entry that is counted", HEAD),
)

consents = Table(
    "consents",
    METADATA,
    _column("sequence", BigInteger, "its place in the ledger", CONSENTS, primary_key=True, autoincrement=False),
    _column("pseudonym", PSEUDONYM, "the number, as a pseudonym", CONSENTS),
    _column("application", NAME, "to whom it was given", CONSENTS),
    _column("purpose", NAME, "for what", CONSENTS),
    _column("withdrawn", Boolean, "whether this entry withdraws it", CONSENTS),
    _column("counts_from", BigInteger, "the place in the ledger from which on it counts", CONSENTS),
    _column("text_version", String(64), "name of the words that were shown, until an erasure", CONSENTS, WORDS),
    _column("text_sha256", String(64), "their SHA-256", CONSENTS),
    _column("locale", String(35), "their language", CONSENTS),
    _column("channel", String(32), "where they were shown", CONSENTS),
    _column(
        "given",
        TIME,
        "when the person agreed, as the application says; of a withdrawal, after when one has to",
        CONSENTS,
    ),
    _column("source", String(200), "the page, screen or paper, until an erasure", CONSENTS, WORDS),
    _column(
        "address_prefix",
        String(64),
        "the end user's address without its last part, until an erasure",
        CONSENTS,
        ADDRESS,
    ),
    _column("recorded", TIME, "when it was recorded", CONSENTS),
    Index("consents_of_number", "pseudonym", "application", "purpose"),
)

suppressions = Table(
    "suppressions",
    METADATA,
    _column("sequence", BigInteger, "its place in the ledger", SUPPRESSIONS, primary_key=True, autoincrement=False),
    _column("pseudonym", PSEUDONYM, "the number, as a pseudonym", SUPPRESSIONS),
    _column("application", NAME, "whose messages; * for all", SUPPRESSIONS),
    _column("scope", NAME, "which messages: all, marketing_only; frozen after fraud", SUPPRESSIONS),
    _column("lifted", Boolean, "whether this entry lifts it", SUPPRESSIONS),
    _column("source", NAME, "how we came to know", SUPPRESSIONS),
    _column("reason", String(200), "what was said of it, until an erasure", SUPPRESSIONS, WORDS),
    _column("until", TIME, "when it ends by itself; empty for never", SUPPRESSIONS, nullable=True),
    _column("recorded", TIME, "when it was recorded", SUPPRESSIONS),
    Index("suppressions_of_number", "pseudonym", "application", "scope"),
)

inbound = Table(
    "inbound",
    METADATA,
    _column(
        "id",
        NAME,
        "gateway and its own name of the message, hashed, which makes a repetition known",
        INBOUND,
        primary_key=True,
    ),
    _column("pseudonym", PSEUDONYM, "the number that wrote, as a pseudonym", INBOUND),
    _column("application", NAME, "whose message it answered; empty when that is not known", INBOUND),
    _column("gateway", NAME, "through which it came", INBOUND),
    _column("meaning", NAME, "stop, start, help or other; the text itself is not kept", INBOUND),
    _column("received", TIME, "when", INBOUND),
    Index("inbound_of_number", "pseudonym"),
    Index("inbound_by_age", "received"),
)

factors = Table(
    "factors",
    METADATA,
    _column("id", NAME, "identifier of the factor, which has the user's pseudonym in it", FACTORS, primary_key=True),
    _column("application", NAME, "whose user has it", FACTORS),
    _column("pseudonym", PSEUDONYM, "the user, as a pseudonym", FACTORS),
    _column("type", NAME, "totp: an authenticator app", FACTORS),
    _column("label", Text, "the user's name of it; empty once it is removed", FACTORS, SEALED),
    _column("secret", Text, "what its codes are made of; empty once it is removed", FACTORS, SEALED),
    _column("root_key", String(8), "id of the root key that sealed it; empty once it is removed", FACTORS),
    _column("algorithm", String(8), "how its codes are made: SHA1, SHA256, SHA512", FACTORS),
    _column("digits", BigInteger, "of a code", FACTORS),
    _column("period", BigInteger, "seconds that a code lasts", FACTORS),
    _column("last_step", BigInteger, "the last period whose code was accepted: none before it is again", FACTORS),
    _column("place", BigInteger, "the place in the ledger at which it was activated", FACTORS),
    _column("created", TIME, "when it was activated", FACTORS),
    _column("used", TIME, "when a code was accepted last", FACTORS, nullable=True),
    _column("removed", TIME, "when it was removed; empty until then", FACTORS, nullable=True),
    Index("factors_of_user", "pseudonym", "application"),
    Index("factors_by_key", "root_key"),
    Index("factors_by_removal", "removed"),
    Index("factors_by_place", "place"),
)

factor_changes = Table(
    "factor_changes",
    METADATA,
    _column("sequence", BigInteger, "its place in the ledger", FACTORS, primary_key=True, autoincrement=False),
    _column("factor", NAME, "identifier of the factor", FACTORS),
    _column("application", NAME, "whose user has it", FACTORS),
    _column("pseudonym", PSEUDONYM, "the user, as a pseudonym", FACTORS),
    _column("change", NAME, "activated, removed, resealed or step_reset", FACTORS),
    _column("reason", NAME, "why it was removed, in one word; empty where a code removed it", FACTORS),
    _column("recorded", TIME, "when", FACTORS),
    Index("factor_changes_of_user", "pseudonym", "application"),
    Index("factor_changes_by_age", "recorded"),
)

recovery_codes = Table(
    "recovery_codes",
    METADATA,
    _column("hash", String(22), "the code and the user, as a keyed hash", FACTORS, primary_key=True),
    _column("application", NAME, "whose user has it", FACTORS),
    _column("pseudonym", PSEUDONYM, "the user, as a pseudonym", FACTORS),
    _column("series", NAME, "random name of the codes that were made together", FACTORS),
    _column("made", TIME, "when", FACTORS),
    _column("ended", TIME, "when it was used, or its series replaced; empty until then", FACTORS, nullable=True),
    _column("used", Boolean, "whether it was used", FACTORS),
    Index("recovery_codes_of_user", "pseudonym", "application"),
    Index("recovery_codes_by_end", "ended"),
)

applications = Table(
    "applications",
    METADATA,
    _column("name", NAME, "name of the application", ACCESS, primary_key=True),
    _column("settings", Text, "its section as in a configuration file: JSON", ACCESS),
    _column("created", TIME, "when it was made", ACCESS),
    _column("changed", TIME, "when it was changed last", ACCESS),
)

api_keys = Table(
    "api_keys",
    METADATA,
    _column("id", NAME, "name of the key, which is no secret", ACCESS, primary_key=True),
    _column("application", NAME, "whose it is", ACCESS),
    _column("hash", String(71), "SHA-256 of the key", ACCESS, unique=True),
    _column("scopes", String(64), "what it may do, with blanks between", ACCESS),
    _column("addresses", Text, "networks that it may be used from, with blanks between; empty for all", ACCESS),
    _column("created", TIME, "when it was made", ACCESS),
    _column("expires", TIME, "when it ends, such as after a rotation; empty for never", ACCESS, nullable=True),
    _column("revoked", TIME, "when it was revoked; empty until then", ACCESS, nullable=True),
    _column("used", TIME, "when it was used last, to the minute; empty until then", ACCESS, nullable=True),
    Index("api_keys_of_application", "application"),
)

console_users = Table(
    "console_users",
    METADATA,
    _column("name", NAME, "with which somebody signs in to the console", ACCESS, OPERATOR, primary_key=True),
    _column("role", NAME, "what his work is", ACCESS),
    _column("applications", Text, "those that he may see, with blanks between; empty for all", ACCESS),
    _column("password", String(200), "Argon2id of the password; empty until the invitation is accepted", ACCESS),
    _column("secret", Text, "of his authenticator app; empty until then", ACCESS, SEALED),
    _column("last_step", BigInteger, "the last period whose code was accepted: none before it is again", ACCESS),
    _column("version", BigInteger, "how often something was changed that ends sessions", ACCESS),
    _column("invitation", String(64), "SHA-256 of the invitation; empty without one", ACCESS),
    _column("invited_until", TIME, "until when it may be accepted", ACCESS),
    _column("created", TIME, "when he was invited first", ACCESS),
    _column("used", TIME, "when he signed in last; empty until then", ACCESS, nullable=True),
    _column("disabled", TIME, "when he was disabled; empty until then", ACCESS, nullable=True),
)

looks = Table(
    "looks",
    METADATA,
    _column("id", NAME, "random name", ACCOUNTABILITY, primary_key=True),
    _column("at", TIME, "when somebody looked", ACCOUNTABILITY),
    _column("by", NAME, "who: the name of a user of the console", ACCOUNTABILITY, OPERATOR),
    _column("view", NAME, "at which page", ACCOUNTABILITY),
    _column("pseudonym", PSEUDONYM, "the number that was looked at, as a pseudonym", ACCOUNTABILITY),
    _column("reason", String(200), "what was said of it, until an erasure", ACCOUNTABILITY, WORDS),
    Index("looks_at_number", "pseudonym", "at"),
    Index("looks_by_age", "at"),
)

second_person_requests = Table(
    "second_person_requests",
    METADATA,
    _column("id", NAME, "random name", ACCOUNTABILITY, primary_key=True),
    _column("at", TIME, "when it was asked for", ACCOUNTABILITY),
    _column("by", NAME, "who asked: the name of a user of the console", ACCOUNTABILITY, OPERATOR),
    _column("act", NAME, "what is to be done: erase, unfreeze or lift a suppression", ACCOUNTABILITY),
    _column("pseudonym", PSEUDONYM, "the number that it is about, as a pseudonym", ACCOUNTABILITY),
    _column("application", NAME, "within which; * for all", ACCOUNTABILITY),
    _column("reason", String(200), "why, until an erasure", ACCOUNTABILITY, WORDS),
    _column("decided", TIME, "when a second person decided; empty until then", ACCOUNTABILITY, nullable=True),
    _column("decided_by", NAME, "who did; empty until then", ACCOUNTABILITY, OPERATOR),
    _column("outcome", NAME, "done or declined, taken while it is done; empty until then", ACCOUNTABILITY),
    Index("second_person_requests_of_number", "pseudonym", "at"),
    Index("second_person_requests_by_age", "at"),
)

endpoints = Table(
    "endpoints",
    METADATA,
    _column("id", NAME, "random name", ACCESS, primary_key=True),
    _column("application", NAME, "whose it is", ACCESS),
    _column("url", Text, "where webhooks go", ACCESS),
    _column("types", Text, "types and groups of types that it is told, with blanks between", ACCESS),
    _column("secret", Text, "the secret of signatures, sealed; empty once it is removed", ACCESS),
    _column("previous", Text, "the one before the last rotation, sealed; empty without one", ACCESS),
    _column("previous_until", TIME, "until when both sign", ACCESS),
    _column("status", NAME, "whether it is sent to, or why not", ACCESS),
    _column("failing_since", TIME, "since when every try failed; empty while they do not", ACCESS, nullable=True),
    _column("latency", BigInteger, "milliseconds of its calls while it is slow, else empty", ACCESS, nullable=True),
    _column("sequence", BigInteger, "how many webhooks it has had", ACCESS),
    _column("created", TIME, "when it was made", ACCESS),
    _column("removed", TIME, "when it was removed; empty until then", ACCESS, nullable=True),
    Index("endpoints_of_application", "application"),
)

webhooks = Table(
    "webhooks",
    METADATA,
    _column("id", NAME, "name of the webhook, from that of the event or random", WEBHOOKS, primary_key=True),
    _column("application", NAME, "who is told", WEBHOOKS),
    _column("type", NAME, "what it tells", WEBHOOKS),
    _column("verification", NAME, "identifier of the verification; empty for none", WEBHOOKS),
    _column("at", TIME, "when it happened", WEBHOOKS),
    _column("details", Text, "purpose, country, channel, reason …: JSON, never a number or a code", WEBHOOKS),
    _column("user", NAME, "identifier of the application's user, a pseudonym; empty for none", WEBHOOKS, "pseudonym"),
    Index("webhooks_of_verification", "verification"),
    Index("webhooks_of_user", "user"),
    Index("webhooks_by_age", "at"),
)

deliveries = Table(
    "webhook_deliveries",
    METADATA,
    _column("id", NAME, "random name", WEBHOOKS, primary_key=True),
    _column("application", NAME, "who is told", WEBHOOKS),
    _column("webhook", NAME, "name of the webhook", WEBHOOKS),
    _column("endpoint", NAME, "name of the endpoint that it goes to", WEBHOOKS),
    _column("sequence", BigInteger, "its place among all webhooks of the endpoint", WEBHOOKS),
    _column("at", TIME, "when it happened", WEBHOOKS),
    _column("status", NAME, "what has become of it", WEBHOOKS),
    _column("tries", BigInteger, "how often it was tried since it was made, or replayed", WEBHOOKS),
    _column("next", TIME, "when it is tried next; while it is being tried, when another worker may", WEBHOOKS),
    _column("lease", TIME, "until when a worker is at it; 0 for none", WEBHOOKS),
    _column("attempts", Text, "the last tries: time, length, status of the answer, reason: JSON", WEBHOOKS),
    Index("webhook_deliveries_due", "endpoint", "status", "next"),
    Index("webhook_deliveries_in_flight", "endpoint", "lease"),
    Index("webhook_deliveries_of_webhook", "webhook"),
    Index("webhook_deliveries_of_application", "application", "at"),
    Index("webhook_deliveries_by_age", "at"),
)

proof_keys = Table(
    "proof_keys",
    METADATA,
    _column("kid", String(43), "thumbprint of the public key (RFC 7638)", HEAD, primary_key=True),
    _column("jwk", Text, "the public key: JSON (RFC 7517)", HEAD),
    _column("first", TIME, "when a process was first ready to sign proofs with it", HEAD),
    _column("retired", TIME, "when a process first did without it; empty while it is in use", HEAD, nullable=True),
)

erasures = Table(
    "erasures",
    METADATA,
    _column("id", NAME, "random name", ACCOUNTABILITY, primary_key=True),
    _column("pseudonym", PSEUDONYM, "the number, as a pseudonym", ACCOUNTABILITY),
    _column("application", NAME, "within which it was erased; * for all", ACCOUNTABILITY),
    _column(
        "place",
        BigInteger,
        "its place in the ledger: a consent that was given before loses its address and words",
        ACCOUNTABILITY,
    ),
    _column("reason", String(300), "why rows were kept", ACCOUNTABILITY),
    _column("kept", Text, "how many rows of each table: JSON", ACCOUNTABILITY),
    _column("erased", Text, "how many rows or values of each table: JSON", ACCOUNTABILITY),
    _column("at", TIME, "when", ACCOUNTABILITY),
    Index("erasures_of_number", "pseudonym"),
    Index("erasures_by_place", "place"),
)

purges = Table(
    "purges",
    METADATA,
    _column("id", NAME, "random name", AUDIT, primary_key=True),
    _column("class", NAME, "class of data", AUDIT, key="data"),
    _column("before", TIME, "what was older went", AUDIT),
    _column("rows", BigInteger, "how many", AUDIT, key="count"),
    _column("names", Text, "keys and digests of the rows, of consents and suppressions: JSON", AUDIT),
    _column("last_sequence", BigInteger, "number of the last entry of the audit chain that went; 0 for none", AUDIT),
    _column("link", String(64), "its link", AUDIT),
    _column("at", TIME, "when", AUDIT),
    _column("signature", String(88), "Ed25519, base64", AUDIT),
    Index("purges_by_age", "at"),
)

operator_actions = Table(
    "operator_actions",
    METADATA,
    _column("id", NAME, "random name", ACCOUNTABILITY, primary_key=True),
    _column("at", TIME, "when", ACCOUNTABILITY),
    _column("action", NAME, "what an operator did", ACCOUNTABILITY),
    _column(
        "by",
        NAME,
        "who did it: a login at a command line, or the name of an operator's API key",
        ACCOUNTABILITY,
        OPERATOR,
    ),
    _column("application", NAME, "whose it was; empty for nobody's, or all of them", ACCOUNTABILITY),
    _column(
        "about", NAME, "what it was done to: the name of a key, a kind of thing; or what came of it", ACCOUNTABILITY
    ),
    Index("operator_actions_by_age", "at"),
)

audit = Table(
    "audit",
    METADATA,
    _column("sequence", BigInteger, "its place in the chain", AUDIT, primary_key=True, autoincrement=False),
    _column("at", TIME, "when", AUDIT),
    _column("table", NAME, "of which table's row it is", AUDIT),
    _column(
        "row", NAME, "the row's key, such as the name of a user of the console; of a factor its place", AUDIT, OPERATOR
    ),
    _column("digest", String(64), "SHA-256 of what the row held, without what an erasure takes", AUDIT),
    _column("link", String(64), "SHA-256 over this entry and the link before it", AUDIT),
    Index("audit_of_row", "table", "row"),
)

audit_heads = Table(
    "audit_heads",
    METADATA,
    _column("sequence", BigInteger, "how far the chain had come", AUDIT, primary_key=True, autoincrement=False),
    _column("ledger", String(32), "name of the ledger then", AUDIT),
    _column("link", String(64), "the link of that entry", AUDIT),
    _column("at", TIME, "when it was signed", AUDIT),
    _column("signature", String(88), "Ed25519, base64", AUDIT),
    _column("exported", TIME, "when it was exported; empty until then", AUDIT, nullable=True),
)
