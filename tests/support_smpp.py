"""What tests of the smpp gateway share: the contract suite with an SMSC for a provider, gateways that are closed."""

import contextlib
import datetime as dt
import ipaddress
import ssl
import threading
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support_missing import missing
from support_smsc import CUT, SILENT, Smsc

from otp_service.gateways.base import GatewayError
from otp_service.gateways.smpp.gateway import SmppGateway
from otp_service.testing.provider import MISBEHAVIOUR_SECONDS, Behaviour, gateway_context
from otp_service.testing.samples import MESSAGE, CannedResponse
from otp_service.testing.suite import GatewayContract

ACCOUNT = {"host": "127.0.0.1", "system_id": "shop-id", "password": "s3cret-9", "source": "Acme", "rebind_after": 0.05}


class SmppProvider(Smsc):
    """An SMSC as the contract suite wants its providers: a response's status is the command status, its body the id."""

    def __init__(self):
        super().__init__()
        self.behaviour, self.response, self.received = Behaviour.CANNED, CannedResponse(), []
        self.leaving = threading.Event()
        self.answer = self._answer

    def __exit__(self, *_):
        self.leaving.set()
        self.stop()

    def _answer(self, submit, _number):
        path, document = submit.connection.bound, {**submit.members, "short_message": submit.short_message.hex()}
        document["tlvs"] = {f"{tag:04x}": value.hex() for tag, value in submit.tlvs.items()}
        self.received.append(
            SimpleNamespace(method="submit_sm", path=path, query={}, headers={}, form={}, document=document)
        )
        if self.behaviour is Behaviour.ECHO:
            texts = submit.tlvs.get(0x0424) or submit.short_message
            return self.response.status, f"{submit.destination_addr} {texts.decode('utf-16-be')}".encode().decode(
                "latin-1"
            )
        if self.behaviour in {Behaviour.DRIP, Behaviour.FLOOD}:
            threading.Thread(target=self._stream, args=(submit,), daemon=True).start()
        silent = {Behaviour.SILENT, Behaviour.DRIP, Behaviour.FLOOD}
        canned = (self.response.status, self.response.body)
        return SILENT if self.behaviour in silent else CUT if self.behaviour is Behaviour.CUT else canned

    def _stream(self, submit):
        drips = self.behaviour is Behaviour.DRIP
        pieces = [b"\0", b"\0", b"\1", b"\0"] * 100 if drips else [b"\x7f\xff\xff\xf0" + b"x" * 65_536] * 1000
        for piece in pieces[: int(MISBEHAVIOUR_SECONDS / 0.02)]:
            if self.leaving.wait(0.02 if drips else 0.005):
                return
            with contextlib.suppress(OSError):
                submit.connection.raw(piece)


class SmppContract(GatewayContract):
    def make_provider(self):
        return SmppProvider()

    @pytest.fixture(autouse=True)
    def _closed(self):
        self.made = []
        yield
        for gateway in self.made:
            gateway.close()

    def gateway(self, settings):
        self.made.append(super().gateway(settings))
        return self.made[-1]


def other_library():
    """Return ``smpp34``, which is nobody's of us, where it is there."""
    try:
        import smpp34  # noqa: PLC0415 - only these tests need it
    except ImportError:
        missing("smpp34")
    return smpp34


class Authority:
    """A certificate for 127.0.0.1 that nobody trusts who is not told to, and a wrapper for a server's sockets."""

    def __init__(self, folder):
        key, self.authority = folder / "key.pem", folder / "authority.pem"
        private = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder(name, name, private.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(1)).not_valid_after(now + dt.timedelta(1))
        addresses = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = builder.add_extension(addresses, critical=False).sign(private, hashes.SHA256())
        encoding = serialization.Encoding.PEM
        key.write_bytes(
            private.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        self.authority.write_bytes(certificate.public_bytes(encoding))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.authority, key)

    def wrap(self, peer):
        return self._context.wrap_socket(peer, server_side=True)


def attempt(gateway, message):
    """Return what comes of a message, a failure too."""
    try:
        return gateway.send(message)
    except GatewayError as failure:
        return failure


@contextlib.contextmanager
def gateway_at(smsc, receipt_sink=None, inbound_sink=None, **settings):
    """Yield a gateway for an SMSC; close it."""
    read = SmppGateway.Settings.model_validate({**ACCOUNT, "port": smsc.port, "timeout": 5.0, **settings})
    gateway = SmppGateway(read, gateway_context(receipts=receipt_sink, inbound=inbound_sink))
    try:
        yield gateway
    finally:
        gateway.close()


__all__ = ["ACCOUNT", "MESSAGE", "Authority", "SmppContract", "attempt", "gateway_at", "other_library"]
