"""Twilio Verify's API (v2) over the same use cases: forms in, Twilio's JSON and errors out.

For programs that use Twilio's libraries. A service of Twilio's is a purpose of the application. docs/migrate.md lists
the calls and the differences.
"""
