"""Files of messages: the only reader of them. Ours come with the package, an operator's are laid over them.

What is wrong for anybody who gets a message (a link, no code, an unknown variable) is refused here, with the file
and the place; so nothing starts with it. What a message costs is for `otp_service.services.lint`.
"""

import re
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from otp_service.domain.applications import LOCALE_PATTERN, MAX_LOCALE
from otp_service.domain.templates import Catalogue, Language
from otp_service.domain.verification import PurposeKind
from otp_service.errors import ConfigurationError
from otp_service.settings.faults import fault_lines
from otp_service.settings.message_file import MessageFile, faults_of, language_of
from otp_service.settings.sources import Table, merged
from otp_service.settings.tree import Settings

_SUFFIX: Final = ".toml"


def read_catalogue(settings: Settings) -> Catalogue:
    """Return the words of messages; raise `ConfigurationError` with one line a fault: file, place, what is wrong."""
    own = settings.messages.directory
    ours = _tables(files("otp_service") / "messages")
    theirs = _their_tables(Path(own)) if own else {}
    languages: dict[str, Language] = {}
    faults: list[str] = []
    for key in sorted(ours.keys() | theirs.keys()):
        tag, path, table = _laid_over(ours.get(key), theirs.get(key))
        read, found = _read(tag, table)
        found += _purpose_faults(read, settings) if read else ()
        faults += [f"{path}: {fault}" for fault in found]
        if read:
            languages[key] = read
    if faults:
        raise ConfigurationError("\n".join(faults))
    return Catalogue(languages)


_File = tuple[str, str, Table]
"""Tag, path and content."""


def _their_tables(folder: Path) -> dict[str, _File]:
    try:
        tables = _tables(folder)
    except OSError as unreadable:
        raise ConfigurationError(f"messages.directory: {folder} cannot be read: {unreadable.strerror}.") from unreadable
    if not tables:
        raise ConfigurationError(f"messages.directory: {folder} has no file such as en{_SUFFIX}.")
    return tables


def _tables(folder: Traversable) -> dict[str, _File]:
    """Return the files of a folder by their tags in lower case."""
    found: dict[str, _File] = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if not file.name.endswith(_SUFFIX):
            continue
        tag = file.name.removesuffix(_SUFFIX)
        if len(tag) > MAX_LOCALE or not re.fullmatch(LOCALE_PATTERN, tag):
            raise ConfigurationError(f"{file}: is not named by a language tag (BCP 47), such as en{_SUFFIX}.")
        if tag.lower() in found:
            raise ConfigurationError(f"{file}: the language has a file already, {found[tag.lower()][1]}.")
        found[tag.lower()] = (tag, str(file), _table(file))
    return found


def _table(file: Traversable) -> Table:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as malformed:
        raise ConfigurationError(f"{file}: {malformed}.") from malformed


def _laid_over(ours: _File | None, theirs: _File | None) -> _File:
    """Return a file as it is in force, under the path of the one that can be changed."""
    if ours and theirs:
        return ours[0], theirs[1], merged(ours[2], theirs[2])
    file = theirs or ours
    if file is None:
        raise LookupError("one of them is there")
    return file


def _read(tag: str, table: Table) -> tuple[Language | None, list[str]]:
    """Return a language, or what is wrong with it."""
    try:
        file = MessageFile.model_validate(table)
    except ValidationError as invalid:
        return None, list(fault_lines(invalid, MessageFile))
    faults = [f"{place}: {sentence}." for place, sentence in faults_of(tag, file)]
    return (None, faults) if faults else (language_of(tag, file), [])


def _purpose_faults(language: Language, settings: Settings) -> Iterator[str]:
    kinds = {name: purpose.kind for name, purpose in settings.purposes.items()}
    for name, texts in language.texts.items():
        kind = kinds.get(name, name)
        if kind not in set(PurposeKind):
            yield f"templates.{name}: there is no section purposes.{name}."
        elif texts.payment is not (kind == PurposeKind.TRANSACTION):
            yield f"templates.{name}: purposes.{name} is of kind {kind}, but the text is not."
