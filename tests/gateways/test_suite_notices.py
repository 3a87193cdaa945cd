"""The contract suite can fail: it notices every promise that a gateway breaks.

That the same gateways pass unbroken is proven in ``test_contract.py``.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from otp_service.testing.samples import ExpectedRequest, parse_body

HERE = Path(__file__).parent
FAILED = re.compile(r"^FAILED \S*::(\w+)::(\w+)", re.MULTILINE)


TABLE = {"\\n": "\n", "\\\\": "\\"}


@pytest.mark.parametrize(
    ("rule", "charset", "written", "read"),
    [
        ("nothing", "utf-8", "Müller & 5%".encode(), "Müller & 5%"),
        ("nothing", "utf-16-be", "کوڈ".encode("utf-16-be"), "کوڈ"),
        ("nothing", "utf-8", b"\xff", None),
        ("xml", "utf-8", b"M&#252;ller &amp; 5&#x25; &lt;", "Müller & 5% <"),
        ("xml", "utf-8", b"<![CDATA[a & b]]>", "a & b"),
        ("xml", "utf-8", b"a & b", None),
        ("xml", "utf-8", b"a <b/> c", None),
        ("xml", "utf-8", b"&nbsp;", None),
        ("url", "utf-8", b"M%C3%BCller+%26%205%25", "Müller & 5%"),
        ("url", "utf-8", b"a & b", None),
        ("url", "utf-8", b"100%", None),
        ("json", "utf-8", rb"M\u00fcller \"5\n", 'Müller "5\n'),
        ("json", "utf-8", b'a "b" c', None),
        ("base64", "utf-8", b"YSAmIGI=", "a & b"),
        ("base64", "utf-8", b"a & b", None),
        ("hex", "utf-16-be", b"0061 0026", "a&"),
        ("hex", "utf-8", b"a & b", None),
        (TABLE, "utf-8", b"a\\nb\\\\c", "a\nb\\c"),
        (TABLE, "utf-8", b"a\nb", None),
        (TABLE, "utf-8", b"a\\b", None),
    ],
)
def test_a_part_of_a_body_is_read_back_by_the_rule_or_is_not_written_by_it(rule, charset, written, read):
    shown = ExpectedRequest(path="/", body="<t>(?P<text>.*)</t>", unescape=rule, charset=charset)
    body = b"<t>" + written + b"</t>"
    if read is None:
        with pytest.raises(ValueError):
            parse_body(shown, body)
    else:
        assert parse_body(shown, body) == {"text": read}
    assert parse_body(shown, b"<u></u>") is None


@pytest.fixture(scope="module")
def expected():
    """Return the tests that have to fail, by suite."""
    with pytest.MonkeyPatch.context() as path:
        path.syspath_prepend(HERE)
        spec = importlib.util.spec_from_file_location("broken_gateways", HERE / "broken_gateways.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return {(suite, test) for suite, tests in module.EXPECTED.items() for test in tests}


def test_every_broken_promise_is_noticed(expected):
    selected = [f"{HERE}/broken_gateways.py::{suite}::{test}" for suite, test in sorted(expected)]
    options = ["-q", "--tb=no", "-rf", "-p", "no:cacheprovider", "-o", f"pythonpath={HERE} {HERE.parent}"]
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *selected],
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert set(FAILED.findall(finished.stdout)) == expected
