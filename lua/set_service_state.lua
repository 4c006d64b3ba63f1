-- set_service_state: the state of one pod of a service, and when it was written.
--
-- KEYS  1 hash of pod states   2 hash of times (the first key, then "@")
-- ARGV  1 pod id   2 state
-- Reply nil
--
-- Both keys are asked for the field first, so that a key of another type is found before the first
-- write.

local states, times = KEYS[1], KEYS[2]
local pod, state = ARGV[1], ARGV[2]

redis.call("HEXISTS", states, pod)
redis.call("HEXISTS", times, pod)

local now = redis.call("TIME")
local stamp = string.format("%.0f", now[1] * 1000 + math.floor(now[2] / 1000))
redis.call("HSET", states, pod, state)
redis.call("HSET", times, pod, stamp)
return false
