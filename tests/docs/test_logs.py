"""docs/logs.md lists every line that is logged, at its level, and no other."""

import ast
import re

from support_sources import ROOT, modules

TABLE = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8").split("## The lines\n", 1)[1].split("\n#", 1)[0]
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
"""Level of a line by the method that logs it; ``log`` takes it as a value, which is not looked at here."""


def _listed():
    """Return the levels of each line that the table lists: what follows its name, or those that need not be said."""
    cells = [line.strip("|").split("|")[0] for line in TABLE.splitlines() if line[:2] == "| "]
    found = [one for cell in cells for one in re.findall(rf"`(\w+)`((?:,? (?:or )?(?:{'|'.join(LEVELS)}))*)", cell)]
    return {event: told or ("error" if event.endswith("_defect") else "info") for event, told in found}


def _calls():
    """Yield each call that logs, with the module that it is in."""
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_log(node.func.value):
                yield path, tree, node


def _is_log(node):
    """Tell whether it is a module's logger, or one that is made where it is used."""
    if isinstance(node, ast.Call):
        return ast.unparse(node) == "get_logger(__name__)"
    return isinstance(node, ast.Name) and node.id == "_log"


def _events(tree, node):
    """Return the names that an expression may stand for; of one that is put together its beginning, and an asterisk."""
    match node:
        case ast.Constant(value=str(name)):
            return {name}
        case ast.IfExp(body=body, orelse=orelse):
            return _events(tree, body) | _events(tree, orelse)
        case ast.JoinedStr(values=[ast.Constant(value=str(beginning)), *_]):
            return {f"{beginning}*"}
        case ast.Name(id=name):
            values = [one.value for one in ast.walk(tree) if isinstance(one, ast.Assign) and _assigns(one, name)]
            return set().union(*(_events(tree, value) for value in values))
    return set()


def _assigns(node, name):
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def _logged():
    """Yield each line's name, and its level; no level where that depends."""
    for _, tree, call in _calls():
        event = call.args[1 if call.func.attr == "log" else 0]
        for name in _events(tree, event):
            yield name, LEVELS.get(call.func.attr)


def test_every_line_that_is_logged_is_listed_and_no_other():
    listed = set(_listed())
    logged = {name for name, _ in _logged()}
    built = tuple(name[:-1] for name in logged if name.endswith("*"))

    assert len(logged) > 50
    assert {name for name in logged if not name.endswith("*")} == {one for one in listed if not one.startswith(built)}
    assert all(any(one.startswith(beginning) for one in listed) for beginning in built)


def test_a_line_is_listed_at_the_level_at_which_it_is_logged():
    listed = _listed()

    assert [name for name, level in _logged() if level and level not in listed[name]] == []


def test_every_line_is_logged_in_a_way_that_these_tests_find():
    named = [(path, call.func.value) for path, _, call in _calls() if isinstance(call.func.value, ast.Name)]
    found = {(path, log.lineno, log.col_offset) for path, log in named}
    used = {
        (path, node.lineno, node.col_offset)
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and _is_log(node) and isinstance(node.ctx, ast.Load)
    }

    assert used == found
    assert all(_events(tree, call.args[1 if call.func.attr == "log" else 0]) for _, tree, call in _calls())


def test_the_log_of_a_module_has_the_name_that_these_tests_look_for():
    made = {
        ast.unparse(node.targets[0])
        for _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and "get_logger(__" in ast.unparse(node)
    }

    assert made == {"_log"}
