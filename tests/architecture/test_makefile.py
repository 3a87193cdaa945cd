"""What make installs: for running only what runs, for tests the tools too, and never silently."""

import os
import shutil
import subprocess

import pytest
from support_sources import ROOT

RUNNING = "install --no-compile --require-hashes -r requirements.lock -r requirements-build.lock"
WHEEL = "install --no-index --no-deps --no-build-isolation --force-reinstall ."
TOOLS = "install --no-compile --require-hashes -r requirements-dev.lock"


@pytest.fixture
def clone(tmp_path):
    """Return a folder with the Makefile, its locks, and a Python that notes what pip is asked for."""
    for path in (ROOT / "Makefile", *ROOT.glob("requirements*.lock")):
        shutil.copy(path, tmp_path)
    for name in ("pyproject.toml", "README.md", "LICENSE", "otp_service"):
        (tmp_path / name).touch()
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"
        'case "$2" in\n'
        '    venv) rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python; echo true >.venv/bin/otp-service\n'
        "          chmod +x .venv/bin/otp-service; echo venv >>asked;;\n"
        '    pip) shift 2; echo "$@" >>asked;;\n'
        "esac\n"
    )
    python.chmod(0o755)
    return tmp_path


def _asked(clone, target):
    """Return what was asked of pip, without its options of style, while a target was made."""
    (clone / "asked").write_text("")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "-j4", f"PYTHON={clone}/python", target]
    subprocess.run(command, cwd=clone, env=environ, check=True, stdin=subprocess.DEVNULL, timeout=60)
    return (clone / "asked").read_text().replace("--disable-pip-version-check ", "").splitlines()


def _change(path):
    made = (path.parent / ".venv" / ".installed").stat().st_mtime
    os.utime(path, (made + 5, made + 5))


def test_running_installs_what_runs_and_no_tools_and_tells_what_it_does(clone):
    assert _asked(clone, "run") == ["venv", RUNNING, WHEEL]
    assert _asked(clone, "run") == []


def test_the_tools_join_what_runs_in_one_environment(clone):
    _asked(clone, "run")

    assert _asked(clone, "setup") == [TOOLS]
    assert _asked(clone, "setup") == _asked(clone, "run") == []


def test_from_nothing_the_tools_come_last_also_when_make_does_things_at_once(clone):
    assert _asked(clone, "setup") == ["venv", RUNNING, WHEEL, TOOLS]


def test_a_changed_lock_of_tools_starts_anew_and_matters_to_nobody_who_has_none(clone):
    _asked(clone, "run")
    _change(clone / "requirements-dev.lock")
    assert _asked(clone, "run") == []

    _asked(clone, "setup")
    _change(clone / "requirements-dev.lock")
    assert _asked(clone, "setup")[:4] == ["venv", RUNNING, WHEEL, TOOLS]


def test_a_changed_source_makes_the_wheel_alone(clone):
    _asked(clone, "setup")
    _change(clone / "pyproject.toml")

    assert _asked(clone, "run") == [WHEEL]
