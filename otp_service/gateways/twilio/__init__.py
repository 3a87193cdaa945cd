"""Twilio: SMS, calls and WhatsApp."""
