-- Decides which of several dispatchers sends a due beat_schedule entry: the first within the gap.
-- KEYS beat HASH
-- ARGV name text, gap_s seconds
-- RETURNS 1 when the caller is to send it, else 0
local beat = unpack(KEYS)
local name, gap_s = unpack(ARGV)
-- @include now

local last = tonumber(redis.call('HGET', beat, name) or '-inf')

-- A time in the future is left from before the clock stepped back.
if last <= now and now - last < tonumber(gap_s) then return 0 end

redis.call('HSET', beat, name, exact(now))
return 1
