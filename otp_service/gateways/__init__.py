"""Gateways: how a message leaves. One file each, joined by an entry point."""
