-- Pauses a table, so that no dispatcher claims its rows, or resumes it. The last change that was
-- enqueued stands.
-- KEYS state HASH, wake LIST
-- ARGV stamp time ("": now), is_paused 1 or 0
-- RETURNS 1, or 0 when a change enqueued later was applied already
local state, wake = unpack(KEYS)
local stamp, is_paused = unpack(ARGV)
-- @include now
-- @include wake
stamp = tonumber(stamp) or now
local at = string.format('%.6f', now)

local newest = tonumber(redis.call('HGET', state, 'pause_stamp'))
local was_paused = tonumber(redis.call('HGET', state, 'paused')) and '1' or '0'

-- A stamp in the future is left from before the clock stepped back.
if newest and newest > stamp and newest <= now then return 0 end

redis.call('HSET', state, 'pause_stamp', string.format('%.6f', stamp))
if was_paused == is_paused then return 1 end
if is_paused == '1' then
  redis.call('HSET', state, 'paused', at)
else
  redis.call('HDEL', state, 'paused')
  redis.call('HSET', state, 'resumed', at)
  wake_dispatcher()
end
return 1
