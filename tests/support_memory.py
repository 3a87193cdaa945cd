"""Folders in memory, for what tests write without caring whether it outlives the machine."""

import atexit
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - what is made there is a folder of its own
_ROOM = 2 * 1024**3
"""Octets that must be free there: containers often have next to nothing."""


def folder_in_memory(name: str) -> Path:
    """Return a new folder that goes with the process: on a disk each commit waits for it, and so does each database.

    It is on the disk where memory has too little room for files.
    """
    has_room = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= _ROOM
    folder = Path(tempfile.mkdtemp(prefix=f"otp-service-{name}-", dir=MEMORY if has_room else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
