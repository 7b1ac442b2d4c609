-- Commits what was read of a claimed batch: writes the values, pulls the due times back to claimed_at + delay.
-- KEYS schedule ZSET, delay ZSET, refreshed ZSET, failures HASH, stats HASH, wake LIST
-- ARGV value_prefix text, claimed_at time, lease_until time, ttl_ms milliseconds (0: none), count rows,
--      row_id text..., value JSON..., late milliseconds late at the claim...
-- RETURNS {refreshed, unchanged, superseded, dropped}
local schedule, delay, refreshed, failures, stats, wake = unpack(KEYS)
local value_prefix, claimed_at, lease_until, ttl_ms, count = unpack(ARGV)
claimed_at, lease_until, ttl_ms, count = tonumber(claimed_at), tonumber(lease_until), tonumber(ttl_ms), tonumber(count)
local row_ids, names = {unpack(ARGV, 6, 5 + count)}, {}
for i, row_id in ipairs(row_ids) do names[i] = value_prefix .. row_id end

local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local scores = redis.call('ZMSCORE', schedule, unpack(row_ids))
local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
local fences = redis.call('ZMSCORE', refreshed, unpack(row_ids))
local cached = redis.call('MGET', unpack(names))
local changed, reschedule, fresh, committed, tally = {}, {}, {}, {}, {}
local function count_one(field) tally[field] = (tally[field] or 0) + 1 end
for i, row_id in ipairs(row_ids) do
  local delay_s, due = tonumber(delays[i] or 0), now
  if delay_s <= 0 then
    count_one('dropped') -- Unscheduled since the claim: a value written now would never go away again.
  elseif tonumber(fences[i] or '-inf') >= claimed_at or claimed_at > now then
    count_one('superseded') -- Committed by another since the claim (or the clock stepped back): ours may be older.
  else
    local value = ARGV[5 + count + i]
    count_one(cached[i] == value and 'unchanged' or 'refreshed')
    if cached[i] ~= value then table.insert(changed, names[i]); table.insert(changed, value) end
    table.insert(fresh, now); table.insert(fresh, row_id)
    table.insert(committed, row_id)
    local late_ms = ARGV[5 + 2 * count + i] + (now - claimed_at) * 1000
    count_one('late:' .. math.ceil(4 * math.log(math.max(late_ms, 1)) / math.log(2)))
    due = claimed_at + delay_s
  end
  -- Whoever rescheduled the row since the claim stands. A row of ours not written goes back to being due now.
  if tonumber(scores[i] or 'nan') == lease_until then table.insert(reschedule, due); table.insert(reschedule, row_id) end
end
if #changed > 0 then redis.call('MSET', unpack(changed)) end
if ttl_ms > 0 then for _, row_id in ipairs(committed) do redis.call('PEXPIRE', value_prefix .. row_id, ttl_ms) end end
if #reschedule > 0 then redis.call('ZADD', schedule, unpack(reschedule)) end
if #fresh > 0 then
  redis.call('ZADD', refreshed, unpack(fresh))
  redis.call('HDEL', failures, unpack(committed))
  redis.call('HSET', stats, 'committed_at', string.format('%.17g', now))
end
if #committed < count and redis.call('LLEN', wake) < 4 then redis.call('RPUSH', wake, '1') end
for field, n in pairs(tally) do redis.call('HINCRBY', stats, field, n) end
return {tally.refreshed or 0, tally.unchanged or 0, tally.superseded or 0, tally.dropped or 0}
