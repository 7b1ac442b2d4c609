-- Notes how far the clock has come, about once a second; tells by how much it has stepped back since.
-- KEYS stats HASH
-- ARGV is_settled 1 (what a step has left in the future was mended: go on from now) or 0
-- RETURNS 1 when the clock was further ahead before than it is now, by over a second, else 0
local stats = unpack(KEYS)
local is_settled = unpack(ARGV)

local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local ahead = tonumber(redis.call('HGET', stats, 'clock') or '-inf') or now - 1
if is_settled == '0' and ahead > now + 1 then return 1 end
if is_settled == '1' or ahead <= now - 1 then redis.call('HSET', stats, 'clock', string.format('%.6f', now)) end
return 0
