"""Requests that no provider sent: a genuine one with one thing changed."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from otp_service.gateways.base import ProviderRequest, ReceiptRequest
from otp_service.gateways.contract.requests import SampleReceipt, SampleRequest
from otp_service.gateways.contract.samples import MESSAGE

OTHER_DISPATCH = "dp_ffeeddccbbaa99887766554433221100"
_OTHER_PEER = "203.0.113.9"
_NO_DOCUMENTS = (
    b"\xff\xfe",
    b"[]",
    b"null",
    b"{",
    b"[" * 5000,
    b'{"text": {"a": [1]}}',
    b'{"text": null}',
    b'{"text": "\\ud83d"}',
)

Request = TypeVar("Request", bound=ProviderRequest)
Forgery = tuple[str, Request]
"""What was changed, and the request."""


def genuine(receipt: SampleReceipt) -> ReceiptRequest:
    """Return a sampled receipt as it comes in."""
    return ReceiptRequest(**_members_of(receipt), dispatch_id=MESSAGE.dispatch_id)


def genuine_message(sample: SampleRequest) -> ProviderRequest:
    """Return a sampled message from somebody as it comes in."""
    return ProviderRequest(**_members_of(sample))


def _members_of(sample: SampleRequest) -> dict[str, Any]:
    return {
        "method": sample.method,
        "url": sample.url,
        "headers": {name.lower(): value for name, value in sample.headers.items()},
        "query": dict(parse_qsl(urlsplit(sample.url).query, keep_blank_values=True)),
        "form": sample.form,
        "body": (sample.body or urlencode(sample.form)).encode(),
        "peer": sample.peer,
    }


def of_another_dispatch(receipt: SampleReceipt) -> ReceiptRequest:
    """Return a sampled receipt as it comes in when it is sent to the address of another dispatch."""
    url = receipt.url.replace(MESSAGE.dispatch_id, OTHER_DISPATCH)
    return replace(genuine(receipt), url=url, dispatch_id=OTHER_DISPATCH)


def forgeries(real: Request, covers: frozenset[str]) -> Iterator[Forgery[Request]]:
    """Yield a request with one thing changed at a time, of what its proof consists of and of what it covers."""
    yield from _other_headers(real)
    yield from _other_queries(real, covers)
    if "peer" in covers:
        yield "another peer", replace(real, peer=_OTHER_PEER)
    if "body" in covers:
        yield from _other_bodies(real)


def garbage(real: Request) -> Iterator[Forgery[Request]]:
    """Yield a request with another content, such as no provider sends, and with all else that it proves itself by."""
    for body in _NO_DOCUMENTS:
        yield f"the body {body[:20]!r}", replace(real, body=body, form={})
    yield "a form of nothing", replace(real, body=b"&&=", form={"": ""})
    yield "nothing but zeros", replace(real, form=dict.fromkeys(real.form, "\0"))
    yield "no content", replace(real, body=b"", form={})


def _other_headers(real: Request) -> Iterator[Forgery[Request]]:
    if real.headers:
        yield "no headers", replace(real, headers={})
    for name, value in real.headers.items():
        yield f"another {name}", replace(real, headers={**real.headers, name: value[::-1]})
        yield f"an empty {name}", replace(real, headers={**real.headers, name: ""})
        yield f"a longer {name}", replace(real, headers={**real.headers, name: value + "="})
        yield f"letters in {name}", replace(real, headers={**real.headers, name: "\u00e9"})


def _other_queries(real: Request, covers: frozenset[str]) -> Iterator[Forgery[Request]]:
    names = [name for name in real.query if covers & {"query", f"query.{name}"}]
    for what, query in _changed(real.query, names):
        yield f"{what} in the query", replace(real, query=query, url=_with_query(real.url, query))


def _other_bodies(real: Request) -> Iterator[Forgery[Request]]:
    members = _members(real.body)
    if real.form:
        for what, form in _changed(real.form, real.form):
            yield f"{what} in the form", replace(real, form=form, body=urlencode(form).encode())
    elif members:
        for what, document in _changed(members, members):
            yield f"{what} in the document", replace(real, body=json.dumps(document).encode())
    elif real.body:
        yield "another body", replace(real, body=real.body + b" ")


def _changed(members: Mapping[str, Any], names: Mapping[str, Any] | list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in names:
        yield f"another {name}", {**members, name: f"{members[name]}0"}
        yield f"letters as {name}", {**members, name: "\u00e9"}
        yield f"no {name}", {other: value for other, value in members.items() if other != name}


def _members(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _with_query(url: str, query: Mapping[str, str]) -> str:
    return urlsplit(url)._replace(query=urlencode(query)).geturl()
