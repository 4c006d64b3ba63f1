-- set_service_state: write the state of one pod of a service and the time of the write.
--
-- KEYS  1 hash of pod states   2 hash of times (the first key, then "@")
-- ARGV  1 pod id   2 state
-- Reply nil
--
-- A time is stored as "<milliseconds> <state>": it counts only for that state, not for one that another
-- program writes later. HEXISTS fails for a key of another type before the first write.

local states, times = KEYS[1], KEYS[2]
local pod, state = ARGV[1], ARGV[2]

redis.call("HEXISTS", states, pod)
redis.call("HEXISTS", times, pod)

local now = redis.call("TIME")
local stamp = string.format("%.0f", now[1] * 1000 + math.floor(now[2] / 1000))
redis.call("HSET", states, pod, state)
redis.call("HSET", times, pod, stamp .. " " .. state)

-- Another program may delete states, or the whole service, and leave the times. The times expire a year
-- after the last write. At most once an hour a write deletes the times of pods without a state.
if redis.call("PTTL", times) < 31536000000 - 3600000 then
  for _, dated in ipairs(redis.call("HKEYS", times)) do
    if redis.call("HEXISTS", states, dated) == 0 then
      redis.call("HDEL", times, dated)
    end
  end
  redis.call("PEXPIRE", times, "31536000000")
end
return false
