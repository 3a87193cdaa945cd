"""What is wrong with a section, in words: one line an error of a model."""

from collections.abc import Iterator

from pydantic import ValidationError

from otp_service.settings.kinds import FAULTS

_NO_LIST = {f"Input should be a valid {kind}" for kind in ("tuple", "list", "set", "frozenset")}


def fault_lines(invalid: ValidationError) -> Iterator[str]:
    """Yield one line for each error of a model, with its path."""
    for error in invalid.errors(include_url=False, include_input=False):
        own = error["ctx"]["faults"] if error["type"] == FAULTS else [((), error["msg"])]
        for location, message in own:
            yield f"{_dotted((*error['loc'], *location))}: {_sentence(message)}"


def _dotted(location: tuple[int | str, ...]) -> str:
    return ".".join(str(step) for step in location if step != "[key]") or "settings"


def _sentence(message: str) -> str:
    """Return pydantic's message in the tone of ours: ``Extra inputs are not permitted`` says little."""
    text = message.removeprefix("Value error, ")
    if text == "Extra inputs are not permitted":
        return "there is no such setting."
    if text == "Field required":
        return "is missing."
    if text in _NO_LIST:
        return 'is not a list: write ["..."], with a member or several.'
    return f"{text[0].lower()}{text[1:].removesuffix('.')}."
