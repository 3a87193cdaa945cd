"""A server that speaks Redis' protocol and answers every command with the same line."""

import socket
import threading
from typing import Self

import hiredis


class OneLineServer:
    """Answers ``line`` to whatever it is asked; what a client says of itself is welcome. Counts connections."""

    def __init__(self, line: str) -> None:
        self._line = line.encode() + b"\r\n"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._taken: list[socket.socket] = []
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    @property
    def connections(self) -> int:
        return len(self._taken)

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for each in (self._listener, *self._taken):
            each.close()

    def _listen(self) -> None:
        while True:
            try:
                taken, _ = self._listener.accept()
            except OSError:
                return
            self._taken.append(taken)
            threading.Thread(target=self._answer, args=(taken,), daemon=True).start()

    def _answer(self, taken: socket.socket) -> None:
        reader = hiredis.Reader(notEnoughData=Ellipsis)
        try:
            while data := taken.recv(65536):
                reader.feed(data)
                while (command := reader.gets()) is not Ellipsis:
                    taken.sendall(b"+OK\r\n" if command[0] == b"CLIENT" else self._line)
        except OSError:
            return
