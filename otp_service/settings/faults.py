"""What is wrong with a section, in words: one line an error of a model."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

FAULTS: Final = "faults_of_a_kind"
"""Type of the error that carries the faults of a kind's own model, with their paths."""
SettingFault = tuple[tuple[int | str, ...], str]
"""Where in the section, and what."""
_NO_LIST = {f"Input should be a valid {kind}" for kind in ("tuple", "list", "set", "frozenset")}


def fault_lines(invalid: ValidationError, model: type[BaseModel]) -> Iterator[str]:
    """Yield one line for each error of a model, with its path."""
    for location, sentence in faults_of(invalid, model):
        yield f"{_dotted(location)}: {sentence}"


def faults_of(invalid: ValidationError, model: type[BaseModel]) -> Iterator[SettingFault]:
    """Yield the errors of a model, those of a kind's own model among them."""
    for error in invalid.errors(include_url=False, include_input=False):
        location = error["loc"]
        if error["type"] == FAULTS:
            yield from (((*location, *own), sentence) for own, sentence in error["ctx"]["faults"])
        elif error["type"] == "extra_forbidden":
            yield location, f"there is no such setting.{_suggestion(location, model)}"
        else:
            yield location, sentence_of(error["msg"])


def _suggestion(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """Return the suggestion for a setting that there is not, among those of the section that it is in."""
    models = {model}
    for step in location[:-1]:  # a name or an index among sections leads to no other models
        fields = [one.model_fields[str(step)].annotation for one in models if str(step) in one.model_fields]
        models = set(_models(fields)) if fields else models
    return suggestion(str(location[-1]), {name for one in models for name in one.model_fields})


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return a question that names what a misspelt word is most like, after a blank; empty where nothing is."""
    similar = get_close_matches(word, known, n=1)
    return f' Did you mean "{similar[0]}"?' if similar else ""


def _models(annotations: Iterable[Any]) -> Iterator[type[BaseModel]]:
    for one in annotations:
        if isinstance(one, type) and issubclass(one, BaseModel):
            yield one
        yield from _models(get_args(one))


def _dotted(location: tuple[int | str, ...]) -> str:
    return ".".join(str(step) for step in location if step != "[key]") or "settings"


def sentence_of(message: str) -> str:
    """Return pydantic's message in the tone of ours."""
    text = message.removeprefix("Value error, ")
    if text == "Field required":
        return "is missing."
    if text in _NO_LIST:
        return 'is not a list: write ["..."], with a member or several.'
    return f"{text[0].lower()}{text[1:].removesuffix('.')}."
