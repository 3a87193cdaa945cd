"""A site's own rules, applied before each message, and verifiers of human checks, called by a start."""
