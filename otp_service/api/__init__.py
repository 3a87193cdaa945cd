"""The HTTP edge: reads requests strictly, calls the use cases, writes their answers. No rule is decided here."""
