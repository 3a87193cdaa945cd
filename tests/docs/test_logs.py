"""docs/log-lines.md lists every line that is logged, and explains each warning and error."""

import ast
import runpy

from support_sources import ROOT, modules

MAKER = runpy.run_path(str(ROOT / "docs" / "make_logs.py"))
LINES = MAKER["lines"]()


def test_the_list_is_what_its_maker_makes():
    assert MAKER["document"]() == (ROOT / "docs" / "log-lines.md").read_text(encoding="utf-8"), "run make docs"
    assert len(LINES) > 50


def test_each_warning_and_error_is_explained_and_no_line_that_is_not_logged():
    explained = MAKER["MEANINGS"].keys()
    needed = {name for name, (levels, _) in LINES.items() if levels & {"warning", "error"}}

    assert {name for name in needed if not name.endswith("_defect")} - explained == set()
    assert explained - LINES.keys() == set()


def test_every_line_is_logged_in_a_way_that_the_maker_finds():
    calls = list(MAKER["calls"]())
    named = [(path, call.func.value) for path, _, call in calls if isinstance(call.func.value, ast.Name)]
    found = {(path, log.lineno, log.col_offset) for path, log in named}
    used = {
        (path, node.lineno, node.col_offset)
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id == "_log" and isinstance(node.ctx, ast.Load)
    }

    assert used == found
    assert all(MAKER["lines_of"](tree, call) for _, tree, call in calls)


def test_the_log_of_a_module_has_the_name_that_the_maker_looks_for():
    made = {
        ast.unparse(node.targets[0])
        for _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and "get_logger(__" in ast.unparse(node)
    }

    assert made == {"_log"}
