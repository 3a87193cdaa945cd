"""Lines that are handed out: to a file, to a socket of syslog, over the network."""

import re
import resource
import socket
from pathlib import Path

import pytest

from otp_service.telemetry.logging import audit_line_writer

LINE = '{"sequence":7,"link":"ab"}'


def handed_out(place: str) -> None:
    outlet = audit_line_writer(place)
    assert outlet
    outlet(LINE)


def test_a_file_grows_by_a_line_each_and_is_written_by_nobody_else(tmp_path: Path):
    file = tmp_path / "heads.jsonl"
    for _ in range(2):
        handed_out(f"file:{file}")

    assert file.read_text() == f"{LINE}\n{LINE}\n"
    assert file.stat().st_mode & 0o137 == 0


def test_a_line_that_does_not_fit_leaves_no_half_of_it(tmp_path: Path):
    file = tmp_path / "heads.jsonl"
    handed_out(f"file:{file}")
    before, most = file.read_text(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + len(LINE) // 2, most[1]))  # as when the disk is full
    try:
        with pytest.raises(OSError, match="No space left on device"):
            handed_out(f"file:{file}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)

    assert file.read_text() == before


def test_syslog_of_this_host_gets_a_message(tmp_path: Path):
    place = str(tmp_path / "log")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(place)
        handed_out(f"syslog:{place}")
        received = listener.recv(4096).decode()

    assert re.fullmatch(r"<\d+>1 - - otp-service - audit - (\{.+\})", received)[1] == LINE


def test_syslog_of_another_host_gets_the_same_over_udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(5)
        handed_out(f"syslog://127.0.0.1:{listener.getsockname()[1]}")

        assert listener.recv(4096).decode().endswith(f" audit - {LINE}")


@pytest.mark.parametrize("place", ["file:{}/none/heads.jsonl", "syslog:{}/nobody"])
def test_what_cannot_be_handed_out_is_told(tmp_path: Path, place: str):
    with pytest.raises(OSError, match="No such file or directory"):
        handed_out(place.format(tmp_path))


def test_without_a_place_there_is_no_outlet():
    assert audit_line_writer("") is None
