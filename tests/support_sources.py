"""The project's own files, for tests that read them."""

import ast
import shutil
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "otp_service"
LUA = PACKAGE / "store" / "lua"
NOT_OURS = {
    ".git",
    ".otp-service",
    ".venv",
    ".venv-kubernetes",
    ".venv-load",
    "__pycache__",
    "build",
    "dist",
    "node_modules",
    "secrets",
    "wheelhouse",
}


@cache
def modules() -> tuple[tuple[Path, ast.Module], ...]:
    """Return each Python module of the package: its path below the package, and its syntax tree."""
    return tuple((path.relative_to(PACKAGE), ast.parse(path.read_text())) for path in sorted(PACKAGE.rglob("*.py")))


def committed_files() -> list[Path]:
    """Return the files that are, or are about to be, under version control."""
    git = shutil.which("git")
    if git and (ROOT / ".git").exists():
        listed = subprocess.run(
            [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]
    return [path for path in ROOT.rglob("*") if path.is_file() and not _hidden(path.relative_to(ROOT))]


def _hidden(path: Path) -> bool:
    return any(part in NOT_OURS or (part.startswith(".") and part.endswith("_cache")) for part in path.parts)
