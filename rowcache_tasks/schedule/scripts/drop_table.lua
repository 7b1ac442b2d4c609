-- Notes that the table was dropped: from now on, no change that was enqueued before schedules a row. The rows themselves
-- are dropped by others; of changes from before, which have nothing left to say, up to a limit are forgotten.
-- KEYS stats HASH, changed ZSET
-- ARGV stamp time, limit rows
-- RETURNS number of changes forgotten
local stats, changed = unpack(KEYS)
local stamp, limit = unpack(ARGV)

local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local newest = tonumber(redis.pcall('HGET', stats, 'dropped_at'))
if not newest or not (newest >= tonumber(stamp)) or newest > now then
  local noted = redis.pcall('HSET', stats, 'dropped_at', stamp)
  if type(noted) == 'table' then return 0 end -- another program's key: the rows' own changes are all there is
end
local old = redis.call('ZRANGE', changed, '-inf', stamp, 'BYSCORE', 'LIMIT', 0, limit)
if #old > 0 then redis.call('ZREM', changed, unpack(old)) end
return #old
