"""Hard stops behind the habits: a module under 250 lines, a Lua file under 80, a gateway under 120."""

import ast
import statistics

import pytest
from support_sources import LUA, PACKAGE, modules

MODULE_LINES = 300
GATEWAY_LINES = 150
LUA_LINES = 80
"""Comments and blank lines apart."""
FUNCTION_LINES = 60
MEDIAN_FUNCTION_LINES = 10


def _functions():
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("path", [path for path, _ in modules()], ids=str)
def test_a_module_is_short_enough_to_be_read_at_once(path):
    lines = len((PACKAGE / path).read_text().splitlines())

    assert lines <= (GATEWAY_LINES if path.parts[0] == "gateways" else MODULE_LINES)


@pytest.mark.parametrize("path", sorted(LUA.glob("*.lua")), ids=lambda path: path.name)
def test_a_script_is_short_enough_to_be_seen_through(path):
    code = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("--")]

    assert len(code) <= LUA_LINES


def test_a_function_fits_a_screen():
    assert {name: lines for name, lines in _functions() if lines > FUNCTION_LINES} == {}


def test_most_functions_are_shorter_than_a_paragraph():
    assert statistics.median(lines for _, lines in _functions()) <= MEDIAN_FUNCTION_LINES
