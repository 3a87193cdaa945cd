"""The calls that gateways make, in words."""

from otp_service.api.catalogue.call import Call, Success, in_path

_GATEWAY = in_path("gateway", "Name of the gateway in the configuration.", "primary")
_DISPATCH = in_path(
    "dispatch_id", "The id that the service gave the gateway with the message.", "dp_0012ab34cd56ef7890a1b2c3d4e5f60718"
)

_TOKEN = in_path(
    "token",
    "What the address ends with that `otp-service gateway inbound` shows for the gateway.",
    "3q2-7wAAAAAAAAAAAAAAAA",
)


def _report(name: str, method: str, summary: str) -> Call:
    """Return the call of gateways, by one of the two methods that providers know."""
    return Call(
        name=name,
        method=method,
        path="/v1/receipts/{gateway}/{dispatch_id}",
        section="Gateways",
        summary=summary,
        description="For gateways, not for applications: a gateway's report on a message, proven in its own way by a "
        "signature, a token in the address, or where it comes from. A report changes what is shown of a delivery and "
        "never approves anything.",
        successes=(Success(204, "Taken.", media_type=None),),
        problems=("unauthenticated", "not-found", "body-too-large", "internal", "store-unavailable", "overloaded"),
        parameters=(_GATEWAY, _DISPATCH),
        any_body=method == "post",
        authenticated=False,
    )


def _message(name: str, method: str, summary: str) -> Call:
    """Return the call that passes a message on, by one of the two methods."""
    return Call(
        name=name,
        method=method,
        path="/v1/inbound/{gateway}/{token}",
        section="Gateways",
        summary=summary,
        description="For gateways, not for applications: what somebody wrote back, proven as the gateway's reports "
        "are. A message that is nothing but a word for *stop* keeps messages back from the number, one for *start* "
        "lets them through again. The answer has the form that the gateway expects.",
        successes=(
            Success(200, "Taken; what stands here, the gateway sends to whoever wrote.", media_type="text/*"),
            Success(204, "Taken.", media_type=None),
        ),
        problems=(
            "unauthenticated",
            "not-found",
            "body-too-large",
            "internal",
            "store-unavailable",
            "ledger-mismatch",
            "ledger-unavailable",
            "overloaded",
        ),
        parameters=(_GATEWAY, _TOKEN),
        any_body=method == "post",
        authenticated=False,
    )


CALLS = (
    _report("reportDelivery", "post", "Report a delivery"),
    _report("reportDeliveryByGet", "get", "Report a delivery, in the query"),
    _message("passMessageOn", "post", "Pass on what somebody wrote"),
    _message("passMessageOnByGet", "get", "Pass on what somebody wrote, in the query"),
)
