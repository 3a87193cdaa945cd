"""Rules without I/O, framework or clock."""
