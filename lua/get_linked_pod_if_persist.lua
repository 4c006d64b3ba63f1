-- get_linked_pod_if_persist: read the link of a uid, and whether it is persistent.
--
-- KEYS  1 link key
-- Reply {value or nil, 1 if the link key exists without a TTL, else 0}
--
-- The value of a transient link is returned too, so that the caller reports a malformed one.
--
-- before          after       reply
-- absent          unchanged   {nil, 0}
-- transient(p)    unchanged   {p, 0}
-- persistent(p)   unchanged   {p, 1}

local value = redis.call("GET", KEYS[1])
return {value, redis.call("PTTL", KEYS[1]) == -1 and 1 or 0}
