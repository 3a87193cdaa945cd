"""Twilio Verify's API (v2) for Twilio's libraries; docs/migrate.md lists the calls and the differences."""
