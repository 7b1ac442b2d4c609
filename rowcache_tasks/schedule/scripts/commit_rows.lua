-- Commits what was read of a claimed batch: writes the values, pulls the due times back to claimed_at + delay.
-- KEYS schedule ZSET, delay ZSET, refreshed ZSET, failures HASH, stats HASH, wake LIST, expiring STRING
-- ARGV value_prefix text, claimed_at time, lease_until time, ttl_ms milliseconds (0: none), count rows,
--      row_id text..., value JSON..., late milliseconds late at the claim and number of rows in turn...
-- RETURNS {refreshed, unchanged, superseded, dropped}
local schedule, delay, refreshed, failures, stats, wake, expiring = unpack(KEYS)
local value_prefix, claimed_at, lease_until, ttl_ms, count = unpack(ARGV)
claimed_at, ttl_ms, count = tonumber(claimed_at), tonumber(ttl_ms), tonumber(count)
local row_ids, names, time = {unpack(ARGV, 6, 5 + count)}, {}, redis.call('TIME')
for i = 1, count do names[i] = value_prefix .. row_ids[i] end
local now = time[1] + time[2] / 1e6
local at, took_ms, next_due, run, left, class = string.format('%.17g', now), (now - claimed_at) * 1e3, {}, 4 + 2 * count, 0
-- Lateness is counted in classes of 2^(class / 4) milliseconds.
local function late_class(ms) return 'late:' .. math.ceil(4 * math.log(math.max(ms + took_ms, 1)) / math.log(2)) end
local ours, held = {}, redis.call('ZRANGE', schedule, lease_until, lease_until, 'BYSCORE', 'LIMIT', 0, 1000)
for _, row_id in ipairs(held) do ours[row_id] = true end -- at most what one claim takes
local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
local fences = redis.call('ZMSCORE', refreshed, unpack(row_ids))
local cached = redis.call('MGET', expiring, unpack(names))
local changed, due, fresh, committed, tally = {}, {}, {}, {}, {superseded = 0, dropped = 0}
for i, row_id in ipairs(row_ids) do
  local delay_s, due_at = delays[i] or '0', at
  if left == 0 then run = run + 2; left, class = tonumber(ARGV[run + 1]), late_class(ARGV[run]) end; left = left - 1
  if tonumber(delay_s) <= 0 then
    tally.dropped = tally.dropped + 1 -- Unscheduled since the claim: a value written now would never go away again.
  elseif not fences[i] or tonumber(fences[i]) >= claimed_at or claimed_at > now then
    tally.superseded = tally.superseded + 1 -- Committed or dropped since the claim, or the clock stepped back: it may be old.
  else
    local value = ARGV[5 + count + i]
    if cached[i + 1] ~= value then changed[#changed + 1] = names[i]; changed[#changed + 1] = value end
    fresh[#fresh + 1] = at; fresh[#fresh + 1] = row_id; committed[#committed + 1] = row_id
    tally[class] = (tally[class] or 0) + 1
    due_at = next_due[delay_s] or string.format('%.17g', claimed_at + delay_s); next_due[delay_s] = due_at
  end
  -- Whoever rescheduled the row since the claim stands. A row of ours that is not written is due now.
  if ours[row_id] then due[#due + 1] = due_at; due[#due + 1] = row_id end
end
if #changed > 0 then redis.call('MSET', unpack(changed)) end
-- While some value may have an expiry (a reader filled it in, or the table has or had a "ttl"), there is a mark.
local lasts = ttl_ms > 0 and {'PEXPIRE', ttl_ms} or {'PERSIST'}
if ttl_ms > 0 then redis.call('MSET', expiring, 1); redis.call('PEXPIRE', expiring, math.max(ttl_ms, 86400000)) end
local kept = (ttl_ms > 0 or cached[1]) and committed or {}
for _, row_id in ipairs(kept) do redis.call(lasts[1], value_prefix .. row_id, unpack(lasts, 2)) end
if #due > 0 then redis.call('ZADD', schedule, unpack(due)) end
if #fresh > 0 then redis.call('ZADD', refreshed, unpack(fresh)); redis.pcall('HSET', stats, 'committed_at', at) end
if #fresh > 0 and redis.call('HLEN', failures) > 0 then redis.call('HDEL', failures, unpack(committed)) end
if #committed < count and redis.call('LLEN', wake) < 4 then redis.call('RPUSH', wake, '1') end
tally.refreshed, tally.unchanged = #changed / 2, #committed - #changed / 2
for field, n in pairs(tally) do if n > 0 then redis.pcall('HINCRBY', stats, field, n) end end
return {tally.refreshed, tally.unchanged, tally.superseded, tally.dropped}
