"""How the tables are created.

Until 1.0 there is one step. A change of the tables edits it and `FORMAT`: a release reads its own format only.
"""

from typing import Final

FORMAT: Final = "first_5"
"""Name of the tables' format, which Alembic records in the ledger."""
