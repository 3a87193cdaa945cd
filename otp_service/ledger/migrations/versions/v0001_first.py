"""Create all tables. No downgrade exists: no command drops what must not be lost."""

from alembic import op
from sqlalchemy import MetaData, PrimaryKeyConstraint, Table

from otp_service.ledger.migrations import FORMAT
from otp_service.ledger.partitions import PARTITIONED
from otp_service.ledger.schema import METADATA, audit, consents, factor_changes, operator_actions, suppressions

revision = FORMAT
down_revision = None
branch_labels = None
depends_on = None

_FIXED: dict[Table, tuple[str, ...]] = {
    consents: ("text_version", "source", "address_prefix"),
    suppressions: ("reason",),
    factor_changes: (),
    operator_actions: (),
    audit: (),
}
"""Tables whose rows never change, with the columns that an erasure may empty."""


def upgrade() -> None:
    """Create the tables, and triggers that refuse changes."""
    tables = MetaData()
    for table in METADATA.sorted_tables:
        table.to_metadata(tables)
    if op.get_bind().dialect.name == "postgresql":
        for name, moment in PARTITIONED.items():
            columns = tables.tables[name].c
            columns[moment.name].primary_key = True
            tables.tables[name].append_constraint(PrimaryKeyConstraint(columns.id, columns[moment.name]))
    tables.create_all(op.get_bind(), checkfirst=False)
    for table, erasable in _FIXED.items():
        _refuse_changes(table, erasable)


def _refuse_changes(table: Table, erasable: tuple[str, ...]) -> None:
    name = table.name
    fixed = (column.name for column in table.columns if column.name not in erasable)
    different = " OR ".join(f'NEW."{column}" IS DISTINCT FROM OLD."{column}"' for column in fixed)
    for column in erasable:
        different += f" OR (NEW.{column} <> OLD.{column} AND NEW.{column} <> '')"
    message = f"an entry of {name} is never changed, only followed by another"
    if op.get_bind().dialect.name == "sqlite":
        different = different.replace("IS DISTINCT FROM", "IS NOT")
        op.execute(
            f"CREATE TRIGGER {name}_fixed BEFORE UPDATE ON {name} WHEN {different} "
            f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
        )
        return
    op.execute(
        f"CREATE FUNCTION {name}_fixed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF {different} THEN RAISE EXCEPTION '{message}'; END IF; RETURN NEW; END $$"
    )
    op.execute(f"CREATE TRIGGER {name}_fixed BEFORE UPDATE ON {name} FOR EACH ROW EXECUTE FUNCTION {name}_fixed()")
