"""What a person sees of a line: the Unicode Bidirectional Algorithm (UAX #9) without explicit marks.

Rules P2 to P3, W1 to W7, N1 to N2, I1 to I2 and L1 to L2, for one line, which is a paragraph in a text message.
"""

import unicodedata

STRONG = {"L", "R", "AL"}
NEUTRAL = {"B", "S", "WS", "ON"}


def shown(line: str, base: int | None = None) -> str:
    """Return a line as it is seen from left to right; ``base`` 0 or 1 forces the direction of the paragraph."""
    types = [unicodedata.bidirectional(character) for character in line]
    if base is None:
        first = next((one for one in types if one in STRONG), "L")
        base = 0 if first == "L" else 1
    levels = _levels(types, base)
    for position in range(len(line) - 1, -1, -1):  # L1
        if types[position] not in {"WS", "S", "B"}:
            break
        levels[position] = base
    characters = list(line)
    for level in range(max(levels, default=0), 0, -1):  # L2
        position = 0
        while position < len(levels):
            end = position
            while end < len(levels) and levels[end] >= level:
                end += 1
            characters[position:end] = reversed(characters[position:end])
            position = max(end, position + 1)
    return "".join(characters)


def _levels(types: list[str], base: int) -> list[int]:
    start = "R" if base else "L"
    kinds = _weak(list(types), start)
    _neutral(kinds, start)
    odd = {"L": 1, "EN": 1, "AN": 1, "R": 0}
    even = {"R": 1, "AN": 2, "EN": 2, "L": 0}
    return [base + (odd if base % 2 else even)[kind] for kind in kinds]


def _weak(kinds: list[str], start: str) -> list[str]:  # noqa: PLR0912 - the seven rules in their order
    for position, kind in enumerate(kinds):  # W1
        if kind == "NSM":
            kinds[position] = kinds[position - 1] if position else start
    strong = start
    for position, kind in enumerate(kinds):  # W2
        if kind in STRONG:
            strong = kind
        elif kind == "EN" and strong == "AL":
            kinds[position] = "AN"
    kinds[:] = ["R" if kind == "AL" else kind for kind in kinds]  # W3
    for position in range(1, len(kinds) - 1):  # W4
        before, kind, after = kinds[position - 1 : position + 2]
        if before == after and ((kind == "ES" and before == "EN") or (kind == "CS" and before in {"EN", "AN"})):
            kinds[position] = before
    for position, kind in enumerate(kinds):  # W5
        if kind == "EN":
            for step in (-1, 1):
                beside = position + step
                while 0 <= beside < len(kinds) and kinds[beside] == "ET":
                    kinds[beside] = "EN"
                    beside += step
    kinds[:] = ["ON" if kind in {"ES", "ET", "CS"} else kind for kind in kinds]  # W6
    strong = start
    for position, kind in enumerate(kinds):  # W7
        if kind in {"L", "R"}:
            strong = kind
        elif kind == "EN" and strong == "L":
            kinds[position] = "L"
    return kinds


def _neutral(kinds: list[str], start: str) -> None:
    position = 0
    while position < len(kinds):
        end = position
        while end < len(kinds) and kinds[end] in NEUTRAL:
            end += 1
        if end > position:
            before = _side(kinds[position - 1]) if position else start
            after = _side(kinds[end]) if end < len(kinds) else start
            kinds[position:end] = [before if before == after else start] * (end - position)  # N1, N2
        position = max(end, position + 1)


def _side(kind: str) -> str:
    return "L" if kind == "L" else "R"
