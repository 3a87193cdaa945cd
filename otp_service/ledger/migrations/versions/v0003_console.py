"""Make the tables of the console: its users, what they looked at, and what waits for a second person."""

from alembic import op
from sqlalchemy import BigInteger, Column, String, Text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
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
