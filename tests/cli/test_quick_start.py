"""No collections while modules are imported; afterwards as ever, in each process that lasts."""

import gc
import os
import subprocess
import sys

from support_cli import configured

from otp_service.cli.main import resume_garbage_collection

COMMAND = """
import atexit, gc, sys
from otp_service.cli import main

import_module = main.import_module

def imported(name):
    print(gc.isenabled())
    return import_module(name)

main.import_module = imported
atexit.register(lambda: print(gc.isenabled(), gc.get_freeze_count() > 0))
sys.argv = ["otp-service", "key", "new", "api"]
main.main()
"""
SERVED = """
import gc, multiprocessing, os, threading

def serve(address):
    from otp_service.cli import child_processes
    print(gc.isenabled(), flush=True)
    child_processes.load_application(address)
    print(gc.isenabled(), gc.get_freeze_count() > 0, flush=True)
    os._exit(0)

if __name__ == "__main__":
    from otp_service.cli.child_processes import ServerProcesses
    from otp_service.settings import load_settings
    assert gc.isenabled(), "only a server process holds them"
    processes = ServerProcesses(load_settings())
    threading.Thread(target=processes.accept, daemon=True).start()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(processes.address,))
    process.start()
    process.join()
"""


def printed(file, program, environ):
    file.write_text(program)
    others = {name: value for name, value in os.environ.items() if not name.startswith("OTP_SERVICE")}
    done = subprocess.run(
        [sys.executable, file], check=True, capture_output=True, text=True, env=others | environ, timeout=60
    )
    return [line for line in done.stdout.splitlines() if line.split()[0] in {"True", "False"}]


def test_a_command_is_imported_without_collections_and_runs_with_them(tmp_path):
    assert printed(tmp_path / "command.py", COMMAND, {}) == ["False", "True True"]


def test_a_server_process_is_imported_without_collections_and_serves_with_them(tmp_path, valkey):
    environ = configured(tmp_path, valkey.url, ledger={"url": f"sqlite:///{tmp_path / 'ledger.db'}"})
    assert printed(tmp_path / "served.py", SERVED, environ) == ["False", "True True"]


def test_where_collections_were_not_held_nothing_changes():
    frozen = gc.get_freeze_count()
    resume_garbage_collection()
    assert (gc.isenabled(), gc.get_freeze_count()) == (True, frozen)
