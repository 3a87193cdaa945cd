"""The tests run on what users install: the wheel, complete and built from these sources."""

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from support_sources import PACKAGE

import otp_service

INSTALLED = Path(otp_service.__file__).parent
SAMPLES = Path(__file__).parents[1] / "gateways" / "samples"
needs_wheel = pytest.mark.skipif(
    not os.environ.get("OTP_SERVICE_TEST_WHEEL"), reason="only `make` installs the wheel; this is another environment"
)


def _contents(package):
    return {
        path.relative_to(package).as_posix(): path.read_bytes()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@needs_wheel
def test_the_package_under_test_is_not_the_checkout():
    assert INSTALLED != PACKAGE
    assert INSTALLED.parent.name == "site-packages"


@needs_wheel
def test_processes_that_tests_start_run_on_the_wheel_too():
    program = "import otp_service; print(otp_service.__file__)"
    started = subprocess.run(
        [sys.executable, "-c", program], cwd=PACKAGE.parent, check=True, capture_output=True, text=True
    )

    assert Path(started.stdout.strip()).parent == INSTALLED


@needs_wheel
def test_the_wheel_holds_every_file_of_the_sources_and_no_other():
    installed, sources = _contents(INSTALLED), _contents(PACKAGE)

    assert sorted(installed) == sorted(sources)
    assert [name for name in sources if installed[name] != sources[name]] == []


def test_scripts_and_types_come_with_the_package():
    names = _contents(INSTALLED)

    assert "py.typed" in names
    assert {f"store/lua/{verb}.lua" for verb in ("start", "check", "resend", "cancel", "verification_read")} <= set(
        names
    )
    assert {f"messages/{locale}.toml" for locale in ("en", "ur", "ur-Latn", "ar")} <= set(names)


def test_every_gateway_that_has_samples_is_found_by_its_entry_point():
    entry_points = distribution("otp-service").entry_points.select(group="otp_service.gateways")
    sampled = {path.stem for path in SAMPLES.glob("*.toml")} - {"acme-xml"}  # of the suite's own test

    assert {entry.name: entry.load().kind for entry in entry_points} == {name: name for name in sampled}
