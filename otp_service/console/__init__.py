"""The web page for support, fraud, compliance and operations."""
