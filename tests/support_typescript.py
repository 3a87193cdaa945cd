"""The TypeScript client, built as `npm` builds it."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from support_missing import missing
from support_sources import ROOT

from otp_service.api.app import all_routes
from otp_service.api.docs import build_specification

CLIENT = ROOT / "clients" / "typescript"


def run(*command: Any, folder: Path = CLIENT, **variables: str) -> str:
    """Run a program to its end; return what it told. Fails, with that, when the program does."""
    environment = {**os.environ, **variables}
    done = subprocess.run(
        command, cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(folder: Path) -> Path:
    """Build package and tests in strict mode, beside types that a generator makes; return the specification's file."""
    if not shutil.which("node") or not (CLIENT / "node_modules" / "typescript").exists():
        missing("Node, and the tools of the TypeScript client (make test-clients)")
    specification = folder / "openapi.json"
    specification.write_text(json.dumps(build_specification(list(all_routes(with_metrics=True)))))
    run("npx", "openapi-typescript", specification, "--output", "test/openapi.d.ts")
    for built in ("dist", "build"):
        shutil.rmtree(CLIENT / built, ignore_errors=True)
    run("npm", "run", "--silent", "build")
    run("npm", "run", "--silent", "build-tests")
    return specification
