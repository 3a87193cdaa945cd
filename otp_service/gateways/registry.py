"""The kinds of gateways that are installed, found by their entry points and imported when they are asked for."""

from importlib.metadata import EntryPoint, entry_points

from otp_service.core.errors import ConfigurationError
from otp_service.gateways.base import Gateway

GROUP = "otp_service.gateways"
_MEMBERS = ("kind", "channels", "development_only", "Settings", "send")


def known_kinds() -> list[str]:
    """Return the names of all kinds, without importing any."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def gateway_kind(name: str) -> type[Gateway]:
    """Import and return the gateway of a kind.

    Raises `ConfigurationError` when there is no such kind, two packages claim it, or it cannot be imported.
    """
    claims = {entry.value: entry for entry in entry_points(group=GROUP, name=name)}
    if not claims:
        raise ConfigurationError(f"There is no gateway of kind {name!r}; there are: {', '.join(known_kinds())}.")
    if len(claims) > 1:
        raise ConfigurationError(
            f"More than one package brings a gateway of kind {name!r}: {', '.join(sorted(claims))}."
        )
    (entry,) = claims.values()
    return _checked(entry, _imported(entry))


def _imported(entry: EntryPoint) -> object:
    try:
        return entry.load()
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            f"The gateway of kind {entry.name!r} needs the package {missing.name!r}, which is not installed."
        ) from missing
    except (ImportError, AttributeError) as broken:
        raise ConfigurationError(f"The gateway of kind {entry.name!r} ({entry.value}) cannot be imported.") from broken


def _checked(entry: EntryPoint, found: object) -> type[Gateway]:
    lacking = [member for member in _MEMBERS if not hasattr(found, member)]
    if not isinstance(found, type) or lacking:
        what = f"lacks {', '.join(lacking)}" if lacking else "is not a class"
        raise ConfigurationError(f"{entry.value} is not a gateway: it {what}.")
    gateway: type[Gateway] = found
    if gateway.kind != entry.name:
        raise ConfigurationError(f"{entry.value} says it is of kind {gateway.kind!r}, its entry point {entry.name!r}.")
    return gateway
