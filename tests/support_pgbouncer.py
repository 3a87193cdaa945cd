"""PgBouncer in transaction mode before a PostgreSQL of the tests' own: on 127.0.0.1, gone with its folder."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from support_valkey import free_port

ASKED: bool = os.environ.get("OTP_SERVICE_TEST_PGBOUNCER") == "1"
"""Whether ledgers of tests are reached through it."""
_PROGRAM = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin")
_SETTINGS = """\
[databases]
* = host=127.0.0.1 port={server} user={user} password='{password}'
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
server_round_robin = 1
max_prepared_statements = 0
"""
"""Servers take turns, so that what a transaction leaves on one is not there for the next; older releases know no
prepared statements."""


class PgBouncer:
    """Starts on construction; `stop` it."""

    def __init__(self, folder: Path, user: str, password: str, server: int) -> None:
        assert _PROGRAM, "there is no PgBouncer"
        self.port = free_port()
        settings = folder / "pgbouncer.ini"
        settings.write_text(_SETTINGS.format(server=server, user=user, password=password, port=self.port))
        settings.chmod(0o644)
        other = ["setpriv", "--pdeathsig=INT"]
        if os.geteuid() == 0:
            other += [f"--reuid={user}", f"--regid={user}", "--init-groups"]
        with (folder / "pgbouncer.log").open("ab") as log:
            self._process = subprocess.Popen([*other, _PROGRAM, str(settings)], cwd=folder, stdout=log, stderr=log)
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
                return
            time.sleep(0.05)
        raise AssertionError((folder / "pgbouncer.log").read_text())

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30.0)
