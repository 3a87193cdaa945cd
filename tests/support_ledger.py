"""A ledger for tests that are about something else: one for the whole process, in a folder that goes with it."""

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from otp_service.ledger.database import Database
from otp_service.ledger.upgrade import upgrade

VARIABLE = "OTP_SERVICE__LEDGER__URL"


def make_ledger(url: str) -> None:
    """Make the tables."""
    database = Database(url, 30.0)
    upgrade(database)
    database.close()


@cache
def shared_ledger() -> str:
    """Return the address of a ledger that all tests of a process share: their numbers have pseudonyms of their own."""
    folder = Path(tempfile.mkdtemp(prefix="otp-service-ledger-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    url = f"sqlite:///{folder / 'ledger.db'}"
    make_ledger(url)
    return url


def use_shared_ledger() -> None:
    """Let the processes that are started from now on use it too, unless they are told of another one."""
    os.environ[VARIABLE] = shared_ledger()
