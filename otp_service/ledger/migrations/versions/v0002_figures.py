"""Make the tables of hourly stats, and what they need to know of verifications."""

from alembic import op
from sqlalchemy import BigInteger, Column, String

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them."""
    for name, length in (("channel", 64), ("carrier_range", 16), ("lane", 64)):
        op.add_column("verifications", Column(name, String(length), nullable=False, server_default=""))
    op.create_table(
        "hourly_stats",
        Column("hour", BigInteger, primary_key=True, autoincrement=False),
        *(Column(name, String(64), primary_key=True) for name in ("application", "purpose")),
        Column("country", String(2), primary_key=True),
        Column("carrier_range", String(16), primary_key=True),
        *(Column(name, String(64), primary_key=True) for name in ("channel", "gateway", "lane", "what", "reason")),
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
