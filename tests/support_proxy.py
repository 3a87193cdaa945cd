"""The shipped configurations of proxies in a real HAProxy and nginx, in front of servers of this host."""

import contextlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import requests
from support_sources import ROOT
from support_valkey import free_port

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


@dataclass(frozen=True)
class Proxy:
    """Where it listens."""

    port: int
    metrics_port: int

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def metrics(self, beginning: str) -> list[float]:
        """Return the values of the series that begin so; none while it does not answer."""
        with contextlib.suppress(requests.ConnectionError):
            told = requests.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10).text
            return [float(line.split()[-1]) for line in told.splitlines() if line.startswith(beginning)]
        return []

    def is_up(self, place: int) -> bool:
        """Tell whether it passes starts and all the rest to one of the ports."""
        of = 'haproxy_server_status{proxy="%s",server="api%d",state="UP"}'
        return all(self.metrics(of % (backend, place)) == [1.0] for backend in ("starts", "api"))


@contextlib.contextmanager
def proxied_in_production(folder: Path, certificates: Path, ports: Sequence[int]) -> Iterator[Proxy]:
    """Run the proxy of production in front of ports, whose own port speaks TLS; ``metrics_port`` is its plain one."""
    proxy = Proxy(free_port(), free_port())
    ours = {
        r"bind :443 ssl crt \S+": f"bind 127.0.0.1:{proxy.port} ssl crt {certificates}",
        "bind :80\n": f"bind 127.0.0.1:{proxy.metrics_port}\n",
        "bind 127.0.0.1:8405": f"bind 127.0.0.1:{free_port()}",
        "user haproxy\n    group haproxy\n": "",
        "log /dev/log": "log 127.0.0.1",
        "inter 1s": "inter 100ms",
        **{rf"10\.0\.0\.1{place}:8080": f"127.0.0.1:{port}" for place, port in enumerate(ports, 1)},
    }
    with _running(folder, "haproxy-production.cfg", ours):
        yield proxy


@contextlib.contextmanager
def proxied(
    folder: Path, ports: Sequence[int], changes: Mapping[str, str] | None = None, console: int = 1
) -> Iterator[Proxy]:
    """Run a proxy in front of ports, and of a console's, which nobody has by default.

    Its configuration differs in addresses only, and in ``changes`` of its text.
    """
    proxy = Proxy(free_port(), free_port())
    servers = "\n    ".join(f"server api{place} 127.0.0.1:{port}" for place, port in enumerate(ports))
    ours = {
        "bind :8080": f"bind 127.0.0.1:{proxy.port}",
        "bind :8081": f"bind 127.0.0.1:{free_port()}",
        "bind :8405": f"bind 127.0.0.1:{proxy.metrics_port}",
        "server-template api 16 api:8080": servers,
        "server-template console 2 console:8082": f"server console 127.0.0.1:{console}",
        " resolvers engine resolve-prefer ipv4 init-addr none": "",
    }
    with _running(folder, "haproxy.cfg", ours | dict(changes or {})):
        yield proxy


@contextlib.contextmanager
def proxied_by_nginx(folder: Path, certificate: Path, port: int) -> Iterator[str]:
    """Run nginx in front of a port; yield its address, which speaks TLS."""
    own = free_port()
    server = _changed(
        "nginx.conf",
        {
            "listen 443 ssl": f"listen 127.0.0.1:{own} ssl",
            r"/etc/nginx/otp\.(crt|key)": str(certificate),
            "127.0.0.1:8080": f"127.0.0.1:{port}",
        },
    )
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    file = folder / "nginx.conf"
    file.write_text(f"daemon off; pid {folder}/pid; events {{}} http {{ access_log off; {places} {server} }}")
    with _process([NGINX, "-e", "/dev/null", "-c", file]):
        yield f"https://127.0.0.1:{own}"


@contextlib.contextmanager
def _running(folder: Path, name: str, changes: Mapping[str, str]) -> Iterator[None]:
    """Run HAProxy with a shipped configuration, some of whose text is changed."""
    file = folder / "haproxy.cfg"
    file.write_text(_changed(name, changes))
    with _process([HAPROXY, "-db", "-f", file]):
        yield


def _changed(name: str, changes: Mapping[str, str]) -> str:
    """Return a shipped configuration with other text in the place of patterns, each of which it has."""
    text = (ROOT / "config" / name).read_text()
    for pattern, other in changes.items():
        text, changed = re.subn(pattern, other, text)
        assert changed, pattern
    return text


@contextlib.contextmanager
def _process(command: Sequence[str | Path]) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)
