"""How the tables came to be, one file a step."""

from typing import Final

STEPS: Final = ("0001", "0002", "0003", "0004")
"""The steps' names in order, for those who ask how far a ledger has come: Alembic would read them from the files."""
