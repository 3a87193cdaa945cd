"""Sources of settings, and sentences for their faults."""

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

from otp_service.errors import ConfigurationError

PREFIX = "OTP_SERVICE__"
FILE_SUFFIX = "_FILE"
KEY_VARIABLES = {
    "OTP_SERVICE_ROOT_KEYS": ("keys", "root"),
    "OTP_SERVICE_PSEUDONYM_KEY": ("keys", "pseudonym"),
}
"""Variables without the prefix. Other ``OTP_SERVICE_…`` are ignored: Kubernetes sets some itself."""

Table = dict[str, Any]


def read_file(path: Path) -> Table:
    """Return the table of a file (``.json``, else TOML); raise `ConfigurationError`, also if it has a key."""
    try:
        text = path.read_text(encoding="utf-8")
        table = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as unreadable:
        raise ConfigurationError(f"{path}: cannot be read: {unreadable.strerror}.") from unreadable
    except ValueError as malformed:
        raise ConfigurationError(f"{path}: {malformed}.") from malformed
    except RecursionError as nested:
        raise ConfigurationError(f"{path}: is nested too deeply.") from nested
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: is not a table.")
    keys = table.get("keys")
    for variable, (_, member) in KEY_VARIABLES.items():
        if isinstance(keys, dict) and member in keys:
            raise ConfigurationError(
                f"{path}: keys.{member} does not belong in a configuration file: set {variable}_FILE."
            )
    return table


def read_environment(variables: Mapping[str, str]) -> Table:
    """Return the table of the environment: ``OTP_SERVICE__HTTP__PORT=80`` is ``{"http": {"port": "80"}}``.

    A value that starts with ``[`` or ``{`` is JSON. An empty variable counts as not set. Raises `ConfigurationError`
    for a variable that is set in both forms, or whose file cannot be read.
    """
    tree: Table = {}
    for name, value in _plain_variables(variables):
        *sections, member = KEY_VARIABLES.get(name) or name.removeprefix(PREFIX).lower().split("__")
        table = tree
        for section in sections:
            table = table.setdefault(section, {})
            if not isinstance(table, dict):
                raise ConfigurationError(f"{name}: another variable sets the whole of {section}.")
        if member in table:
            raise ConfigurationError(f"{name}: other variables set parts of {member}.")
        table[member] = value
    return tree


def secret_files(variables: Mapping[str, str]) -> tuple[Path, ...]:
    names = (name for name in sorted(variables) if variables[name] and name.endswith(FILE_SUFFIX))
    return tuple(Path(variables[name]) for name in names if _is_ours(name.removesuffix(FILE_SUFFIX)))


def _is_ours(name: str) -> bool:
    return name.startswith(PREFIX) or name in KEY_VARIABLES


def _plain_variables(variables: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    """Yield names, without ``_FILE``, and values of our variables."""
    for name in sorted(variables):
        plain = name.removesuffix(FILE_SUFFIX)
        if not variables[name] or not _is_ours(plain):
            continue
        if plain != name and variables.get(plain):
            raise ConfigurationError(f"{plain} and {name} are both set: remove either.")
        if plain != name:
            yield plain, _content(name, Path(variables[name]))
        elif variables[name][0] not in "[{":
            yield name, variables[name]
        else:
            try:
                yield name, json.loads(variables[name])
            except ValueError as malformed:
                raise ConfigurationError(f"{name}: starts like JSON but is not.") from malformed


def _content(name: str, path: Path) -> str:
    try:
        content = path.read_text(encoding="utf-8").strip()
    except OSError as unreadable:
        raise ConfigurationError(f"{name}: {path} cannot be read: {unreadable.strerror}.") from unreadable
    except UnicodeDecodeError as binary:
        raise ConfigurationError(f"{name}: {path} is not text.") from binary
    if not content:
        raise ConfigurationError(f"{name}: {path} is empty.")
    return content


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Table:
    """Return ``below`` with ``above`` merged over it: tables are merged, all else (also lists) is replaced.

    Names match in any case, because variables cannot spell ``Authorization``.
    """
    spelling = {name.lower(): name for name in below}
    table = dict(below)
    for name, value in above.items():
        known = name if name in below else spelling.get(name.lower(), name)
        beneath = below.get(known)
        if isinstance(beneath, Mapping) and isinstance(value, Mapping):
            table[known] = merge(beneath, value)
        else:
            table[known] = value
    return table


KIND_FAULTS: Final = "faults_of_a_kind"
"""Type of the error with the faults of a kind's own model and their paths."""
SettingFault = tuple[tuple[int | str, ...], str]
"""Path in the section, and sentence."""
_NO_LIST = {f"Input should be a valid {kind}" for kind in ("tuple", "list", "set", "frozenset")}


def fault_lines(invalid: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    for location, sentence in model_faults(invalid, model):
        path = ".".join(str(step) for step in location if step != "[key]") or "settings"
        yield f"{path}: {sentence}"


def model_faults(invalid: ValidationError, model: type[BaseModel]) -> Iterator[SettingFault]:
    for error in invalid.errors(include_url=False, include_input=False):
        location = error["loc"]
        if error["type"] == KIND_FAULTS:
            yield from (((*location, *own), sentence) for own, sentence in error["ctx"]["faults"])
        elif error["type"] == "extra_forbidden":
            yield location, f"there is no such setting.{_suggestion(location, model)}"
        else:
            yield location, plain_sentence(error["msg"])


def _suggestion(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    models = {model}
    for step in location[:-1]:  # a name or an index of a section keeps the models
        fields = [each.model_fields[str(step)].annotation for each in models if str(step) in each.model_fields]
        models = set(_models(fields)) if fields else models
    return suggestion(str(location[-1]), {name for each in models for name in each.model_fields})


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return a question with the known word most like a misspelt one, after a blank; empty without such a word."""
    similar = get_close_matches(word, known, n=1)
    return f' Did you mean "{similar[0]}"?' if similar else ""


def _models(annotations: Iterable[Any]) -> Iterator[type[BaseModel]]:
    for annotation in annotations:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
        yield from _models(get_args(annotation))


def plain_sentence(message: str) -> str:
    text = message.removeprefix("Value error, ")
    if text == "Field required":
        return "is missing."
    if text in _NO_LIST:
        return 'is not a list: write ["..."], with one or more members.'
    return f"{text[0].lower()}{text[1:].removesuffix('.')}."
