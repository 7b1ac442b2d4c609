-- Pauses a table, so that no dispatcher claims its rows, or resumes it. The change that was enqueued last stands.
-- KEYS stats HASH, wake LIST
-- ARGV stamp time ("": now), is_paused 1 or 0
-- RETURNS 1, or 0 when a change enqueued later was applied already
local stats, wake = unpack(KEYS)
local stamp, is_paused = unpack(ARGV)

local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
stamp = tonumber(stamp) or now
local newest = tonumber(redis.call('HGET', stats, 'pause_stamp'))
-- One from the future is left from before the clock stepped back.
if newest and newest > stamp and newest <= now then return 0 end
redis.call('HSET', stats, 'pause_stamp', string.format('%.6f', stamp))
local is_now = tonumber(redis.call('HGET', stats, 'paused')) and '1' or '0'
if is_now == is_paused then return 1 end
if is_paused == '1' then
  redis.call('HSET', stats, 'paused', string.format('%.6f', now))
else
  redis.call('HDEL', stats, 'paused')
  redis.call('HSET', stats, 'resumed', string.format('%.6f', now))
  if redis.call('LLEN', wake) < 4 then redis.call('RPUSH', wake, '1') end
end
return 1
