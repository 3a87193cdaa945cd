"""An SMSC of the tests' own, written against the specification alone: it shares no line with what it tests.

SMPP 3.4, sections 3.2 (header), 4.1.1 (bind), 4.4.1 (submit_sm), 4.6.1 (deliver_sm). It answers as it is told.
"""

import contextlib
import itertools
import socket
import struct
import threading
import time
from dataclasses import dataclass

CUT = "cut"
"""Take the request and close the connection."""
SILENT = None


def wait_until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.005)


def decoded(layout, body):
    """Return the members of a body: ``z`` is a text that ends with a zero, ``1`` an octet, ``n`` octets so many."""
    members = {}
    for name, kind in layout:
        if kind == "z":
            end = body.index(0)
            members[name], body = body[:end].decode("ascii"), body[end + 1 :]
        elif kind == "1":
            members[name], body = body[0], body[1:]
        else:
            members[name], body = body[: members[kind]], body[members[kind] :]
    tlvs = {}
    while body:
        tag, length = struct.unpack(">HH", body[:4])
        tlvs[tag], body = body[4 : 4 + length], body[4 + length :]
        assert len(tlvs[tag]) == length
    return {**members, "tlvs": tlvs}


BIND = [
    ("system_id", "z"), ("password", "z"), ("system_type", "z"), ("interface_version", "1"),
    ("addr_ton", "1"), ("addr_npi", "1"), ("address_range", "z"),
]  # fmt: skip
MESSAGE = [
    ("service_type", "z"), ("source_addr_ton", "1"), ("source_addr_npi", "1"), ("source_addr", "z"),
    ("dest_addr_ton", "1"), ("dest_addr_npi", "1"), ("destination_addr", "z"), ("esm_class", "1"),
    ("protocol_id", "1"), ("priority_flag", "1"), ("schedule_delivery_time", "z"), ("validity_period", "z"),
    ("registered_delivery", "1"), ("replace_if_present_flag", "1"), ("data_coding", "1"), ("sm_default_msg_id", "1"),
    ("sm_length", "1"), ("short_message", "sm_length"),
]  # fmt: skip
BINDS = {1: "receiver", 2: "transmitter", 9: "transceiver"}


def deliver_body(text=b"", esm_class=4, data_coding=0, tlvs=b"", source=b"923001234567"):
    head = b"\0" + b"\1\1" + source + b"\0" + b"\0\0" + b"SHOP\0" + bytes((esm_class, 0, 0)) + b"\0\0"
    return head + bytes((0, 0, data_coding, 0, len(text))) + text + tlvs


def tlv(tag, value):
    return struct.pack(">HH", tag, len(value)) + value


@dataclass
class Submit:
    members: dict
    sequence: int
    connection: "Connection"

    def __getattr__(self, name):
        return self.members[name]


class Connection:
    def __init__(self, smsc, peer):
        self.smsc, self.socket = smsc, peer
        self.bound = None
        self._writing = threading.Lock()

    def send(self, command, status=0, sequence=0, body=b""):
        with self._writing, contextlib.suppress(OSError):
            self.socket.sendall(struct.pack(">IIII", 16 + len(body), command, status, sequence) + body)

    def raw(self, octets):
        with contextlib.suppress(OSError):
            self.socket.sendall(octets)

    def cut(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def serve(self):
        with self.socket, contextlib.suppress(OSError):
            while (header := self._read(16)) is not None:
                length, command, status, sequence = struct.unpack(">IIII", header)
                self.smsc.take(self, command, status, sequence, self._read(length - 16) or b"")
        self.smsc.lost(self)

    def _read(self, count):
        octets = b""
        while len(octets) < count:
            piece = self.socket.recv(count - len(octets))
            if not piece:
                return None
            octets += piece
        return octets


class Smsc:
    """It serves between entering and leaving. Hooks are plain attributes."""

    def __init__(self, wrap=lambda peer: peer):
        self.bind_status = 0
        """``None``: no answer."""
        self.answer = lambda _submit, number: (0, f"id-{number}")
        """Returns status and message id, `SILENT`, or `CUT`."""
        self.delay = 0.0
        self.alive = True
        """Whether it answers ``enquire_link``."""
        self.binds, self.submits, self.acks, self.commands, self.connections = [], [], [], [], []
        self.outstanding = self.most_outstanding = 0
        self._wrap, self._numbers, self._sequences = wrap, itertools.count(1), itertools.count(7_000)
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = str(self.port)

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self.connections):
            connection.cut()

    def again(self):
        """Start again on the same port after `stop`."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        return self.__enter__()

    @property
    def bound(self):
        return [connection for connection in self.connections if connection.bound]

    def deliver(self, body, connection=None):
        """Send a ``deliver_sm``; return its number."""
        sequence = next(self._sequences)
        (connection or self.bound[-1]).send(5, 0, sequence, body)
        return sequence

    def delivered(self, *bodies):
        """Send them all, and return the statuses they were acknowledged with."""
        sent = [self.deliver(body) for body in bodies]
        wait_until(lambda: set(sent) <= {sequence for sequence, _ in self.acks})
        return [dict(self.acks)[sequence] for sequence in sent]

    def take(self, connection, command, status, sequence, body):
        self.commands.append(command)
        if command in BINDS:
            self._take_bind(connection, command, sequence, body)
        elif command == 4:
            self._take_submit(connection, sequence, body)
        elif command == 0x80000005:
            self.acks.append((sequence, status))
            assert body == b"\0"
        elif command == 0x15 and self.alive:
            connection.send(0x80000015, 0, sequence)
        elif command == 6:
            connection.bound = None
            connection.send(0x80000006, 0, sequence)

    def lost(self, connection):
        with self._lock:
            self.connections.remove(connection)

    def _take_bind(self, connection, command, sequence, body):
        self.binds.append((BINDS[command], time.monotonic(), decoded(BIND, body)))
        if self.bind_status is not None:
            connection.send(command | 0x80000000, self.bind_status, sequence, b"" if self.bind_status else b"SMSC\0")
            connection.bound = BINDS[command] if self.bind_status == 0 else None

    def _take_submit(self, connection, sequence, body):
        submit = Submit(decoded(MESSAGE, body), sequence, connection)
        with self._lock:
            self.submits.append(submit)
            self.outstanding += 1
            self.most_outstanding = max(self.most_outstanding, self.outstanding)
            answer = self.answer(submit, next(self._numbers))
        if answer == CUT:
            connection.cut()
        elif answer is not SILENT:
            later = threading.Timer(self.delay, self._reply, (submit, *answer))
            later.daemon = True
            later.start() if self.delay else self._reply(submit, *answer)

    def _reply(self, submit, status, message_id):
        with self._lock:
            self.outstanding -= 1
        body = b"" if status else message_id.encode("latin-1") + b"\0"
        submit.connection.send(0x80000004, status, submit.sequence, body)

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._begin, args=(peer,), daemon=True).start()

    def _begin(self, peer):
        with contextlib.suppress(OSError):
            connection = Connection(self, self._wrap(peer))
            self.connections.append(connection)
            connection.serve()
