-- set_service_state: the state of one pod of a service, and when it was written.
--
-- KEYS  1 hash of pod states   2 hash of times (the first key, then "@")
-- ARGV  1 pod id   2 state
-- Reply nil
--
-- A time is kept as "<milliseconds> <state>", so that it says nothing of a state that another program
-- writes. Both keys are asked for the field first, so that a key of another type is found before the
-- first write.

local states, times = KEYS[1], KEYS[2]
local pod, state = ARGV[1], ARGV[2]

redis.call("HEXISTS", states, pod)
redis.call("HEXISTS", times, pod)

local now = redis.call("TIME")
local stamp = string.format("%.0f", now[1] * 1000 + math.floor(now[2] / 1000))
redis.call("HSET", states, pod, state)
redis.call("HSET", times, pod, stamp .. " " .. state)

-- Another program may delete states, or the whole service, and leave the times. They expire a year
-- after the last write; those of pods without a state are deleted with the first write of an hour.
if redis.call("PTTL", times) < 31536000000 - 3600000 then
  for _, dated in ipairs(redis.call("HKEYS", times)) do
    if redis.call("HEXISTS", states, dated) == 0 then
      redis.call("HDEL", times, dated)
    end
  end
  redis.call("PEXPIRE", times, "31536000000")
end
return false
