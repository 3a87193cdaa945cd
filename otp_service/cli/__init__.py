"""The command line: set up, look at, run and try an installation."""
