"""What a command status means (section 5.1.3, complete)."""

from otp_service.gateways.base import FailureKind, GatewayError

_A, _R, _D = FailureKind.ACCOUNT, FailureKind.REJECTED, FailureKind.DESTINATION
_U, _E, _T = FailureKind.UNAVAILABLE, FailureKind.ERROR, FailureKind.THROTTLED

FAILURES = {
    0x01: ("ESME_RINVMSGLEN", _R),  # message length is invalid
    0x02: ("ESME_RINVCMDLEN", _R),  # command length is invalid
    0x03: ("ESME_RINVCMDID", _A),  # invalid command id: we may not submit in this session
    0x04: ("ESME_RINVBNDSTS", _U),  # incorrect bind status for given command: another session may be right
    0x05: ("ESME_RALYBND", _U),  # already in bound state: a session of before may not have ended yet
    0x06: ("ESME_RINVPRTFLG", _R),  # invalid priority flag
    0x07: ("ESME_RINVREGDLVFLG", _R),  # invalid registered delivery flag
    0x08: ("ESME_RSYSERR", _E),  # system error
    0x0A: ("ESME_RINVSRCADR", _A),  # invalid source address
    0x0B: ("ESME_RINVDSTADR", _D),  # invalid destination address
    0x0C: ("ESME_RINVMSGID", _R),  # message id is invalid
    0x0D: ("ESME_RBINDFAIL", _A),  # bind failed, without a reason: perhaps our address is not on the list
    0x0E: ("ESME_RINVPASWD", _A),  # invalid password
    0x0F: ("ESME_RINVSYSID", _A),  # invalid system id
    0x11: ("ESME_RCANCELFAIL", _R),  # cancel SM failed
    0x13: ("ESME_RREPLACEFAIL", _R),  # replace SM failed
    0x14: ("ESME_RMSGQFUL", _T),  # message queue full
    0x15: ("ESME_RINVSERTYP", _A),  # invalid service type
    0x33: ("ESME_RINVNUMDESTS", _R),  # invalid number of destinations
    0x34: ("ESME_RINVDLNAME", _R),  # invalid distribution list name
    0x40: ("ESME_RINVDESTFLAG", _R),  # destination flag is invalid (submit_multi)
    0x42: ("ESME_RINVSUBREP", _R),  # invalid 'submit with replace' request
    0x43: ("ESME_RINVESMCLASS", _R),  # invalid esm_class field data
    0x44: ("ESME_RCNTSUBDL", _R),  # cannot submit to distribution list
    0x45: ("ESME_RSUBMITFAIL", _U),  # submit failed
    0x48: ("ESME_RINVSRCTON", _A),  # invalid source address TON
    0x49: ("ESME_RINVSRCNPI", _A),  # invalid source address NPI
    0x50: ("ESME_RINVDSTTON", _A),  # invalid destination address TON
    0x51: ("ESME_RINVDSTNPI", _A),  # invalid destination address NPI
    0x53: ("ESME_RINVSYSTYP", _A),  # invalid system_type field
    0x54: ("ESME_RINVREPFLAG", _R),  # invalid replace_if_present flag
    0x55: ("ESME_RINVNUMMSGS", _R),  # invalid number of messages
    0x58: ("ESME_RTHROTTLED", _T),  # throttling error: allowed message limits exceeded
    0x61: ("ESME_RINVSCHED", _R),  # invalid scheduled delivery time
    0x62: ("ESME_RINVEXPIRY", _R),  # invalid message validity period (expiry time)
    0x63: ("ESME_RINVDFTMSGID", _R),  # predefined message invalid or not found
    0x64: ("ESME_RX_T_APPN", _U),  # receiver temporary application error
    0x65: ("ESME_RX_P_APPN", _R),  # receiver permanent application error
    0x66: ("ESME_RX_R_APPN", _R),  # receiver reject message error
    0x67: ("ESME_RQUERYFAIL", _R),  # query_sm request failed
    0xC0: ("ESME_RINVOPTPARSTREAM", _R),  # error in the optional part of the PDU body
    0xC1: ("ESME_ROPTPARNOTALLWD", _R),  # optional parameter not allowed
    0xC2: ("ESME_RINVPARLEN", _R),  # invalid parameter length
    0xC3: ("ESME_RMISSINGOPTPARAM", _R),  # expected optional parameter missing
    0xC4: ("ESME_RINVOPTPARAMVAL", _R),  # invalid optional parameter value
    0xFE: ("ESME_RDELIVERYFAILURE", _U),  # delivery failure (data_sm_resp)
    0xFF: ("ESME_RUNKNOWNERR", _E),  # unknown error
}
OF_MESSAGE = frozenset({0x45, 0x64, 0xFE})
"""Those of *unavailable* that SMSCs also answer because of the number or the text, while they are well."""
OF_SENDER = frozenset({"ESME_RINVSRCADR", "ESME_RINVSRCTON", "ESME_RINVSRCNPI"})
"""Those of *account* that are about the message where it has a sender of its own."""
VENDOR_SPECIFIC = 0x400
"""From here on the SMSC's makers decide; what they mean may pass, or be otherwise at another gateway. Most of it is
about numbers, so that all of it is taken to be about the message."""


def failure_of(status: int) -> GatewayError:
    """Return what a status other than 0 means; one that no version of SMPP has yet is *rejected*."""
    of_vendor = status >= VENDOR_SPECIFIC
    name, kind = FAILURES.get(status, (f"0x{status:08X}", _U if of_vendor else _R))
    return GatewayError(kind, name, of_message=of_vendor or status in OF_MESSAGE)
