-- Notes how far the clock has come, about once a second, and tells when it has stepped back since; forgets some of the
-- changes of over a day ago.
-- KEYS stats HASH, changed ZSET
-- ARGV is_settled 1 (what a step has left in the future was mended: go on from now) or 0
-- RETURNS 1 when the clock was over a second further ahead before than it is now, else 0
local stats, changed = unpack(KEYS)
local is_settled = unpack(ARGV)

local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local old = redis.pcall('ZRANGE', changed, '-inf', now - 86400, 'BYSCORE', 'LIMIT', 0, 250)
if #old > 0 then redis.call('ZREM', changed, unpack(old)) end
local noted = redis.call('HMGET', stats, 'clock', 'committed_at')
local clock, committed_at = tonumber(noted[1] or 'nan'), tonumber(noted[2] or 'nan')
if not clock or clock ~= clock then clock = now - 1 end -- not noted yet, or no number
-- A clock that was ahead for less than a second was perhaps noted by a commit only.
if not committed_at or committed_at ~= committed_at then committed_at = now end
if is_settled == '0' and math.max(clock, committed_at) > now + 1 then return 1 end
if is_settled == '1' or clock <= now - 1 then redis.call('HSET', stats, 'clock', string.format('%.6f', now)) end
if committed_at > now then redis.call('HSET', stats, 'committed_at', string.format('%.6f', now)) end
return 0
