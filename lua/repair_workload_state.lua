-- repair_workload_state: delete the state of a workload, or its time, if it is malformed.
--
-- KEYS  1 workload state   2 its time (the first key, then "@")
-- ARGV  1 "1" for a dry run
-- Reply {key, nil, value or type found, command} for each repair, also in a dry run
--
-- found                                              done
-- a key of another type                              deleted
-- state that is not text                             deleted
-- time that is malformed or not of the stored state  deleted
--
-- Nothing else is changed.

local workload, time = KEYS[1], KEYS[2]
local dry_run = ARGV[1] == "1"

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

local state = false
local kind = redis.call("TYPE", workload).ok
if kind == "string" then
  state = redis.call("GET", workload)
  if not is_text(state) then
    repair(workload, false, state, "DEL")
    state = false
  end
elseif kind ~= "none" then
  repair(workload, false, kind, "DEL")
end

kind = redis.call("TYPE", time).ok
if kind == "string" then
  local stamp = redis.call("GET", time)
  local ms, made_for = stamp:match("^(%d+) (.*)$")
  if not state or made_for ~= state or #ms > 14 then
    repair(time, false, stamp, "DEL")
  end
elseif kind ~= "none" then
  repair(time, false, kind, "DEL")
end

return repairs
