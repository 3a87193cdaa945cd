"""Makes the references that the code already tells: docs/configuration.md and docs/cli.md. By hand: ``make docs``."""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Annotated, Literal, get_args, get_origin

import click
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from otp_service.cli.main import commands
from otp_service.gateways.base import GATEWAY_KINDS, GatewaySettings
from otp_service.policies.base import POLICY_KINDS, PolicySettings
from otp_service.policies.human_checks import HumanCheckSettings
from otp_service.settings import Settings
from otp_service.settings.schema import (
    ApplicationSettings,
    ApprovalSettings,
    CountrySettings,
    PurposeSettings,
    RouteSettings,
    SenderSettings,
)
from otp_service.settings.settings import settings_class

DOCS = Path(__file__).resolve().parent
GATEWAYS = ("twilio", "whatsapp_cloud", "telegram", "vonage", "sns", "smpp", "http", "sandbox", "console")
POLICIES = ("camara_sim_swap",)
BOUNDS = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}

CONFIGURATION = """\
# Configuration

For operators: every setting, made by `make docs` from their models. A file to begin with is
[`config/otp_service.toml`](../config/otp_service.toml).

- `OTP_SERVICE_CONFIG` names the file (TOML). A variable wins over it: `OTP_SERVICE__HTTP__PORT=80` is `http.port`;
  lists and tables are JSON. A variable that ends in `_FILE` names a file with the value: use it for secrets.
- The two keys of an installation never stand in the file: `OTP_SERVICE_ROOT_KEYS_FILE` and
  `OTP_SERVICE_PSEUDONYM_KEY_FILE` name theirs.
- Processes read their settings when they start, and again at a SIGHUP ([reloading](operations.md#reloading)).
- `otp-service config check` finds what is wrong, `otp-service config show` prints what is in force.
"""
CLI = """\
# Command line

For operators: every command, made by `make docs` from the commands themselves; `--help` says the same.

- The exit status is 0 when it is done, 2 for wrong usage, and 1 with a sentence on standard error for all else that was
  refused or failed.
- Commands have `--json`, except those that run a server or make root and pseudonym keys: one document, times in UTC
  (RFC 3339), spans in seconds, numbers masked. Questions go to standard error; `--yes` answers them.
- In a pipe the cells of a table have tabs between them. `NO_COLOR=1` leaves colours out.
- Your shell completes commands: `eval "$(_OTP_SERVICE_COMPLETE=bash_source otp-service)"`; `zsh_source` and
  `fish_source` are for the others.
"""
OF_ALL_GATEWAYS = "Members that every gateway has. Its kind decides which others there are."
OF_ALL_HUMAN_CHECKS = "Members that every verifier of human checks has. Its kind decides which others there are."
OF_ALL_POLICIES = "Members that every policy has. Its kind decides which others there are."


# --- settings -------------------------------------------------------------------------------------------------


def configuration() -> str:
    """Return the reference of all settings."""
    named = {
        "purposes",
        "applications",
        "gateways",
        "policies",
        "human_checks",
        "routes",
        "countries",
        "senders",
        "approvals",
    }
    alone = {
        name: field
        for name, field in settings_class().model_fields.items()
        if name not in named and not _model(field.annotation)
    }
    parts = [CONFIGURATION, "## At the top\n", _table(Settings, alone)]
    for name, field in settings_class().model_fields.items():
        if model := _model(field.annotation):
            parts += _section(name, model)
    parts += _section("purposes.NAME", PurposeSettings)
    parts += _section("applications.NAME", ApplicationSettings)
    parts += _section("gateways.NAME", GatewaySettings, says=OF_ALL_GATEWAYS)
    for kind in GATEWAYS:
        parts += _section(f"gateways.NAME, {kind}", GATEWAY_KINDS.find(kind).Settings, above=GatewaySettings)
    parts += _section("policies.NAME", PolicySettings, says=OF_ALL_POLICIES)
    for kind in POLICIES:
        parts += _section(f"policies.NAME, {kind}", POLICY_KINDS.find(kind).Settings, above=PolicySettings)
    parts += _section("human_checks.NAME", HumanCheckSettings, says=OF_ALL_HUMAN_CHECKS)
    parts += _section("routes", RouteSettings)
    parts += _section("countries.CODE", CountrySettings)
    parts += _section("senders.NAME", SenderSettings)
    parts += _section("approvals.NAME", ApprovalSettings)
    return "\n".join(parts)


def _section(
    heading: str,
    model: type[BaseModel],
    *,
    says: str = "",
    above: type[BaseModel] | None = None,
    told: frozenset[type[BaseModel]] = frozenset(),
) -> Iterator[str]:
    """Yield heading, words and table of a model, then those of the models in it, each once."""
    yield f"## {heading}\n"
    yield _paragraph(says or inspect.getdoc(model) or "") + "\n"
    inherited = above.model_fields if above else {}
    own = {
        name: field
        for name, field in model.model_fields.items()
        if name not in inherited or field.default != inherited[name].default
    }
    if plain := {name: field for name, field in own.items() if not _model(field.annotation)}:
        yield _table(model, plain)
    for name, field in own.items():
        inner = _model(field.annotation) or _member(field.annotation)
        if inner and inner not in told:
            yield from _section(f"{heading}.{field.alias or name}", inner, told=told | {inner})
            told |= {inner}


