"""What must not be lost: consents, suppressions, what was sent. In SQL; no start or check waits for it."""
