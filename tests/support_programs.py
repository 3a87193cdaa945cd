"""Modules of folders that hold programs, and are on nobody's path."""

import os
import sys
from importlib import import_module
from types import ModuleType

from support_sources import ROOT


def programs_of(folder: str, *names: str) -> list[ModuleType]:
    """Import modules of such a folder, which import each other by their bare names."""
    sys.path.insert(0, str(ROOT / folder))
    try:
        return [import_module(name) for name in names]
    finally:
        sys.path.remove(str(ROOT / folder))


def program_environment() -> dict[str, str]:
    """Return an environment in which such a program finds the others of its folder, also where tests do not."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
