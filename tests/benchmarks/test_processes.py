"""What benchmarks pass to the processes that they start."""

import json
import subprocess
import sys

from support_programs import program_environment
from support_sources import ROOT

PROGRAM = """
import sys, time
from contextlib import ExitStack
from pathlib import Path
from processes import Process

file = Path(sys.argv[1])
child = "import json, os, sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"
with ExitStack() as stack:
    Process.start(stack, [sys.executable, "-c", child, str(file)], {"OTP_SERVICE__HTTP__PORT": "8081"})
    deadline = time.monotonic() + 30
    while not (file.exists() and file.read_text().endswith("}")) and time.monotonic() < deadline:
        time.sleep(0.01)
"""


def test_settings_of_the_shell_do_not_reach_the_services_under_test(tmp_path):
    file = tmp_path / "environment.json"
    shell = {
        "OTP_SERVICE__HTTP__PORT": "1",
        "OTP_SERVICE__REDIS__URL": "redis://elsewhere/0",
        "OTP_SERVICE_ROOT_KEYS": "k",
    }
    others = {name: value for name, value in program_environment().items() if not name.startswith("OTP_SERVICE")}
    environment = {**others, **shell, "PYTHONPATH": str(ROOT / "benchmarks")}
    subprocess.run([sys.executable, "-c", PROGRAM, file], env=environment, check=True, timeout=60)
    passed = json.loads(file.read_text())

    assert {name: value for name, value in passed.items() if name.startswith("OTP_SERVICE")} == {
        "OTP_SERVICE_ROOT_KEYS": "k",
        "OTP_SERVICE__HTTP__PORT": "8081",
    }, "only what the benchmark itself sets, and the keys"
