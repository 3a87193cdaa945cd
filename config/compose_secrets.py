"""Make the secret files that docker-compose.yml mounts; those that exist already are kept.

Needs nothing but Python: the keys have the forms of ``otp-service key root``, ``pseudonym`` and ``new``.
"""

import base64
import hashlib
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path

KEY_BYTES = 32


def main() -> None:
    """Make what is missing in ``secrets/``."""
    folder = Path(__file__).resolve().parent.parent / "secrets"
    folder.mkdir(mode=0o700, exist_ok=True)
    _keep(folder / "root_keys", f"{datetime.now(UTC):k%y%m}:{_key()}")
    _keep(folder / "pseudonym_key", _key())
    password = _keep(folder / "postgres_password", secrets.token_urlsafe(KEY_BYTES))
    _keep(folder / "ledger_url", f"postgresql://otp_service:{password}@postgres:5432/otp_service")
    _keep(folder / "receipt_secret", secrets.token_urlsafe(KEY_BYTES))
    _keep(folder / "grafana_password", secrets.token_urlsafe(KEY_BYTES))
    api_key = _keep(folder / "api_key", f"otp_{secrets.token_urlsafe(KEY_BYTES)}")
    digest = hashlib.sha256(api_key.encode()).hexdigest()
    _keep(folder / "applications.env", f'OTP_SERVICE__APPLICATIONS__DEV__KEYS=["sha256:{digest}"]')
    sys.stderr.write(f"The keys are in {folder}. The API key of the application dev: secrets/api_key\n")


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def _keep(path: Path, content: str) -> str:
    """Write a file unless it is there; return what it holds.

    The folder is closed to others; the files are not, since a container reads them as a user of its own.
    """
    if not path.exists():
        path.write_text(f"{content}\n")
        path.chmod(0o644)
    return path.read_text().strip()


if __name__ == "__main__":
    main()
