"""Makes the software bill of materials, ``dist/otp-service.cdx.json``: ``make sbom``.

It is of what is installed in production: this package, and all of ``requirements.lock`` with the hashes that pip
accepts. The lock tells no licences: they are those that a package declares where it is installed, in the version of the
lock; no other is claimed. What is made of the same files in the same environment is the same to the last byte.
"""

import json
import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License, LicenseAcknowledgement
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "dist" / "otp-service.cdx.json"
LOCK = "requirements.lock"
EXTRAS = ("postgresql", "try")
"""The extras of the lock, and so of the image."""

_PIN = re.compile(r"^([a-z0-9._-]+)==(\S+)(?: ; (.+?))? \\$", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_LONGEST_NAME = 60
"""Characters of a licence's name; what is longer is its text."""


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of a lock."""

    name: str
    version: str
    marker: str
    """Where it is installed; empty for everywhere."""
    hashes: tuple[str, ...]
    """SHA-256 of each file that pip accepts."""


def document() -> str:
    """Return the bill of materials as JSON."""
    bom = Bom(metadata=BomMetaData(component=_own()), components=map(_component, pins()))
    bom.metadata.timestamp = None  # optional, and would be another one each time
    direct = direct_dependencies()
    bom.register_dependency(bom.metadata.component, [one for one in bom.components if one.name in direct])
    made = json.loads(JsonV1Dot6(bom).output_as_string())
    made["dependencies"] = [one for one in made["dependencies"] if "dependsOn" in one]  # of all others nothing is known
    del made["serialNumber"]
    serial = uuid5(NAMESPACE_URL, json.dumps(made, sort_keys=True))
    return json.dumps({**made, "serialNumber": serial.urn}, indent=2, sort_keys=True) + "\n"


def pins() -> Iterator[Pin]:
    """Yield what the lock has."""
    text = _lock()
    found = list(_PIN.finditer(text))
    ends = [match.start() for match in found[1:]] + [len(text)]
    for match, end in zip(found, ends, strict=True):
        yield Pin(match[1], match[2], match[3] or "", tuple(_HASH.findall(text[match.end() : end])))


def direct_dependencies() -> set[str]:
    """Return the names of the packages that this package requires."""
    project = _project()
    optional = (line for extra in EXTRAS for line in project["optional-dependencies"][extra])
    return {canonicalize_name(Requirement(line).name) for line in [*project["dependencies"], *optional]}


def _own() -> Component:
    project = _project()
    return Component(
        type=ComponentType.APPLICATION,
        name=project["name"],
        version=project["version"],
        description=project["description"],
        purl=PackageURL("pypi", None, project["name"], project["version"]),
        bom_ref=f"{project['name']}=={project['version']}",
        licenses=[_licence(project["license"])],
    )


def _component(pin: Pin) -> Component:
    return Component(
        name=pin.name,
        version=pin.version,
        purl=PackageURL("pypi", None, pin.name, pin.version),
        bom_ref=f"{pin.name}=={pin.version}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one) for one in pin.hashes],
        licenses=[_licence(words) for words in declared(pin)],
        properties=[Property(name="otp-service:installed-where", value=pin.marker)] if pin.marker else [],
    )


def declared(pin: Pin) -> list[str]:
    """Return the licences that a package declares: an expression, a name, or those of its classifiers."""
    try:
        found = metadata(pin.name)
    except PackageNotFoundError:
        return []
    return _declared(found) if found["Version"] == pin.version else []


def _declared(found: PackageMetadata) -> list[str]:
    for name in ("License-Expression", "License"):
        words = (found[name] or "").strip() if name in found else ""
        if words and len(words) <= _LONGEST_NAME and "\n" not in words:
            return [words]
    classifiers = (one.split(" :: ") for one in found.get_all("Classifier") or ())
    return [parts[-1] for parts in classifiers if parts[0] == "License"]


def _licence(words: str) -> License:
    return LicenseFactory().make_from_string(words, license_acknowledgement=LicenseAcknowledgement.DECLARED)


def _project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _lock() -> str:
    return (ROOT / LOCK).read_text(encoding="utf-8")


if __name__ == "__main__":
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(document(), encoding="utf-8")
    sys.stderr.write(f"The bill of materials is in {DOCUMENT.relative_to(ROOT)}\n")
