"""Make the column for what happened to a verification, where there is no row for each event."""

from alembic import op
from sqlalchemy import Column, Text

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make it."""
    op.add_column("verifications", Column("happened", Text, nullable=False, server_default=""))
