"""A pytest plugin: ``--mutant NAME`` runs the tests against a script with one defect."""

import pytest
from hypothesis import Phase, settings
from mutants import MUTANTS

from otp_service.store import scripts


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--mutant", help="name of the defect to put into the scripts")


def pytest_configure(config: pytest.Config) -> None:
    """Put the defect in before any script is loaded; a failing example need not be made small."""
    settings.register_profile("mutant", phases=[Phase.generate])
    settings.load_profile("mutant")
    name = config.getoption("--mutant")
    if name is None:
        return
    mutant, read = MUTANTS[name], scripts._read  # noqa: SLF001 - there is no other way in, and should be none
    scripts._read = lambda file: mutant.text() if file == mutant.file else read(file)  # noqa: SLF001
    scripts.library.cache_clear()
