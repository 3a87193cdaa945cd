"""Every text of a page is translated, with the same values to fill in."""

import ast
import re
from pathlib import Path

import pytest
from support_console import Browser, new_person, sign_in

import otp_service.console
from otp_service.console.accounts import Role
from otp_service.console.app import VIEWS
from otp_service.console.language import catalogue
from otp_service.console.records import UserState
from otp_service.domain.guard import GUARD_RULES
from otp_service.services.mirror import MISMATCHES
from otp_service.services.operations import GATEWAY_WORDS, REDRIVE_WORDS, REFUSED_ACCOUNT

FOLDER = Path(otp_service.console.__file__).parent
SHOWN = (
    *("services/audit.py", "console/chain_verification.py", "services/explanations.py", "services/what_if.py"),
    "domain/phrases.py",
)
UNSHOWN = {"authentication", "checks", "commands"}
"""Modules of the console whose sentences no page shows."""
_CALL = re.compile(r"""_\(\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")
_SENTENCE = re.compile(r"(?:[A-Z]|\{\w+\})\S* .*[.]")
_BRACES = re.compile(r"\{\w+\}")


def texts() -> set[str]:
    """Return all texts of templates, those of views that templates translate, and what services say."""
    found = {one[1:-1] for page in FOLDER.glob("templates/*.html") for one in _CALL.findall(page.read_text())}
    found |= {*map(str, Role), *map(str, UserState), *(view.title for view in VIEWS if view.title)}
    found |= {*MISMATCHES.values(), *(rule.sentence for rule in GUARD_RULES.values())}
    modules = (module for module in FOLDER.glob("*.py") if module.stem not in UNSHOWN)
    found |= {text for module in modules for text in _sentences(ast.parse(module.read_text()))}
    found |= {*GATEWAY_WORDS.values(), REFUSED_ACCOUNT, *(f"{{count}} {words}" for words in REDRIVE_WORDS.values())}
    return found | {text for text in _phrases() if re.sub(_BRACES, "", text).strip(' "()')}


def _phrases() -> set[str]:
    """Return the texts of all phrases that stand in services which the console shows."""
    trees = (ast.parse((FOLDER.parent / one).read_text()) for one in SHOWN)
    calls = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call))
    texts = (node.args[0] for node in calls if getattr(node.func, "id", "") == "Phrase" and node.args)
    return {one.value for one in texts if isinstance(one, ast.Constant)}


def _sentences(tree: ast.AST) -> set[str]:
    """Return the texts of a module that are for people: neither docstrings nor what only logs and errors say."""
    silent = set()
    for node in ast.walk(tree):
        called = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Expr) or (called.endswith("Error") and called != "FormError"):
            silent |= {id(part) for part in ast.iter_child_nodes(node) if isinstance(part, ast.Constant)}
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent
        if _SENTENCE.fullmatch(node.value)
    }


@pytest.mark.parametrize("text", sorted(texts()))
def test_every_text_is_translated(text):
    assert text in catalogue("ur")


def test_translations_have_the_same_values_to_fill_in():
    assert [
        en for en, ur in catalogue("ur").items() if sorted(_BRACES.findall(en)) != sorted(_BRACES.findall(ur))
    ] == []


def test_somebody_chooses_his_language(console, installation):
    browser = sign_in(console, new_person(installation, "ayesha", Role.ADMIN))
    browser.get("/")
    browser.post("/language", language="ur")

    assert '<html lang="ur" dir="rtl">' in browser.get("/").text
    assert '<html lang="ur"' in Browser(console).get("/sign-in", **{"Accept-Language": "ur-PK"}).text
