"""Makes the tables of errors in docs/errors.md and docs/migrate.md from the API's. By hand: ``make docs``."""

import re
from collections import defaultdict
from pathlib import Path

from otp_service.api.errors import PROBLEM_KINDS
from otp_service.api.twilio.errors import OWN_MEMBERS, error_for

DOCUMENT = Path(__file__).resolve().parent / "errors.md"
HEAD = "| code | status | when | what a caller does |\n|---|---|---|---|\n"
OF_TWILIO = Path(__file__).resolve().parent / "migrate.md"
HEAD_OF_TWILIO = "| code | status | of the API's errors |\n|---|---|---|\n"


def document(text: str) -> str:
    """Return the document, the rows below the table's head made anew; raises `ValueError` when that is not there."""
    rows = (f"| `{code}` | {kind.status} | {kind.when} | {kind.do} |\n" for code, kind in PROBLEM_KINDS.items())
    return _filled(text, HEAD, "".join(rows))


def of_twilio(text: str) -> str:
    """Return the document on Twilio's calls in the same way."""
    found = defaultdict[tuple[int, int], list[str]](list)
    for code in OWN_MEMBERS:
        error = error_for(code)
        found[error.code, error.status].append(f"`{code}`")
    rows = (f"| {code} | {status} | {', '.join(names)} |\n" for (code, status), names in sorted(found.items()))
    return _filled(text, HEAD_OF_TWILIO, "".join(rows))


def _filled(text: str, head: str, rows: str) -> str:
    before, found, after = text.partition(head)
    if not found:
        raise ValueError(f"There is no table of codes: {head}")
    return before + head + rows + re.sub(r"\A(\|.*\n)*", "", after)


if __name__ == "__main__":
    for path, make in ((DOCUMENT, document), (OF_TWILIO, of_twilio)):
        path.write_text(make(path.read_text(encoding="utf-8")), encoding="utf-8")
