"""A script's needs in other buckets: claims of users and earlier approvals before it, and revocations."""

from types import TracebackType
from typing import Final, Self

from otp_service.domain.keyring import IdempotentRequest
from otp_service.domain.proofs import EarlierApproval
from otp_service.domain.totp import UserKey
from otp_service.errors import StoreUnavailableError
from otp_service.store import keys
from otp_service.store.keys import tag_of
from otp_service.store.script_runner import ScriptCall, ScriptRunner
from otp_service.store.signatures import claims as signed
from otp_service.store.signatures.common import Elsewhere, EvidenceKeys, MirrorBehind

VALID: Final = "valid"
MIRROR_BEHIND: Final = "mirror-behind"
_TOO_OLD = 0
"""End of an approval that could not be claimed, in place of a time."""


def revocation(scripts: ScriptRunner, application: str, approval: Elsewhere) -> str:
    """Return `VALID` if an approval's numbers and users in other buckets still hold, or the reason why not.

    Returns `MIRROR_BEHIND` while the mirror of a bucket is built. A freeze that was answered before is seen.
    """
    lines: dict[str, str] = {}
    for line in approval.basis.decode().splitlines(keepends=True):
        lines[tag_of(line)] = lines.get(tag_of(line), "") + line
    calls = [
        (
            signed.RevocationReadKeys(keys.mirror(bucket)),
            signed.RevocationReadArguments(application, approval.lifted, of_bucket),
        )
        for bucket, of_bucket in lines.items()
    ]
    state = VALID
    for reply in scripts.call_all(signed.REVOCATION_READ, calls):
        if isinstance(reply, StoreUnavailableError):
            raise reply
        state = reply.decode() if state == VALID else state
    return state


class Claims:
    """Claims in other buckets, released on leaving unless they ``are_used``, or an answer was lost."""

    def __init__(self, scripts: ScriptRunner, application: str, by: str, earlier: EarlierApproval | None) -> None:
        """Take the claiming verification or check, and the earlier approval that it needs."""
        self._scripts = scripts
        self._application = application
        self._by = by
        self._claimed: list[ScriptCall] = []
        self._refusal = ""
        self._lifted = 0
        self._basis = ""
        self.ends: int | str = earlier.ends if earlier else ""
        """When the earlier approval is too old, in milliseconds; empty where no approval is needed."""
        self.are_used = False

    @property
    def argument(self) -> str:
        """The claims as scripts take them (``evidence.claimed``); empty for none."""
        if not (self._basis or self._refusal):
            return ""
        return f"{self._lifted} {self._refusal} {self._basis}"

    def claim(self, earlier: EarlierApproval | None, user: UserKey | None, *, reserves: bool = False) -> None:
        """Claim an approval, or reserve it for a minute, and a user; the script answers with a refusal.

        Raises `StoreUnavailableError`; the approval is used up if the answer is lost.
        """
        try:
            if earlier:
                self._claim_evidence(earlier, reserves=reserves)
            if user:
                self._claim_user(user)
        except StoreUnavailableError:
            self._release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        is_lost = isinstance(error, StoreUnavailableError) and not error.nothing_ran
        if not self.are_used and not is_lost:
            self._release()

    def _claim_evidence(self, earlier: EarlierApproval, *, reserves: bool) -> None:
        evidence = keys.evidence(earlier.bucket, earlier.id)
        names = EvidenceKeys(evidence, keys.mirror(earlier.bucket))
        arguments = signed.EvidenceClaimArguments(self._application, self._by, earlier.ends, int(reserves))
        match self._scripts.call(signed.EVIDENCE_CLAIM, names, arguments):
            case signed.EvidenceClaimed(lifted, basis):
                release = signed.EvidenceReleaseKeys(evidence), signed.ReleaseArguments(self._by)
                self._claimed.append(ScriptCall.of(signed.EVIDENCE_RELEASE, *release))
                self._lifted, self._basis = max(self._lifted, lifted), basis.decode()
                elsewhere = b"".join(
                    line for line in basis.splitlines(keepends=True) if tag_of(line.decode()) != earlier.bucket
                )
                state = revocation(self._scripts, self._application, Elsewhere(elsewhere, lifted))
                if state == MIRROR_BEHIND:
                    self._refusal = state
                elif state != VALID:
                    self.ends = _TOO_OLD
            case MirrorBehind():
                self._refusal = MIRROR_BEHIND
            case _:
                self.ends = _TOO_OLD

    def _claim_user(self, user: UserKey) -> None:
        """Claim a user: a freeze of the user ends the verification from now on."""
        mirrored = keys.mirrored(user.bucket, user.pseudonym)
        verifications = keys.user_verifications(user.bucket, user.pseudonym)
        names = signed.UserClaimKeys(keys.mirror(user.bucket), mirrored, verifications)
        arguments = signed.UserClaimArguments(self._application, self._by, 1000 * keys.user_verifications.seconds)
        match self._scripts.call(signed.USER_CLAIM, names, arguments):
            case signed.UserClaimed(lifted):
                release = signed.UserReleaseKeys(verifications), signed.ReleaseArguments(self._by)
                self._claimed.append(ScriptCall.of(signed.USER_RELEASE, *release))
                self._lifted, self._basis = max(self._lifted, lifted), self._basis or f"{mirrored} \n"
            case signed.UserFrozen():
                self._refusal = "frozen"
                self.ends = _TOO_OLD if self._basis else self.ends  # the approval rests on the user too
            case _:
                self._refusal = MIRROR_BEHIND

    def _release(self) -> None:
        """Release all claims; a claim that cannot be released is used up."""
        self._scripts.send_all(self._claimed)


def claimant(retry: IdempotentRequest | None, otherwise: str) -> str:
    """Return the name of a check's claims: the same for a repeated request."""
    return f"{retry.key}.{retry.fingerprint}" if retry else otherwise
