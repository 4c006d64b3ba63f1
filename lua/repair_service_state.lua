-- repair_service_state: delete malformed pod states and times of a service.
--
-- KEYS  1 hash of pod states   2 hash of times (the first key, then "@")
-- ARGV  1 "1" for a dry run
-- Reply {key, field or nil, value or type found, command} for each repair, also in a dry run
--
-- found                                                  done
-- a key of another type                                  deleted
-- field that is not a pod id, or state that is not text  deleted
-- time that is malformed or not of the stored state      deleted
--
-- Nothing else is changed.

local states, times = KEYS[1], KEYS[2]
local dry_run = ARGV[1] == "1"

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

local sound = {}
local kind = redis.call("TYPE", states).ok
if kind == "hash" then
  local fields = redis.call("HGETALL", states)
  for i = 1, #fields, 2 do
    local pod, state = fields[i], fields[i + 1]
    if is_pod_id(pod) and is_text(state) then
      sound[pod] = state
    else
      repair(states, pod, state, "HDEL", pod)
    end
  end
elseif kind ~= "none" then
  repair(states, false, kind, "DEL")
end

kind = redis.call("TYPE", times).ok
if kind == "hash" then
  local fields = redis.call("HGETALL", times)
  for i = 1, #fields, 2 do
    local pod, time = fields[i], fields[i + 1]
    local ms, made_for = time:match("^(%d+) (.*)$")
    if not sound[pod] or made_for ~= sound[pod] or #ms > 14 then
      repair(times, pod, time, "HDEL", pod)
    end
  end
elseif kind ~= "none" then
  repair(times, false, kind, "DEL")
end

return repairs
