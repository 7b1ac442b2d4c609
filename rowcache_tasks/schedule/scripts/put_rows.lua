-- Schedules rows: each has a delay from now on and is due once its start offset has passed.
-- KEYS schedule ZSET, delay ZSET, changed ZSET, failures HASH, stats HASH, wake LIST
-- ARGV value_prefix text, stamp time ("": now), is_new 1 (leave rows alone that are scheduled already) or 0, count rows,
--      row_id text..., delay_s seconds..., start_in_s seconds from now...
-- RETURNS {applied, ignored, left alone}
local schedule, delay, changed, failures, stats, wake = unpack(KEYS)
local value_prefix, stamp, is_new, count = unpack(ARGV)
local row_ids = {unpack(ARGV, 5, 4 + count)}

local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
stamp = tonumber(stamp) or now
local stamps = redis.call('ZMSCORE', changed, unpack(row_ids))
local due, delays, marks, applied, values, starts_now, left, held = {}, {}, {}, {}, {}, false, 0, {}
local before = redis.call('ZMSCORE', delay, unpack(row_ids))
if is_new == '1' then held = redis.call('ZMSCORE', schedule, unpack(row_ids)) end
local dropped_at = tonumber(redis.pcall('HGET', stats, 'dropped_at')) or 0 -- the whole table
if dropped_at > now then dropped_at = 0 end
for i, row_id in ipairs(row_ids) do
  local newest = tonumber(stamps[i] or '-inf')
  -- A change enqueued later was applied already. One from the future is left from before the clock stepped back.
  if held[i] and before[i] then
    left = left + 1
  elseif not (stamp < dropped_at) and (newest <= stamp or newest > now) then
    local start_in_s = tonumber(ARGV[4 + 2 * count + i])
    starts_now = starts_now or start_in_s <= 0
    table.insert(due, now + start_in_s); table.insert(due, row_id)
    table.insert(delays, ARGV[4 + count + i]); table.insert(delays, row_id)
    table.insert(marks, stamp); table.insert(marks, row_id)
    table.insert(applied, row_id)
    if tonumber(before[i] or 0) <= 0 then table.insert(values, value_prefix .. row_id) end
  end
end
if #applied > 0 then
  redis.call('ZADD', changed, unpack(marks))
  redis.call('ZADD', delay, unpack(delays))
  redis.call('ZADD', schedule, unpack(due))
  redis.call('HDEL', failures, unpack(applied))
  -- What a reader has filled in would expire. Not earlier: after a first write that needs no memory, a server that is
  -- full would allow the others.
  for _, value in ipairs(values) do redis.call('PERSIST', value) end
  if starts_now and redis.call('LLEN', wake) < 4 then redis.call('RPUSH', wake, '1') end
end
local old = redis.call('ZRANGE', changed, '-inf', now - 86400, 'BYSCORE', 'LIMIT', 0, 250)
if #old > 0 then redis.call('ZREM', changed, unpack(old)) end
return {#applied, count - #applied - left, left}
