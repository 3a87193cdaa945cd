"""Use cases, one function each: what the API, the worker and the CLI call."""
