"""The contract suite can fail: it notices every promise that a gateway breaks.

That the same gateways pass unbroken is proven in ``test_contract.py``.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FAILED = re.compile(r"^FAILED \S*::(\w+)::(\w+)", re.MULTILINE)


@pytest.fixture(scope="module")
def expected():
    """Return the tests that have to fail, by suite."""
    with pytest.MonkeyPatch.context() as path:
        path.syspath_prepend(HERE)
        spec = importlib.util.spec_from_file_location("broken_gateways", HERE / "broken_gateways.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return {(suite, test) for suite, tests in module.EXPECTED.items() for test in tests}


def test_every_broken_promise_is_noticed(expected):
    selected = [f"{HERE}/broken_gateways.py::{suite}::{test}" for suite, test in sorted(expected)]
    options = ["-q", "--tb=no", "-rf", "-p", "no:cacheprovider", "-o", f"pythonpath={HERE} {HERE.parent}"]
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *selected],
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert set(FAILED.findall(finished.stdout)) == expected
