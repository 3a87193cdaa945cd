"""A Kannel of the tests' own: bearerbox and smsbox as they are packaged, and its own SMS centre that never sends."""

import contextlib
import re
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from support_service import eventually
from support_valkey import free_port

BEARERBOX, SMSBOX = Path("/usr/sbin/bearerbox"), Path("/usr/sbin/smsbox")
FAKESMSC = Path("/usr/lib/kannel/test/fakesmsc")
PASSWORD = "a-password-of-smsbox"
DENIED = "92399"
"""Numbers that begin so, after the plus, are refused by Kannel's own list."""

_CONFIGURATION = """
group = core
admin-port = {admin}
admin-interface = 127.0.0.1
admin-password = {password}
smsbox-port = {inner}
smsbox-interface = 127.0.0.1
box-allow-ip = 127.0.0.1
access-log = "{folder}/access.log"
log-level = 1

group = smsc
smsc = fake
smsc-id = fake
denied-smsc-id = operator
our-host = 127.0.0.1
host = 127.0.0.1
port = {centre}
connect-allow-ip = 127.0.0.1

group = smsc
smsc = smpp
smsc-id = operator
allowed-smsc-id = operator
host = 127.0.0.1
port = {operator}
transceiver-mode = true
smsc-username = kannel
smsc-password = secret
system-type = ""

group = smsbox
bearerbox-host = 127.0.0.1
sendsms-port = {outer}
sendsms-interface = 127.0.0.1
log-level = 1

group = sendsms-user
username = otp
password = {password}
max-messages = 3
concatenation = true
black-list-regex = "^[+]{denied}"

group = sms-service
keyword = default
catch-all = true
get-url = "{inbound}&from=%p&text=%b&charset=%C&id=%I"
omit-empty = true
max-messages = 3
concatenation = true
"""


def missing_part() -> str | None:
    """Return what is not installed."""
    return next((str(path) for path in (BEARERBOX, SMSBOX, FAKESMSC) if not path.exists()), None)


@dataclass(frozen=True)
class Caught:
    """What the SMS centre received: one segment, or one line of a text that has several."""

    sender: str
    to: str
    text: str


class Kannel:
    """Starts on construction; `stop` it."""

    def __init__(self, folder: Path, operator: int, inbound: str) -> None:
        """Connect to the SMS centre that comes with it, and over SMPP to that of an ``operator`` at a port.

        What people write goes to the address ``inbound``, which ends within its query.
        """
        self.folder = folder
        ports = dict(zip(("admin", "inner", "centre", "outer"), _free_ports(4), strict=True))
        self.url = f"http://127.0.0.1:{ports['outer']}/cgi-bin/sendsms"
        ports["operator"] = operator
        configuration = _CONFIGURATION.format(**ports, folder=folder, password=PASSWORD, denied=DENIED, inbound=inbound)
        file = folder / "kannel.conf"
        file.write_text(configuration)
        self._running: list[subprocess.Popen[bytes]] = []
        try:
            self._launch("bearerbox", [BEARERBOX, file], ports["inner"], ports["centre"])
            self._launch("smsbox", [SMSBOX, file], ports["outer"])
            # It writes on its own too, unless it is told to write no message at all.
            self._launch("fakesmsc", [FAKESMSC, "-H", "127.0.0.1", "-r", str(ports["centre"]), "-m", "0", "1 2 text x"])
            eventually(lambda: "fakesmsc starting" in self.log("fakesmsc"))
        except BaseException:
            self.stop()
            raise

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def caught(self) -> list[Caught]:
        """Return what has arrived so far."""
        found = re.findall(r"Got message \d+: <(\S+) (\S+) (text|ucs-2|udh) (.*)>", self.log("fakesmsc"))
        return [Caught(sender, to, _text(kind, content)) for sender, to, kind, content in found]

    def accounts(self) -> list[str]:
        """Return the accounts of the messages that it has sent: our ids of the dispatches."""
        return re.findall(r"^\S+ \S+ Sent SMS .*\[ACT:([^]]*)\]", self.log("access"), re.MULTILINE)

    def stop(self) -> None:
        for process in reversed(self._running):
            process.terminate()
        for process in reversed(self._running):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
            if process.poll() is None:
                process.kill()
                process.wait(5)

    def _launch(self, name: str, command: list[object], *ports: int) -> None:
        with (self.folder / f"{name}.log").open("wb") as output:
            process = subprocess.Popen([str(part) for part in command], stdout=output, stderr=output, cwd=self.folder)
        self._running.append(process)
        for port in ports:
            eventually(lambda port=port: self._listens(name, process, port))

    def _listens(self, name: str, process: subprocess.Popen[bytes], port: int) -> bool:
        assert process.poll() is None, self.log(name)
        with contextlib.closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        ports.add(free_port())
    return list(ports)


def _text(kind: str, content: str) -> str:
    if kind == "text":
        return content
    header, _, data = content.rpartition(" data ")
    return unquote_to_bytes(data.replace("+", " ")).decode("utf-16-be" if kind == "ucs-2" or header else "ascii")
