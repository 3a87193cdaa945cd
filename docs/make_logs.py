"""Makes docs/log-lines.md, every line that the code logs, from its calls of loggers and log-lines.toml: ``make docs``.

The tests fail when the document is not what this makes.
"""

import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import cast

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "otp_service"
DOCUMENT = ROOT / "docs" / "log-lines.md"
MEANINGS = tomllib.loads((ROOT / "docs" / "log-lines.toml").read_text(encoding="utf-8"))
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
"""Levels by the methods that log; ``log`` takes the level as a value."""
HEAD = """\
# Lines of the log

Made by `make docs` from the code and [`log-lines.toml`](log-lines.toml). See also [logs and events](logs.md).

A line that ends in `_defect` is a bug (report it), or is in a gateway or policy of your own. The action is retried; a
reload keeps the old settings. Lines without a meaning record what was done. Members that name the request, verification
or dispatch are left out.

| line | level | members | means |
|---|---|---|---|
"""


@cache
def modules() -> tuple[tuple[Path, ast.Module], ...]:
    """Return each Python module of the package: its path below the package, and its syntax tree."""
    return tuple((path.relative_to(PACKAGE), ast.parse(path.read_text())) for path in sorted(PACKAGE.rglob("*.py")))


def calls() -> Iterator[tuple[Path, ast.Module, ast.Call]]:
    """Yield each call that logs, with its module."""
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and is_log(node.func.value):
                yield path, tree, node


def is_log(node: ast.expr) -> bool:
    """Return whether it is a module's logger, or a logger made where it is used."""
    if isinstance(node, ast.Call):
        return ast.unparse(node) == "get_logger(__name__)"
    return isinstance(node, ast.Name) and node.id == "_log"


def lines_of(tree: ast.Module, call: ast.Call) -> set[str]:
    """Return the lines that a call may log; of a line put together its beginning and an asterisk."""
    return _names(tree, call.args[1 if _method(call) == "log" else 0])


def _method(call: ast.Call) -> str:
    return cast("ast.Attribute", call.func).attr


def _names(tree: ast.Module, node: ast.expr) -> set[str]:
    match node:
        case ast.Constant(value=str(name)):
            return {name}
        case ast.IfExp(body=body, orelse=orelse):
            return _names(tree, body) | _names(tree, orelse)
        case ast.JoinedStr(values=[ast.Constant(value=str(beginning)), *_]):
            return {f"{beginning}*"}
        case ast.Name(id=name):
            assigned = [each for each in ast.walk(tree) if isinstance(each, ast.Assign) and _assigns(each, name)]
            return set().union(*(_names(tree, each.value) for each in assigned))
    return set()


def _assigns(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def lines() -> dict[str, tuple[set[str], set[str]]]:
    """Return the levels and the members of each line; no level where it depends on what happened."""
    found: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for _, tree, call in calls():
        for name in lines_of(tree, call):
            levels, members = found[name]
            levels.update({LEVELS[_method(call)]} if _method(call) in LEVELS else ())
            members.update(keyword.arg for keyword in call.keywords if keyword.arg)
    return dict(found)


def document() -> str:
    """Return the text of the document."""
    return HEAD + "".join(_row(name, *of_line) for name, of_line in sorted(lines().items()))


def _row(name: str, levels: set[str], members: set[str]) -> str:
    further = members - {"request_id", "verification", "message", "dispatch", "dispatch_number", "exc_info"}
    shown = " ".join(f"`{member}`" for member in sorted(further))
    return f"| `{name}` | {', '.join(sorted(levels)) or 'varies'} | {shown} | {MEANINGS.get(name, '')} |\n"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
