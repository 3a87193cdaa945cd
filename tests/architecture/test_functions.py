"""A function fits a screen."""

import ast

from support_sources import modules

FUNCTION_LINES = 60


def _functions():
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def test_a_function_fits_a_screen():
    assert {name: lines for name, lines in _functions() if lines > FUNCTION_LINES} == {}
