-- get_linked_pod_if_persist: the pod that owns a uid.
--
-- KEYS  1 link key
-- Reply {value or nil, 1 when the link key has no TTL, else 0}. The caller checks the value of a
--       transient link too: a value that is no pod id is never skipped.
--
-- before          after       reply
-- absent          unchanged   {nil, 0}
-- transient(p)    unchanged   {p, 0}
-- persistent(p)   unchanged   {p, 1}

local value = redis.call("GET", KEYS[1])
return {value, redis.call("PTTL", KEYS[1]) == -1 and 1 or 0}
