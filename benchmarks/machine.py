"""On which machine a benchmark ran, and with which versions: figures mean little without."""

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

import redis

_PACKAGES = ("granian", "flask", "redis", "hiredis")


def describe(client: redis.Redis) -> str:
    """Return it as a sentence."""
    server = client.info("server")
    name, allocator = server.get("server_name", "redis"), client.info("memory")["mem_allocator"]
    packages = ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
    return (
        f"{_processor()}, {os.cpu_count()} cores that the load, the application and {name} share; "
        f"Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}, "
        f"{name} {server.get('valkey_version') or server['redis_version']} with {allocator}, {packages}."
    )


def _processor() -> str:
    """Return the processor's name, without what it counts as its own speed."""
    found = re.search(r"(?m)^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text())
    return re.sub(r"\s+", " ", found[1]).partition(" @")[0] if found else platform.machine()
