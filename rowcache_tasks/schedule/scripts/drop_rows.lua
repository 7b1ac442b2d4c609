-- Unschedules rows and removes their values at once. The change is remembered, so that an older one cannot undo it.
-- KEYS schedule ZSET, delay ZSET, refreshed ZSET, changed ZSET, failures HASH, stats HASH
-- ARGV value_prefix text, fill_prefix text, stamp time ("": now), row_id text...
-- RETURNS {applied, ignored}
local schedule, delay, refreshed, changed, failures, stats = unpack(KEYS)
local value_prefix, fill_prefix, stamp = unpack(ARGV)
local row_ids = {unpack(ARGV, 4)}

local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
stamp = tonumber(stamp) or now
local stamps = redis.call('ZMSCORE', changed, unpack(row_ids))
local applied, values, marks = {}, {}, {}
for i, row_id in ipairs(row_ids) do
  local newest = tonumber(stamps[i] or '-inf')
  -- A change enqueued later was applied already. One from the future is left from before the clock stepped back.
  if newest <= stamp or newest > now then
    table.insert(applied, row_id)
    table.insert(values, value_prefix .. row_id)
    table.insert(values, fill_prefix .. value_prefix .. row_id) -- a fill in flight must not write the value back
    table.insert(marks, stamp)
    table.insert(marks, row_id)
  end
end
if #applied > 0 then
  redis.call('DEL', unpack(values))
  redis.call('HDEL', failures, unpack(applied))
  redis.call('ZREM', refreshed, unpack(applied))
  redis.call('ZREM', schedule, unpack(applied))
  redis.pcall('HINCRBY', stats, 'dropped', redis.call('ZREM', delay, unpack(applied)))
  redis.call('ZADD', changed, unpack(marks)) -- last: a server that is full allows it only after what frees memory
end
local old = redis.call('ZRANGE', changed, '-inf', now - 86400, 'BYSCORE', 'LIMIT', 0, 250)
if #old > 0 then redis.call('ZREM', changed, unpack(old)) end
return {#applied, #row_ids - #applied}
