-- Learns a plan: what the starts of an application, purpose, country and channel have in common. It is kept until the
-- server restarts.
--
-- ARGV[1] its name, a digest   ARGV[2] the plan as JSON
-- Returns: OK

plans[ARGV[1]] = cjson.decode(ARGV[2])
return 'OK'
