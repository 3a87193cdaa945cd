"""SMPP 3.4 to a carrier's SMSC: sessions that stay bound, a window of submits, receipts over the same session.

After "Short Message Peer to Peer Protocol Specification v3.4", issue 1.2 (SMPP Developers Forum, 1999); sections
and appendices named here are its own.
"""
