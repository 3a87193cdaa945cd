"""What an operator sees of a running service: log lines and metrics, both without personal data."""
