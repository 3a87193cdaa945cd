"""The defects that `make mutants` puts into the scripts fit the scripts as they are now."""

import os
import subprocess
import sys

from support_sources import ROOT

MUTANTS = ROOT / "benchmarks" / "mutants"


def test_each_defect_fits_its_script():
    done = subprocess.run(
        [sys.executable, str(MUTANTS / "run.py"), "--check"],
        env={**os.environ, "PYTHONPATH": str(MUTANTS)},  # also where Python does not look beside a program
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
