-- Takes back that a start names a user, which was refused.
return redis.call('LREM', key.verifications, 1, arg.by)
