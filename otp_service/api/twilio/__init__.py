"""Twilio Verify's API (v2) over the same use cases: forms in, its JSON and its errors out.

For programs that use Twilio's libraries. A service of theirs is a purpose of the application. What they call, and what
differs, is told in docs/migrate.md.
"""
