"""Sandbox: keeps messages instead of sending them, and fails as it is told to."""
