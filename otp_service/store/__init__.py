"""The hot state in Redis, which expires: one state change, one Lua script, one round trip."""
