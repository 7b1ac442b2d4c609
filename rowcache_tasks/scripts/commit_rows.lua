-- Commits what was read of a claimed batch: writes the values, pulls the due times back to claimed_at + delay.
-- KEYS schedule ZSET, delay ZSET, refreshed ZSET, failures HASH, stats HASH, wake LIST
-- ARGV value_prefix text, claimed_at time, lease_until time, ttl_ms milliseconds (0: none), count rows,
--      row_id text..., value JSON..., late milliseconds late at the claim...
-- RETURNS {refreshed, unchanged, superseded, dropped}
local schedule, delay, refreshed, failures, stats, wake = unpack(KEYS)
local value_prefix, claimed_at, lease_until, ttl_ms, count = unpack(ARGV)
claimed_at, lease_until, ttl_ms, count = tonumber(claimed_at), tonumber(lease_until), tonumber(ttl_ms), tonumber(count)
local row_ids, names = {unpack(ARGV, 6, 5 + count)}, {}
for i = 1, count do names[i] = value_prefix .. row_ids[i] end
local time, lasts = redis.call('TIME'), ttl_ms > 0 and {'PEXPIRE', ttl_ms} or {'PERSIST'} -- not as what a reader filled in
local now = time[1] + time[2] / 1e6
local scores = redis.call('ZMSCORE', schedule, unpack(row_ids))
local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
local fences = redis.call('ZMSCORE', refreshed, unpack(row_ids))
local cached = redis.call('MGET', unpack(names))
local changed, due, fresh, committed, late, superseded, dropped = {}, {}, {}, {}, {}, 0, 0
for i = 1, count do
  local delay_s, next_due = tonumber(delays[i] or 0), now
  if delay_s <= 0 then
    dropped = dropped + 1 -- Unscheduled since the claim: a value written now would never go away again.
  elseif not fences[i] or tonumber(fences[i]) >= claimed_at or claimed_at > now then
    superseded = superseded + 1 -- Committed or dropped since the claim, or the clock stepped back: it may be old.
  else
    local value, late_ms = ARGV[5 + count + i], ARGV[5 + 2 * count + i]
    if cached[i] ~= value then changed[#changed + 1] = names[i]; changed[#changed + 1] = value end
    fresh[#fresh + 1] = now; fresh[#fresh + 1] = row_ids[i]
    committed[#committed + 1] = row_ids[i]
    late[late_ms] = (late[late_ms] or 0) + 1
    next_due = claimed_at + delay_s
  end
  -- Whoever rescheduled the row since the claim stands. A row of ours that is not written is due now.
  if scores[i] and tonumber(scores[i]) == lease_until then due[#due + 1] = next_due; due[#due + 1] = row_ids[i] end
end
if #changed > 0 then redis.call('MSET', unpack(changed)) end
for _, row_id in ipairs(committed) do redis.call(lasts[1], value_prefix .. row_id, unpack(lasts, 2)) end
if #due > 0 then redis.call('ZADD', schedule, unpack(due)) end
if #fresh > 0 then
  redis.call('ZADD', refreshed, unpack(fresh))
  redis.call('HDEL', failures, unpack(committed))
  redis.pcall('HSET', stats, 'committed_at', string.format('%.17g', now))
end
if #committed < count and redis.call('LLEN', wake) < 4 then redis.call('RPUSH', wake, '1') end
local tally = {refreshed = #changed / 2, unchanged = #committed - #changed / 2, superseded = superseded, dropped = dropped}
for late_ms, n in pairs(late) do -- lateness in classes of 2^(class / 4) milliseconds
  local class = 'late:' .. math.ceil(4 * math.log(math.max(late_ms + (now - claimed_at) * 1000, 1)) / math.log(2))
  tally[class] = (tally[class] or 0) + n
end
for field, n in pairs(tally) do if n > 0 then redis.pcall('HINCRBY', stats, field, n) end end
return {tally.refreshed, tally.unchanged, superseded, dropped}
