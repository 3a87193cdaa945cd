"""A defect of a script."""

from dataclasses import dataclass
from importlib.resources import files

from lupa import lua51

_LUA = files("otp_service.store") / "lua"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A script, and what is replaced in it."""

    file: str
    changes: tuple[tuple[str, str], ...]

    def text(self) -> str:
        """Return the script with the defect; raise `ValueError` when the script has changed since."""
        text = (_LUA / f"{self.file}.lua").read_text()
        for old, new in self.changes:
            if text.count(old) != 1:
                raise ValueError(f"{self.file}: {old!r} occurs {text.count(old)} times, not once")
            text = text.replace(old, new)
        return text

    def fault(self) -> str:
        """Return why it proves nothing: it does not fit the script, or makes none of it; empty when it is good."""
        try:
            lua51.LuaRuntime().compile(self.text())
        except (ValueError, lua51.LuaSyntaxError) as error:
            return str(error)
        return ""


def one(file: str, old: str, new: str = "") -> Mutant:
    """Return a defect that replaces one part of a script, by default with nothing."""
    return Mutant(file, ((old, new),))
