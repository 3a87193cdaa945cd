"""Run by Alembic, over the connection that `otp_service.ledger.database` passes."""

from alembic import context

from otp_service.ledger.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
