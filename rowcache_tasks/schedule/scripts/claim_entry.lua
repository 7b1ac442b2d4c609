-- Decides which of several dispatchers sends a due beat_schedule entry: the first to ask within the gap.
-- KEYS entries HASH
-- ARGV name text, gap_s seconds
-- RETURNS 1 when the caller is to send it, else 0
local entries = unpack(KEYS)
local name, gap_s = unpack(ARGV)

local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local last = tonumber(redis.call('HGET', entries, name) or '-inf')
-- A time in the future is left from before the clock stepped back.
if last <= now and now - last < tonumber(gap_s) then return 0 end
redis.call('HSET', entries, name, string.format('%.17g', now))
return 1
