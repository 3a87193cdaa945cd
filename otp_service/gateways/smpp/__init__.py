"""SMPP 3.4 straight to an operator's SMSC: binds that are kept, a window of submits, and receipts over the same line.

Built on "Short Message Peer to Peer Protocol Specification v3.4", issue 1.2 (SMPP Developers Forum, 1999); sections
and appendices that are named here are those of it.
"""
