"""The page's program of docs/browser.md, against the service."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support_api import START, Api
from support_forgetful import Forgetful, forgetful
from support_installation import NUMBER, World, tree
from support_sources import ROOT

DOCUMENT = (ROOT / "docs" / "browser.md").read_text(encoding="utf-8")
(STARTED,) = map(json.loads, re.findall(r"^```json\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL))
(PROGRAM,) = re.findall(r"^```javascript\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
_ASK = """
const [name, verification, ...rest] = process.argv.slice(2);
const told = await { read, check, resend }[name](JSON.parse(verification), ...rest).catch((error) => ({ ...error }));
console.log(JSON.stringify(told));
"""

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")


@pytest.fixture
def api(real_world: World) -> Api:
    shop = tree(real_world.url)["applications"]["shop"]
    origins = [STARTED["client_token"]["origin"]]
    return Api(real_world, applications={"shop": {**shop, "browser_origins": origins}})


def _ask(folder: Path, proxy: Forgetful, *call: str) -> dict[str, Any]:
    """Make a call of the program, which waits milliseconds instead of seconds."""
    script = folder / "page.mjs"
    script.write_text(PROGRAM.replace("https://otp.example", proxy.address).replace("1000 *", "1 *") + _ASK)
    run = subprocess.run(["node", script, *call], capture_output=True, text=True, timeout=60, check=True)
    return dict(json.loads(run.stdout))


def test_the_page_reads_and_checks_and_a_lost_answer_costs_no_guess(api: Api, tmp_path: Path):
    started = api.post(START, STARTED | {"to": NUMBER}).json
    page = json.dumps({"id": started["id"], "token": started["client_token"]})
    with forgetful(api.app) as proxy:
        early = _ask(tmp_path, proxy, "resend", page)
        wrong = _ask(tmp_path, proxy, "check", page, api.wrong(started["id"]))
        right = _ask(tmp_path, proxy, "check", page, api.code(started["id"]))
        read = _ask(tmp_path, proxy, "read", page)
        foreign = _ask(tmp_path, proxy, "read", page.replace("ct_", "ct_x"))

    assert (early["code"], early["status"]) == ("resend-too-soon", 429)
    assert (wrong["reason"], wrong["checks_left"]) == ("wrong_code", 4)
    assert right["valid"]
    assert read["status"] == "approved"
    assert foreign["code"] == "unauthenticated"
    assert [proxy.keys.count(key) for key in dict.fromkeys(proxy.keys)] == [2, 2, 2]
