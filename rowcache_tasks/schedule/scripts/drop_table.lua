-- Notes that the table is dropped: no change that was enqueued before schedules a row any more.
-- The rows are dropped by drop_rows. Changes from before are forgotten, up to a limit.
-- KEYS state HASH, changed ZSET
-- ARGV stamp time, limit rows
-- RETURNS number of changes forgotten
local state, changed = unpack(KEYS)
local stamp, limit = unpack(ARGV)
-- @include now
-- @include epoch

local dropped_at = tonumber(redis.pcall('HGET', state, 'dropped_at'))

-- A time in the future is left from before the clock stepped back.
if not dropped_at or not (dropped_at >= tonumber(stamp)) or dropped_at > now then
  local reply = redis.pcall('HSET', state, 'dropped_at', stamp)
  -- Another program's key: the changes of the rows are all that is left, and stay.
  if type(reply) == 'table' then return 0 end
end
-- A fill that began by a clock that was ahead is refused.
note_clock()
local old = redis.call('ZRANGE', changed, '-inf', stamp, 'BYSCORE', 'LIMIT', 0, limit)
if #old > 0 then redis.call('ZREM', changed, unpack(old)) end
return #old
