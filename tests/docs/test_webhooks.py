"""The programs of the page on webhooks, as they stand there, verify what the service signs, and nothing else."""

import json
import re
import shutil
import subprocess
import time

import pytest
from support_missing import missing
from support_sources import ROOT

from otp_service.domain.webhooks import (
    DELAYS,
    GROUPS,
    TYPES,
    Webhook,
    WebhookType,
    new_webhook_secret,
    shown_secret,
    signature_headers,
)

PAGE = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
PACKAGES = ROOT / "tests" / "npm" / "node_modules"
OLD, NEW, OTHER = new_webhook_secret(), new_webhook_secret(), new_webhook_secret()
TOLD = Webhook("shop", WebhookType.VERIFICATION_APPROVED, 1_795_000_000_000, "vf_k1_00", {"country": "PK"})


def block(language):
    return re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[1]


def by_python(secret, body, headers):
    program = {}
    exec(block("python"), program)  # noqa: S102 - ours
    return program["receive"](secret, body, headers)


@pytest.fixture(scope="module")
def by_node(tmp_path_factory):
    if not shutil.which("node"):
        missing("Node")
    if not (PACKAGES / "standardwebhooks").is_dir():
        missing("npm's standardwebhooks (npm ci --prefix tests/npm)")
    folder = tmp_path_factory.mktemp("node")
    (folder / "node_modules").symlink_to(PACKAGES)
    (folder / "receive.mjs").write_text(block("javascript"))
    call = 'import { receive } from "./receive.mjs"; const [s, b, h] = JSON.parse(process.argv[2]);'
    (folder / "call.mjs").write_text(f"{call} console.log(JSON.stringify(receive(s, b, h)));")

    def receive(secret, body, headers):
        given = json.dumps([secret, body.decode(), headers])
        done = subprocess.run(
            ["node", "call.mjs", given], cwd=folder, capture_output=True, text=True, check=True, timeout=60
        )
        return json.loads(done.stdout)

    return receive


@pytest.fixture(params=["python", "node"])
def receive(request):
    return by_python if request.param == "python" else request.getfixturevalue("by_node")


def signed(*secrets, age=0):
    body = TOLD.body(17)
    return body, signature_headers(secrets, TOLD.id, int(time.time()) - age, body)


@pytest.mark.parametrize("mine", [OLD, NEW], ids=["old", "new"])
def test_either_secret_of_a_rotation_verifies(receive, mine):
    body, headers = signed(NEW, OLD)

    assert receive(shown_secret(mine), body, headers) == json.loads(body)


def test_what_is_forged_changed_or_old_is_refused(receive):
    body, headers = signed(NEW)
    for wrong in (
        (OTHER, body, headers),
        (NEW, body.replace(b"approved", b"canceled"), headers),
        (NEW, body, {**headers, "webhook-id": "wh_other"}),
        (NEW, body, {**headers, "webhook-signature": "v1"}),
        (NEW, *signed(NEW, age=301)),
        (NEW, body, {}),
    ):
        secret, text, given = wrong
        assert receive(shown_secret(secret), text, given) is None


def test_every_type_is_explained_and_no_other():
    table = PAGE.split("### Types\n", 1)[1].split("\n#", 1)[0]
    listed = {name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(.+?)`", row)}

    assert listed == TYPES
    assert {one.partition(".")[0] for one in listed} == GROUPS


def test_the_example_is_a_body_as_it_is_sent():
    example = json.loads(block("json"))
    sent = json.loads(TOLD.body(1))

    assert example.keys() == sent.keys()
    assert {"id", "sequence", "application", "verification"} <= example["data"].keys()


def test_the_schedule_is_the_one_that_is_told():
    minutes, hours = re.search(r"again after 5 seconds, 5 and (\d+) minutes, ([\d, and]+) hours", PAGE).groups()
    told = [0, 5, 300, 60 * int(minutes), *(3600 * int(one) for one in re.findall(r"\d+", hours))]

    assert tuple(told) == DELAYS
