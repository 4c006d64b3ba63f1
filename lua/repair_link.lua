-- repair_link: delete malformed values at the keys of a link, so that the link is absent, transient or
-- persistent.
--
-- KEYS  1 link key   2 index hash of the uid   3 creation time of the link (link key, then "@")
-- ARGV  1 service    2 "1" for a dry run
-- Reply {key, field or nil, value or type found, command} for each repair, also in a dry run
--
-- found                                                         done
-- link or index of another type                                 deleted
-- link whose value is not a pod id                              deleted
-- index field that is not text, or whose value is not a pod id  deleted
-- persistent link, index entry missing or for another pod       index entry set
-- index entry without a persistent link                         deleted
-- creation time of another type, malformed or of another pod    deleted
--
-- Nothing else is changed.

local link, index, created = KEYS[1], KEYS[2], KEYS[3]
local service, dry_run = ARGV[1], ARGV[2] == "1"

local function is_pod_id(value)
  return value == "0"
    or (value:find("^[1-9]%d*$") ~= nil and #value <= 10 and tonumber(value) <= 2147483647)
end

-- Whether a value is valid UTF-8 with at least one character that is not Unicode white space.
local function is_text(value)
  local rest = value:gsub("[\194-\223][\128-\191]", "."):gsub("\224[\160-\191][\128-\191]", ".")
  rest = rest:gsub("[\225-\236\238\239][\128-\191][\128-\191]", ".")
  rest = rest:gsub("\237[\128-\159][\128-\191]", ".")
  rest = rest:gsub("\240[\144-\191][\128-\191][\128-\191]", ".")
  rest = rest:gsub("[\241-\243][\128-\191][\128-\191][\128-\191]", ".")
  rest = rest:gsub("\244[\128-\143][\128-\191][\128-\191]", ".")
  if rest:find("[\128-\255]") then
    return false
  end
  rest = value:gsub("[\9-\13\28-\32]", ""):gsub("\194[\133\160]", ""):gsub("\225\154\128", "")
  rest = rest:gsub("\226\128[\128-\138\168\169\175]", ""):gsub("\226\129\159", "")
  return rest:gsub("\227\128\128", "") ~= ""
end

local repairs = {}
local function repair(key, field, found, command, ...)
  repairs[#repairs + 1] = {key, field, found, command}
  if not dry_run then
    redis.call(command, key, ...)
  end
end

local pod = false
local kind = redis.call("TYPE", link).ok
if kind == "string" then
  pod = redis.call("GET", link)
  if not is_pod_id(pod) then
    repair(link, false, pod, "DEL")
    pod = false
  end
elseif kind ~= "none" then
  repair(link, false, kind, "DEL")
end

local entry = false
kind = redis.call("TYPE", index).ok
if kind == "hash" then
  local fields = redis.call("HGETALL", index)
  for i = 1, #fields, 2 do
    local field, value = fields[i], fields[i + 1]
    if not is_text(field) or not is_pod_id(value) then
      repair(index, field, value, "HDEL", field)
    elseif field == service then
      entry = value
    end
  end
elseif kind ~= "none" then
  repair(index, false, kind, "DEL")
end
local owner = pod and redis.call("PTTL", link) == -1 and pod
if owner and entry ~= owner then
  repair(index, service, entry, "HSET", service, owner)
elseif entry and not owner then
  repair(index, service, entry, "HDEL", service)
end

kind = redis.call("TYPE", created).ok
if kind == "string" then
  local time = redis.call("GET", created)
  local ms, made_for = time:match("^(%d+) (%d+)$")
  if not pod or made_for ~= pod or #ms > 14 then
    repair(created, false, time, "DEL")
  end
elseif kind ~= "none" then
  repair(created, false, kind, "DEL")
end

return repairs