def _model(annotation: object) -> type[BaseModel] | None:
    return annotation if inspect.isclass(annotation) and issubclass(annotation, BaseModel) else None


def _member(annotation: object) -> type[BaseModel] | None:
    """Return the model that a list, a table or an optional member is made of."""
    for part in get_args(annotation):
        if (found := _model(part)) and found.__module__.startswith("otp_service.") and found.model_fields:
            return found
        if get_args(part) and (found := _member(part)):
            return found
    return None


def _table(model: type[BaseModel], fields: dict[str, FieldInfo]) -> str:
    told = ((field.alias or name, _default(field), _says(model, name, field)) for name, field in fields.items())
    rows = [f"| `{name}` | {default} | {says} |" for name, default, says in told]
    return "\n".join(["| setting | default | says |", "|---|---|---|", *rows]) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return "none"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    return f"`{json.dumps(to_jsonable_python(value), ensure_ascii=False)}`"


def _says(model: type[BaseModel], name: str, field: FieldInfo) -> str:
    words = _words(model).get(name) or _paragraph(field.description or "")
    sentences = (words, _choices(field.annotation), _bounds(field))
    return " ".join(f"{one.rstrip('.')}." for one in sentences if one)


def _choices(annotation: object) -> str:
    """Return the values of a setting that has only some."""
    if inspect.isclass(annotation) and issubclass(annotation, Enum):
        return "One of " + ", ".join(f"`{one.value}`" for one in annotation)
    if get_origin(annotation) is Literal and len(get_args(annotation)) > 1:
        return "One of " + ", ".join(f"`{one}`" for one in get_args(annotation))
    return ""


def _bounds(field: FieldInfo) -> str:
    metadata = list(field.metadata)
    if get_origin(field.annotation) is Annotated:
        metadata += get_args(field.annotation)[1:]
    told = [
        text.format(f"{value:,}")
        for one in metadata
        for key, text in BOUNDS.items()
        if isinstance(value := getattr(one, key, None), int | float)
    ]
    return ", ".join(told).capitalize()


@cache
def _words(model: type[BaseModel]) -> dict[str, str]:
    """Return what the docstrings below the members of a model say, those that it inherits too."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if one.__module__.startswith("otp_service."):
            found |= dict(_docstrings(inspect.getmodule(one), one.__name__))
    return found


def _docstrings(module: ModuleType | None, name: str) -> Iterator[tuple[str, str]]:
    for node in _classes(module):
        if node.name == name:
            for member, words in zip(node.body, node.body[1:], strict=False):
                match member, words:
                    case ast.AnnAssign(target=ast.Name(id=setting)), ast.Expr(value=ast.Constant(value=str(text))):
                        yield setting, _paragraph(text)


@cache
def _classes(module: ModuleType) -> list[ast.ClassDef]:
    return [node for node in ast.walk(ast.parse(inspect.getsource(module))) if isinstance(node, ast.ClassDef)]


def _paragraph(text: str) -> str:
    joined = " ".join(textwrap.dedent(text).split())
    return re.sub(r"``(.+?)``", r"`\1`", joined).replace("|", "\\|")


# --- commands -------------------------------------------------------------------------------------------------


def cli() -> str:
    """Return the reference of all commands."""
    parts = [CLI]
    context = click.Context(commands, info_name="otp-service")
    for name, command in _members(commands, context):
        parts += _command(command, name, context)
    return "\n".join(parts)


def _members(group: click.Group, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(context):
        if command := group.get_command(context, name):
            yield name, command


def _command(command: click.Command, name: str, above: click.Context) -> Iterator[str]:
    """Yield what a command says of itself; of a group, its commands too."""
    context = click.Context(command, info_name=name, parent=above)
    level = "##" if above.parent is None else "###"
    yield f"{level} {context.command_path}\n"
    yield _help(command) + "\n"
    if isinstance(command, click.Group):
        for one, inner in _members(command, context):
            yield from _command(inner, one, context)
        return
    yield f"`{' '.join([context.command_path, *command.collect_usage_pieces(context)])}`\n"
    records = [record for option in command.params if (record := option.get_help_record(context))]
    if rows := [f"| `{_cell(names)}` | {_cell(says)} |" for names, says in records]:
        yield "\n".join(["| option | says |", "|---|---|", *rows]) + "\n"


def _help(command: click.Command) -> str:
    """Return the help text as Markdown: paragraphs, and examples, which click marks and leaves as they are."""
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    told = []
    for paragraph in paragraphs:
        if paragraph.startswith("\b"):
            told.append(f"```text\n{textwrap.dedent(paragraph.removeprefix(chr(8)).strip(chr(10)))}\n```")
        else:
            told.append(" ".join(paragraph.split()))
    return "\n\n".join(told)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    (DOCS / "configuration.md").write_text(configuration(), encoding="utf-8")
    (DOCS / "cli.md").write_text(cli(), encoding="utf-8")
