-- read_service_state: the pod states of a service and when they were written.
--
-- KEYS  1 hash of pod states   2 hash of times (the first key, then "@")
-- Reply {fields and values of the states, fields and values of the times}
--
-- Changes nothing.

return {redis.call("HGETALL", KEYS[1]), redis.call("HGETALL", KEYS[2])}
