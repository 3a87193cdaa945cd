"""A release: the same packages each time, complete by themselves, and an image without rights."""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from email.parser import HeaderParser
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement
from support_cli import family, kill
from support_sources import ROOT, committed_files
from support_valkey import free_port

from otp_service import __version__

PACKAGED = re.compile(r"(otp_service/.+|pyproject\.toml|README\.md|LICENSE|requirements\.lock|Makefile|\.gitignore)")
INSTALL = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
WHEEL = f"otp_service-{__version__}-py3-none-any.whl"
CLIENT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "for-tests"
version = "1"
requires-python = ">=3"
"""
IMAGE = f"otp-service:{__version__}"
MEGABYTES = 170
"""Of all layers above the base, as they are unpacked."""
TAKEN_OUT = re.compile(r"&& ((?:rm|find) .+?) \\\n")
"""Commands of the Dockerfile that take out what is never imported."""
KEY = "a-key-for-tests"
JOURNEY = """
import re, sys, time
import requests

url, key = sys.argv[1:]
session = requests.Session()
session.headers["Authorization"] = f"Bearer {key}"

def until(act):
    end = time.monotonic() + 60
    while True:
        try:
            if found := act():
                return found
        except requests.ConnectionError:
            pass
        assert time.monotonic() < end
        time.sleep(0.1)

until(lambda: session.get(f"{url}/readyz").ok)
begun = session.post(f"{url}/v1/verifications", json={"to": "+923001234567"}).json()
(caught,) = until(lambda: session.get(f"{url}/v1/sandbox/messages?verification={begun['id']}").json())
code = re.search(r"\\d{6}", caught["text"])[0]
print(session.post(f"{url}/v1/verifications/{begun['id']}/check", json={"code": code}).json()["status"])
"""
SENDING = """
from otp_service.domain.messages import Message
from otp_service.gateways.base import GatewayContext, GatewayError, GATEWAY_KINDS

twilio = GATEWAY_KINDS.find("twilio")
senders = {"from": "+15005550006", "voice_from": "+15005550007", "whatsapp_from": "+15005550008"}
account = {"account_sid": "AC0123456789abcdef0123456789abcdef", "auth_token": "token-of-the-test"}
settings = twilio.Settings.model_validate({**account, **senders, "base_url": "http://127.0.0.1:1"})
gateway = twilio(settings, GatewayContext("main", production=False, mailbox=None, receipts=None, inbound=None))
for channel in ("sms", "voice", "whatsapp"):
    try:
        gateway.send(Message("+923001234567", "Your code is 482913.", channel, "en", 60, "dp_1", None, "vf_1", "shop"))
    except GatewayError as refused:
        print(refused.kind.value)
