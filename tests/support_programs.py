"""Modules of folders that hold programs, and are on nobody's path."""

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
