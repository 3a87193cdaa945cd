"""The log lines as they are written."""

import ast
import io
import json
import logging
import re
import warnings

import pytest
import structlog
from support_sources import modules

from otp_service.telemetry import tracing
from otp_service.telemetry.logging import PlainLogger, Renderer, configure_logging, get_logger
from otp_service.telemetry.redaction import SafeText

NUMBER = "+923001234567"


@pytest.fixture(autouse=True)
def restored():
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    root.handlers[:], root.level = before
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def written():
    stream = io.StringIO()
    configure_logging("DEBUG", Renderer.JSON, stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object_with_its_time_in_utc(written):
    get_logger("otp_service.test").info("verification_started", country="PK", checks_left=5)

    (line,) = written()
    assert list(line)[:4] == ["timestamp", "level", "logger", "message"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    assert line == {
        "message": "verification_started",
        "level": "info",
        "logger": "otp_service.test",
        "country": "PK",
        "checks_left": 5,
    }


def test_the_number_of_a_message_stands_beside_what_the_line_says(written):
    get_logger("a").info("message_dropped", message=2, reason="superseded")

    (line,) = written()
    assert (line["message"], line["message_number"], line["reason"]) == ("message_dropped", 2, "superseded")


def test_none_of_our_lines_has_a_member_that_is_overwritten():
    ours = {"timestamp", "level", "logger", "event", "message_number"}
    members = [
        (str(path), keyword.arg)
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("_log.")
        for keyword in node.keywords
    ]

    assert ("services/delivery.py", "message") in members
    assert [member for member in members if member[1] in ours] == []


@pytest.mark.parametrize("name", ["redis", "granian.access", "urllib3.connectionpool", "someone.elses"])
def test_lines_of_libraries_take_the_same_way(written, name):
    logging.getLogger(name).warning("sending to %s", NUMBER)

    (line,) = written()
    assert (line["level"], line["logger"]) == ("warning", name)
    assert line["message"] == "sending to [redacted]"


@pytest.mark.parametrize("name", ["urllib3.connectionpool", "alembic.runtime"])
def test_libraries_do_not_write_down_their_requests_even_at_debug(written, name):
    logging.getLogger(name).debug("POST /send")

    assert written() == []


def test_warnings_are_logged_too(written):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(f"odd number {NUMBER}", stacklevel=1)

    (line,) = written()
    assert line["logger"] == "py.warnings"
    assert NUMBER not in str(line)


def _fail(code):
    local_text = f"Your code is {code}"
    raise ValueError(f"{NUMBER}\r\nforged line {len(local_text)}")


def test_an_exception_shows_where_but_neither_values_nor_its_text_in_full(written):
    try:
        _fail("493817")
    except ValueError:
        get_logger("a").exception("crashed", to=NUMBER)

    (line,) = written()
    assert "in _fail" in line["exception"]
    assert "ValueError: [redacted]" in line["exception"]
    assert line["to"] == "[redacted]"
    assert "493817" not in str(line)
    assert "3001234567" not in str(line)


@pytest.mark.parametrize("renderer", list(Renderer))
def test_no_text_makes_a_second_line(renderer):
    stream = io.StringIO()
    configure_logging("INFO", renderer, stream)

    get_logger("a").info("one\r\nINFO two", country="PK\n\u2028three")
    logging.getLogger("b").error("four\nfive\x85six")

    assert len(stream.getvalue().splitlines()) == 2


def test_on_a_terminal_a_traceback_is_indented_so_that_it_cannot_pass_for_lines():
    stream = io.StringIO()
    configure_logging("INFO", Renderer.CONSOLE, stream)

    try:
        _fail("493817")
    except ValueError:
        get_logger("a").exception("crashed")

    first, *rest = stream.getvalue().splitlines()
    assert "crashed" in first
    assert rest
    assert all(line.startswith("    ") for line in rest)
    assert NUMBER not in stream.getvalue()


def test_lines_below_the_level_are_not_written():
    stream = io.StringIO()
    configure_logging("warning", Renderer.JSON, stream)

    get_logger("a").info("quiet")
    logging.getLogger("b").info("quiet")
    get_logger("a").warning("loud")

    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["loud"]


def test_a_line_of_a_library_that_cannot_be_formatted_shows_none_of_its_arguments(capsys):
    stream = io.StringIO()
    configure_logging("DEBUG", Renderer.JSON, stream)  # here, so that no handler of the test runner fails first
    logging.getLogger("lib").warning("to %d", "+923001234567")

    line = json.loads(stream.getvalue())
    assert (line["message"], line["logger"]) == ("line_not_formatted", "lib")
    assert "923001234567" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("failure", [OSError("No space left on device"), ValueError("I/O operation on closed file")])
def test_a_line_that_cannot_be_written_fails_nobody(failure):
    class Full(io.StringIO):
        def write(self, _):
            raise failure

    configure_logging("INFO", Renderer.JSON, Full())

    get_logger("a").info("request")


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO, logging.WARNING])
@pytest.mark.parametrize(
    "value",
    [
        "shop",
        "rate-limited",
        NUMBER,
        "call 0300 1234567",
        'a "quoted" \\ one\nand another line',
        "آپ کا کوڈ 123456",
        "00:1795626552481-0",
        "otp_abcdefghijklmnopqrstuvwxyz",
        SafeText('/v1/verifications/<verification_id> "é"'),
        SafeText("rq_0123456789"),
        0,
        201,
        1.3,
        0.0,
        99_999,
        100_000,
        923001234567,
    ],
)
def test_a_plain_line_looks_like_any_other(written, monkeypatch, value, level, traced):
    monkeypatch.setattr(tracing, "trace_id", lambda: "4bf92f3577b34da6a3ce929d0e0e4736" if traced else "")
    members = {"status": value, "application": value, "request_id": SafeText("rq_1")}

    get_logger("otp_service.test").log(level, "request", **members)
    PlainLogger("otp_service.test").log(level, "request", **members)

    usual, plain = (list(line.items()) for line in written())
    assert plain[1:] == usual[1:]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", dict(plain)["timestamp"])


def test_plain_lines_are_written_as_text_byte_for_byte():
    usual, plain = io.StringIO(), io.StringIO()
    for stream, logger in ((usual, get_logger), (plain, PlainLogger)):
        configure_logging("INFO", Renderer.JSON, stream)
        logger("a").log(logging.INFO, "request", status=201, route=SafeText("/é"), application="آپ")

    (first, usual_rest), (_, plain_rest) = (one.getvalue().split(", ", 1) for one in (usual, plain))
    assert first.startswith('{"timestamp": "20')
    assert plain_rest == usual_rest


@pytest.mark.parametrize("renderer", Renderer)
def test_plain_lines_below_the_level_are_not_written(renderer):
    stream = io.StringIO()
    configure_logging("INFO", renderer, stream)
    PlainLogger("a").log(logging.DEBUG, "request", status=200)
    assert not stream.getvalue()
    PlainLogger("a").log(logging.INFO, "request", status=200)
    assert "request" in stream.getvalue()