"""


def run(*command, cwd=None, **environ):
    """Run a command in the end; return what it wrote."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "OTP_SERVICE"))}
    done = subprocess.run(
        [str(one) for one in command], cwd=cwd, env=others | environ, check=False, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def make(folder, target):
    """Make a target with the tools that are here."""
    return run("make", "--assume-old=setup", f"VENV={sys.prefix}", target, cwd=folder)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """Return what makes a clone of what is packaged, with a client, whose files have another time and mode each."""
    if not shutil.which("git"):
        pytest.skip("needs git")

    def clone(age, mode):
        folder = tmp_path_factory.mktemp("clone")
        for path in committed_files():
            name = path.relative_to(ROOT).as_posix()
            if PACKAGED.fullmatch(name):
                copy = folder / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)
                copy.chmod(mode)
                os.utime(copy, (age, age))
        client = folder / "clients" / "python"
        client.mkdir(parents=True)
        (client / "pyproject.toml").write_text(CLIENT)
        (client / "for_tests.py").touch()
        run("git", "init", "-q", cwd=folder)
        run("git", "add", ".", cwd=folder)
        who = ("-c", "user.name=T", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
        run("git", *who, "commit", "-qm", "all", cwd=folder, GIT_COMMITTER_DATE="2026-11-29T12:00:00Z")
        return folder

    return clone


@pytest.fixture(scope="module")
def clone(checkout):
    """Return a clone in which packages were made."""
    folder = checkout(1_700_000_000, 0o644)
    make(folder, "packages")
    return folder


def sums(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_same_commit_makes_the_same_packages(clone, checkout):
    again = checkout(1_790_000_000, 0o600)
    make(again, "packages")

    assert sums(again / "dist") == sums(clone / "dist")


def test_packages_are_those_of_the_service_and_of_its_clients(clone):
    assert sums(clone / "dist").keys() == {
        WHEEL, f"otp_service-{__version__}.tar.gz", "for_tests-1-py3-none-any.whl", "for_tests-1.tar.gz",
        "requirements.lock",
    }  # fmt: skip


def test_files_in_packages_have_the_time_of_the_commit(clone):
    with ZipFile(clone / "dist" / WHEEL) as wheel:
        assert {one.date_time for one in wheel.infolist()} == {(2026, 11, 29, 12, 0, 0)}


def test_the_sdist_makes_the_wheel_and_has_nothing_else(clone, tmp_path):
    with tarfile.open(clone / "dist" / f"otp_service-{__version__}.tar.gz") as sdist:
        sdist.extractall(tmp_path, filter="data")
        times = {one.mtime for one in sdist.getmembers()}
    (folder,) = tmp_path.iterdir()

    run(
        Path(sys.executable).parent / "hatchling", "build", "--target", "wheel",
        cwd=folder, SOURCE_DATE_EPOCH=str(times.pop()),
    )  # fmt: skip

    assert (folder / "dist" / WHEEL).read_bytes() == (clone / "dist" / WHEEL).read_bytes()
    assert {path.name for path in folder.iterdir()} - {"dist"} == {
        ".gitignore", "LICENSE", "PKG-INFO", "README.md", "otp_service", "pyproject.toml",
    }  # fmt: skip


def test_what_is_not_committed_is_not_released(clone):
    make(clone, "committed")
    more = clone / "otp_service" / "more.py"
    more.touch()

    with pytest.raises(AssertionError, match="commit first"):
        make(clone, "committed")
    more.unlink()


def test_checksums_are_of_all_files_and_tell_a_changed_one(clone, tmp_path):
    shutil.copy(clone / "Makefile", tmp_path)
    shutil.copytree(clone / "dist", tmp_path / "dist")
    make(tmp_path, "checksums")
    make(tmp_path, "checksums")  # not of itself
    folder = tmp_path / "dist"
    names = {path.name for path in folder.iterdir()} - {"SHA256SUMS"}

    checked = run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=folder)
    assert checked.splitlines() == [f"{name}: OK" for name in sorted(names)]
    (folder / "requirements.lock").write_text("flask\n")
    with pytest.raises(AssertionError, match="1 computed checksum did NOT match"):
        run("sha256sum", "--check", "SHA256SUMS", cwd=folder)


def needed(requirements, extras=(), found=None):
    """Return all packages that these ask for here, and that those ask for, by name and extras."""
    found = {} if found is None else found
    for one in map(Requirement, requirements):
        asked = (one.name, *sorted(one.extras))
        wanted = not one.marker or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras))
        if wanted and asked not in found:
            found[asked] = distribution(one.name)
            needed(found[asked].requires or (), one.extras, found)
    return found


def link(place, other):
    """Have a file, or those of a folder, in another place too."""
    if place.is_dir():
        shutil.copytree(place, other, copy_function=os.symlink)
    else:
        other.symlink_to(place)


