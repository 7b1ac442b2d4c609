-- Notes the time of the server, about once a second, and whether its clock stepped back since.
-- KEYS state HASH, changed ZSET
-- ARGV is_settled 1 (rows due too late were repaired: go on from now) or 0
-- RETURNS 1 when the clock was over a second further ahead before than it is now, else 0
local state, changed = unpack(KEYS)
local is_settled = unpack(ARGV)
-- @include now
-- @include trim_changes

local noted = redis.call('HMGET', state, 'clock', 'committed_at')

local function time_of(text)
  local seconds = tonumber(text or 'nan')
  return seconds == seconds and seconds or nil -- nil for nan, too
end
local clock = time_of(noted[1]) or now - 1
-- A clock that was ahead for less than a second may have been noted by a commit only.
local committed_at = time_of(noted[2]) or now
local has_stepped = math.max(clock, committed_at) > now + 1
if has_stepped and is_settled == '0' then return 1 end

local at = string.format('%.6f', now)
if is_settled == '1' or clock <= now - 1 then redis.call('HSET', state, 'clock', at) end
if committed_at > now then redis.call('HSET', state, 'committed_at', at) end
return 0
