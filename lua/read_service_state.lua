-- read_service_state: read the pod states of a service and the times at which they were written.
--
-- KEYS  1 hash of pod states   2 hash of times (the first key, then "@")
-- Reply {fields and values of the states, fields and values of the times}
--
-- Read-only.

return {redis.call("HGETALL", KEYS[1]), redis.call("HGETALL", KEYS[2])}
