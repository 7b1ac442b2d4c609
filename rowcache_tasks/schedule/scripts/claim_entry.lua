-- Decides which of several dispatchers sends a due beat_schedule entry: the first within the gap.
-- KEYS beat HASH
-- ARGV name text, gap_s seconds, token text (one for each decision)
-- RETURNS 1 when the caller is to send it, also when it asks again with its token; else 0
local beat = unpack(KEYS)
local name, gap_s, token = unpack(ARGV)
-- @include now

local at, by = (redis.call('HGET', beat, name) or ''):match('^(%S+) ?(.*)$')
local last = tonumber(at or '-inf') or -math.huge

-- The first reply was lost, and the client has sent the call again.
if by == token then return 1 end
-- A time in the future is left from before the clock stepped back.
if last <= now and now - last < tonumber(gap_s) then return 0 end

redis.call('HSET', beat, name, exact(now) .. ' ' .. token)
return 1
