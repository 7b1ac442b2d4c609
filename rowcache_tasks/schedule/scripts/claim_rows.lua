-- Claims the due rows, earliest first: pushes the due time of each to the end of a lease.
-- KEYS schedule ZSET, delay ZSET, refreshed ZSET, failures HASH, stats HASH, queue ZSET
-- ARGV value_prefix text, fill_prefix text, lease_s seconds, limit rows, max_wait_s seconds
-- RETURNS {claimed_at, lease_until, next due time or "", batches not started yet, {ms late, rows, ms late, ...}, row id...},
--         no rows when the table is paused; or {claimed_at}, no claim: a batch sent max_wait_s ago was not started yet
local schedule, delay, refreshed, failures, stats, queue = unpack(KEYS)
local value_prefix, fill_prefix, lease_s, limit, max_wait_s = unpack(ARGV)
local time, late = redis.call('TIME'), {}
local now = time[1] + time[2] / 1e6
local lease_until = string.format('%.17g', now + lease_s)
local fence = string.format('%.17g', now - 5e-7) -- after any claim before: they are 1 us apart
local reply = {string.format('%.17g', now), lease_until, '', tonumber(redis.pcall('ZCARD', queue)) or 1e6, late}
if tonumber(redis.pcall('HGET', stats, 'paused')) then return reply end
local oldest = redis.pcall('ZRANGE', queue, 0, 0, 'WITHSCORES')[2]
if oldest and now - oldest > tonumber(max_wait_s) then return {reply[1]} end
local row_ids, leases, fences, gone, values = {}, {}, {}, {}, {}
local due = redis.call('ZRANGE', schedule, '-inf', now, 'BYSCORE', 'LIMIT', 0, limit, 'WITHSCORES')
for i = 1, #due / 2 do row_ids[i] = due[2 * i - 1] end
if #row_ids > 0 then
  local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
  for i, row_id in ipairs(row_ids) do
    if tonumber(delays[i] or 0) > 0 then
      leases[#leases + 1] = lease_until; leases[#leases + 1] = row_id; reply[#reply + 1] = row_id
      local late_ms = math.floor(math.min((now - due[2 * i]) * 1000, 1e12))
      if late[#late - 1] ~= late_ms then late[#late + 1] = late_ms; late[#late + 1] = 0 end
      late[#late] = late[#late] + 1
      fences[#fences + 1] = fence; fences[#fences + 1] = row_id
    else
      -- No delay, or one <= 0, is how any client says: stop caching this row.
      table.insert(gone, row_id); table.insert(values, value_prefix .. row_id)
      table.insert(values, fill_prefix .. value_prefix .. row_id)
    end
  end
end
if #gone > 0 then
  redis.call('DEL', unpack(values))
  redis.call('HDEL', failures, unpack(gone))
  for _, zset in ipairs({refreshed, delay, schedule}) do redis.call('ZREM', zset, unpack(gone)) end
  redis.pcall('HINCRBY', stats, 'dropped', #gone)
end
if #leases > 0 then
  redis.call('ZADD', schedule, unpack(leases))
  -- No fence: a new or dropped row, where refreshes from before must not be written. One in the future, left from
  -- before the server's clock stepped back, would refuse every commit. All others are lower, and stay.
  redis.call('ZADD', refreshed, 'LT', unpack(fences))
  redis.pcall('ZADD', queue, now, reply[1]); redis.pcall('HINCRBY', stats, 'claimed', #leases / 2)
end
reply[3] = redis.call('ZRANGE', schedule, 0, 0, 'WITHSCORES')[2] or ''
return reply
