"""Makes the table of all codes in docs/errors.md from the problems of the API. By hand: ``make docs``."""

import re
from pathlib import Path

from otp_service.api.errors import PROBLEM_KINDS

DOCUMENT = Path(__file__).resolve().parent / "errors.md"
HEAD = "| code | status | when | what a caller does |\n|---|---|---|---|\n"


def document(text: str) -> str:
    """Return the document, the rows below the table's head made anew; raises `ValueError` when that is not there."""
    before, head, after = text.partition(HEAD)
    if not head:
        raise ValueError(f"There is no table of codes: {HEAD}")
    rows = (f"| `{code}` | {kind.status} | {kind.when} | {kind.do} |\n" for code, kind in PROBLEM_KINDS.items())
    return before + head + "".join(rows) + re.sub(r"\A(\|.*\n)*", "", after)


if __name__ == "__main__":
    DOCUMENT.write_text(document(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
