"""Makes docs/guarantees.md, guarantees and threats with their tests, from docs/guarantees.toml: ``make docs``."""

import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "docs" / "guarantees.toml"
DOCUMENT = ROOT / "docs" / "guarantees.md"
HEAD = """\
# Guarantees

Made by `make docs` from [`guarantees.toml`](guarantees.toml). Further guarantees are in the
[README](../README.md#guarantees) and the [requirements](compliance/requirements.md).

| guarantee | proof |
|---|---|
"""
THREATS = """
## Threats

Of the [security model](security-model.md#threats).

| threat | proof |
|---|---|
"""


def document() -> str:
    """Return the text of the page."""
    data = tomllib.loads(DATA.read_text(encoding="utf-8"))
    return HEAD + _rows(data["guarantees"], "says") + THREATS + _rows(data["threats"], "name")


def _rows(entries: list[dict[str, Any]], label: str) -> str:
    return "".join(f"| {entry[label]} | {', '.join(map(_link, entry['tests']))} |\n" for entry in entries)


def _link(test: str) -> str:
    path, _, name = test.partition("::")
    return f"[`{name}`](../{path})"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
