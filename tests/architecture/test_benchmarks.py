"""The programs in benchmarks/ are run by hand, long after a change: what they import has to be there all the same."""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from support_sources import ROOT

FOLDER = ROOT / "benchmarks"
PROGRAMS = sorted(FOLDER.rglob("*.py"))
SIBLINGS = {path.stem: path for folder in (FOLDER, FOLDER / "mutants", ROOT / "tests") for path in folder.glob("*.py")}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_what_a_program_imports_is_there(program: Path):
    missing = [f"{module}.{name}" for module, name in _imports(program) if not _is_there(module, name)]
    assert missing == []


def _imports(program: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(program.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, one.name) for one in node.names)


def _is_there(module: str, name: str) -> bool:
    if module in SIBLINGS:
        return name in _names(SIBLINGS[module])
    if not module.startswith("otp_service"):
        return True
    found = importlib.import_module(module)
    return hasattr(found, name) or importlib.util.find_spec(f"{module}.{name}") is not None


def _names(path: Path) -> set[str]:
    """Return the names that a module has at its top."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(one.asname or one.name).partition(".")[0] for one in node.names}
        elif isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        else:
            names |= {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
    return names
