"""What a start claims in other slots of a cluster before its number's slot decides: a user, an earlier approval."""

from types import TracebackType
from typing import Self

from otp_service.domain.proofs import EarlierApproval
from otp_service.domain.totp import UserKey
from otp_service.domain.verification import Verification
from otp_service.errors import StoreUnavailableError
from otp_service.store import keys
from otp_service.store.connection import Argument
from otp_service.store.script_runner import ScriptCall, ScriptRunner
from otp_service.store.signatures.claims import (
    EVIDENCE_CLAIM,
    EVIDENCE_RELEASE,
    USER_CLAIM,
    USER_RELEASE,
    EvidenceClaimArguments,
    EvidenceKeys,
    UserClaimArguments,
    UserClaimed,
    UserClaimKeys,
    UserFrozen,
)

_TOO_OLD = 0
"""In place of the time at which an approval is too old that could not be claimed."""


class StartClaims:
    """Claims of a start, given back on leaving unless they ``are_used``, or the answer to the start was lost."""

    def __init__(
        self,
        scripts: ScriptRunner,
        bucket: str,
        verification: Verification,
        user: UserKey | None,
        earlier: EarlierApproval | None,
    ) -> None:
        """Take whom the start names, and what it uses: what the number's slot has needs no claim."""
        self._scripts = scripts
        self._verification = verification
        self._user = user if user and not scripts.reaches(bucket, user.bucket) else None
        self._earlier = earlier if earlier and not scripts.reaches(bucket, earlier.bucket) else None
        self._claimed: list[ScriptCall] = []
        self.ends: Argument = earlier.ends if earlier else ""
        """When the earlier approval is too old, in milliseconds; empty where none is needed."""
        self.refusal = ""
        """Why the user may not be named."""
        self.lifted = 0
        """Position in the ledger of the last lift or erasure that is known in the other slots."""
        self.are_used = False

    def claim(self) -> None:
        """Claim in each slot; what refuses is for the start to answer. Raises `StoreUnavailableError`.

        An approval is used up where the answer is lost.
        """
        try:
            if self._earlier and not self._claim_evidence(self._earlier):
                self.ends = _TOO_OLD
            if self._user:
                self.refusal = self._claim_user(self._user)
        except StoreUnavailableError:
            self._release()
            raise

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release unused claims."""
        is_lost = isinstance(error, StoreUnavailableError) and not error.nothing_ran
        if not self.are_used and not is_lost:
            self._release()

    def _claim_evidence(self, earlier: EarlierApproval) -> bool:
        """Tell whether an approval is claimed."""
        one, place = self._verification, EvidenceKeys(keys.evidence(earlier.bucket, earlier.id))
        about = EvidenceClaimArguments(one.application, one.id, earlier.ends)
        lifted = self._scripts.call(EVIDENCE_CLAIM, place, about)
        if lifted is None:
            return False
        self._claimed.append(ScriptCall(EVIDENCE_RELEASE.script, place, (one.id,)))
        self.lifted = max(self.lifted, lifted)
        return True

    def _claim_user(self, user: UserKey) -> str:
        """Return why a user may not be named, empty where that is claimed."""
        one, verifications = self._verification, keys.user_verifications(user.bucket, user.pseudonym)
        places = UserClaimKeys(keys.mirror(user.bucket), keys.mirrored(user.bucket, user.pseudonym), verifications)
        about = UserClaimArguments(one.application, one.id, 1000 * keys.user_verifications.seconds)
        match self._scripts.call(USER_CLAIM, places, about):
            case UserClaimed(lifted):
                self._claimed.append(ScriptCall(USER_RELEASE.script, (verifications,), (one.id,)))
                self.lifted = max(self.lifted, lifted)
                return ""
            case UserFrozen():
                return "frozen"
            case _:
                return "mirror-behind"

    def _release(self) -> None:
        """Give back what was claimed; what cannot be is used up."""
        self._scripts.send_all(self._claimed)
