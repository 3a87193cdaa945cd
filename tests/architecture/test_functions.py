"""A function fits a screen."""

import ast
import statistics

from support_sources import modules

FUNCTION_LINES = 60
MEDIAN_FUNCTION_LINES = 10


def _functions():
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path}:{node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def test_a_function_fits_a_screen():
    assert {name: lines for name, lines in _functions() if lines > FUNCTION_LINES} == {}


def test_most_functions_are_shorter_than_a_paragraph():
    assert statistics.median(lines for _, lines in _functions()) <= MEDIAN_FUNCTION_LINES
