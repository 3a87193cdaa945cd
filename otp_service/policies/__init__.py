"""Rules of a site's own, asked by the worker before a gateway is: never on the HTTP path."""
