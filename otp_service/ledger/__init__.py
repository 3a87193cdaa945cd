"""What must not be lost: consents, suppressions, what was sent through whom. In SQL; starts and checks never ask it."""