@pytest.fixture(scope="module")
def fresh(clone, tmp_path_factory):
    """Return an environment with the wheel, what it asks for, and nothing else: less, as in the image."""
    folder = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    (site,) = folder.glob("lib/python*/site-packages")
    here = Path(distribution("flask").locate_file(""))
    wheel = clone / "dist" / WHEEL
    with ZipFile(wheel) as packed:
        metadata = HeaderParser().parsestr(packed.read(f"otp_service-{__version__}.dist-info/METADATA").decode())
    packages = needed(metadata.get_all("Requires-Dist")).values()
    for name in {file.parts[0] for package in packages for file in package.files} - {"..", "__pycache__"}:
        link(here / name, site / name)
    for command in TAKEN_OUT.findall((ROOT / "Dockerfile").read_text()):
        run("sh", "-c", command, cwd=site)
    run(sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--no-index", "--no-deps", wheel)
    return folder / "bin"


def test_what_tests_need_is_not_in_a_fresh_environment(fresh):
    found = run(fresh / "python", "-c", "from importlib.util import find_spec as f; print(f('pytest'), f('boto3'))")

    assert found.split() == ["None", "None"]
    assert run(fresh / "otp-service", "--version").strip() == f"otp-service, version {__version__}"


def test_the_wheel_alone_verifies_a_number(fresh, tmp_path):
    port = free_port()
    command = [str(fresh / "otp-service"), "dev", "--port", str(port), "--api-key", KEY, "--workers", "1"]
    others = {name: value for name, value in os.environ.items() if not name.startswith("OTP_SERVICE")}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=others, stdout=log, stderr=log)
    try:
        assert run(fresh / "python", "-c", JOURNEY, f"http://127.0.0.1:{port}", KEY).strip() == "approved"
        process.terminate()
        assert process.wait(15) == 0
    finally:
        if process.poll() is None:
            kill(family(process.pid))
            process.wait(10)


def test_twilio_sends_without_what_the_image_takes_out(fresh):
    assert run(fresh / "python", "-c", SENDING).split() == ["unavailable"] * 3


def docker(*arguments):
    return run("docker", *arguments).strip()


def _image():
    """Return whether an engine answers that has the image of this version."""
    asked = shutil.which("docker") and subprocess.run(
        ["docker", "image", "inspect", IMAGE], check=False, capture_output=True, timeout=60
    )
    return bool(asked) and asked.returncode == 0


needs_image = pytest.mark.skipif(not _image(), reason="needs a container engine, and the image of `make dist`")


@needs_image
def test_the_image_names_itself_and_runs_as_nobody_in_particular():
    told = docker("image", "inspect", "--format", "{{.Config.User}} {{json .Config.Labels}}", IMAGE)

    user, _, labels = told.partition(" ")
    assert user == "10001:10001"
    for name, value in {"title": "otp-service", "licenses": "Apache-2.0", "version": __version__}.items():
        assert f'"org.opencontainers.image.{name}":"{value}"' in labels
    assert re.search(r'"org.opencontainers.image.revision":"[0-9a-f]{40}"', labels)
    assert '"org.opencontainers.image.base.name":"' in labels


@needs_image
def test_the_image_adds_no_more_to_its_base_than_it_may():
    history = docker("history", "--no-trunc", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}", IMAGE)
    ours, first, _ = history.partition("image.title")

    assert first
    sizes = [int(line.split()[0]) for line in ours.splitlines()]
    assert 0 < sum(sizes) <= MEGABYTES * 1_000_000


@needs_image
def test_the_image_verifies_a_number_without_rights_and_without_writing():
    (written,) = re.findall(r"^\$ docker (run .+?)(?<!\\)\n", INSTALL, re.MULTILINE | re.DOTALL)
    run_here = written.replace("\\\n", "").replace("--rm", "--rm --detach").replace("127.0.0.1:8080:", "127.0.0.1::")
    assert {"--read-only", "--cap-drop"} <= set(run_here.split())
    container = docker(*shlex.split(run_here), "--api-key", KEY)
    try:
        done = docker("exec", container, "python", "-c", JOURNEY, "http://127.0.0.1:8080", KEY)
        assert done == "approved"
    finally:
        docker("stop", container)


def test_the_document_names_the_files_of_this_version():
    named = re.findall(r"otp[_-]service[:-](\d+\.\d+\.\d+)", INSTALL)

    assert len(named) > 3
    assert set(named) == {__version__}


def test_all_of_the_image_begins_with_the_base_that_a_release_names():
    dockerfile = (ROOT / "Dockerfile").read_text()

    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) == {"${BASE}"}
    assert len(TAKEN_OUT.findall(dockerfile)) == 4
