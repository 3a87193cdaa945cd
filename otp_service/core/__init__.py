"""The rules, without I/O, framework or clock: everything here is a function of its arguments."""
