"""Certificates for tests; servers and Sentinels that speak TLS only, and to users with passwords."""

import datetime as dt
import shutil
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LOOPBACK = x509.IPAddress(IPv4Address("127.0.0.1"))


_A_DAY = dt.timedelta(days=1)


def make_certificate(
    folder: Path,
    bears: x509.GeneralName = LOOPBACK,
    life: tuple[dt.timedelta, dt.timedelta] = (-_A_DAY, _A_DAY),
    signed_by: Path | None = None,
) -> Path:
    """Return a certificate that bears an address or a name, with its key in one file.

    It signs itself, unless it is ``signed_by`` another such file; ``life`` is from when to when, from now on.
    """
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    signer = key
    if signed_by:
        signer = serialization.load_pem_private_key(signed_by.read_bytes(), None)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signed by a test")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now + life[0]).not_valid_after(now + life[1])
        .add_extension(x509.SubjectAlternativeName([bears]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )  # fmt: skip
    file = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


PASSWORD = "hunter2"
"""Of all users."""


def tls_program() -> str | None:
    """Return the path of a server that speaks TLS, which the one in the wheel does not, if one is installed."""
    return shutil.which("valkey-server") or shutil.which("redis-server")


@dataclass(frozen=True)
class Secured:
    """How servers and Sentinels are closed to plain text and to strangers. ``otp`` is the service's user."""

    program: str
    certificate: Path
    rights: str
    """Of the service's user of a server."""

    def options(self, port: int) -> list[str]:
        """Return what a server is started with."""
        lines = [*self._lines(port, self.rights), "masteruser admin", f"masterauth {PASSWORD}"]
        return [word for line in lines for word in f"--{line}".split()]

    def of_sentinel(self, port: int, service: str) -> str:
        """Return the rest of a Sentinel's configuration."""
        own = ("sentinel-user admin", f"sentinel-pass {PASSWORD}")
        theirs = (f"auth-user {service} admin", f"auth-pass {service} {PASSWORD}")
        asked = " ".join(f"+sentinel|{one}" for one in ("masters", "slaves", "ckquorum", "failover"))
        lines = self._lines(port, f"{asked} +@connection")
        return "\n".join([*lines, *(f"sentinel {one}" for one in (*own, *theirs)), ""])

    def client(self, port: int) -> redis.Redis:
        """Return a client that may do everything."""
        return redis.Redis(
            port=port, socket_timeout=2.0, ssl=True, ssl_ca_certs=str(self.certificate), ssl_check_hostname=False,
            username="admin", password=PASSWORD,
        )  # fmt: skip

    def _lines(self, port: int, rights: str) -> list[str]:
        return [
            "port 0", f"tls-port {port}", "tls-auth-clients no", "tls-replication yes", "tls-cluster yes",
            *(f"tls-{part}-file {self.certificate}" for part in ("cert", "key", "ca-cert")),
            "user default off", f"user admin on >{PASSWORD} ~* &* +@all", f"user otp on >{PASSWORD} {rights}",
        ]  # fmt: skip
