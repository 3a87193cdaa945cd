"""Tests of what is not installed everywhere."""

import os
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skip on a laptop, fail in CI: a proof that did not run is no proof there.

    Skips the whole module when it is being imported.
    """
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing", pytrace=False)
    pytest.skip(f"{what} is missing", allow_module_level=True)
