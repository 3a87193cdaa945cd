"""A copy in Redis of applications and API keys, for processes that start while the ledger is away."""

from otp_service.domain.keyring import Keyring, SealBrokenError
from otp_service.store import keys
from otp_service.store.script_runner import ScriptRunner
from otp_service.store.signatures.access import ACCESS_KEEP, ACCESS_READ, AccessKeepArguments, AccessKeys
from otp_service.store.signatures.signature import NoArguments

_KIND = "access"
_KEYS = AccessKeys(keys.ACCESS)


class AccessCopy:
    """The copy. Raises `StoreUnavailableError` when Redis does not answer in time.

    It is valid until its server is restarted or replaced: a restored server may have a copy with revoked keys.
    """

    def __init__(self, scripts: ScriptRunner, keyring: Keyring) -> None:
        self._scripts = scripts
        self._keyring = keyring

    def keep(self, state: str, text: str) -> None:
        """Store a sealed text, unless the copy has this ``state`` already."""
        if not self._scripts.call(ACCESS_KEEP, _KEYS, AccessKeepArguments(state, "")):
            sealed = self._keyring.seal_without_root_key(text.encode(), owner=_KIND, kind=_KIND)
            self._scripts.call(ACCESS_KEEP, _KEYS, AccessKeepArguments(state, sealed))

    def read(self) -> str | None:
        """Return the text; ``None`` without a copy, or from another run of the server."""
        sealed = self._scripts.call(ACCESS_READ, _KEYS, NoArguments())
        if not sealed:
            return None
        try:
            return self._keyring.unseal_without_root_key(sealed.decode(), owner=_KIND, kind=_KIND).decode()
        except SealBrokenError:  # not written by this service
            return None
