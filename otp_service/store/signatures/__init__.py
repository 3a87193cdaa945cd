"""The signatures of all scripts."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Final

from otp_service.store.signatures.signature import Signature

SIGNATURES: Final[dict[str, Signature[Any, Any, Any]]] = {
    value.script: value
    for module in iter_modules(__path__, f"{__name__}.")
    for value in vars(import_module(module.name)).values()
    if isinstance(value, Signature)
}
"""By the name of the script."""
