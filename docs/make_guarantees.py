"""Makes docs/guarantees.md, each guarantee with its tests, from docs/guarantees.toml. By hand: ``make docs``."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "docs" / "guarantees.toml"
DOCUMENT = ROOT / "docs" / "guarantees.md"
HEAD = """\
# Guarantees

Made by `make docs` from [`guarantees.toml`](guarantees.toml). Further guarantees are in the
[README](../README.md#guarantees), the tables of the [security model](security-model.md#threats) and the
[requirements](compliance/requirements.md).

| guarantee | proof |
|---|---|
"""


def document() -> str:
    """Return the text of the page."""
    guarantees = tomllib.loads(DATA.read_text(encoding="utf-8"))["guarantees"]
    return HEAD + "".join(f"| {row['says']} | {', '.join(map(_link, row['tests']))} |\n" for row in guarantees)


def _link(test: str) -> str:
    path, _, name = test.partition("::")
    return f"[`{name}`](../{path})"


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
