-- Commits values read for a claim, and makes each row due again at claimed_at + its delay.
-- KEYS schedule ZSET, delay ZSET, refreshed ZSET, failures HASH, stats HASH, state HASH, wake LIST,
--      expiring STRING
-- ARGV value_prefix text, claimed_at time, lease_until time, claim_epoch text,
--      ttl_ms milliseconds (0: none), late_ms milliseconds, count rows, row_id text...,
--      value JSON...
-- RETURNS {refreshed, unchanged, superseded, dropped}
local schedule, delay, refreshed, failures, stats, state, wake, expiring = unpack(KEYS)
local value_prefix, claimed_at, lease_until, claim_epoch, ttl_ms, late_ms, count = unpack(ARGV)
local row_ids = {unpack(ARGV, 8, 7 + count)}
local values = {unpack(ARGV, 8 + count)}
claimed_at, ttl_ms = tonumber(claimed_at), tonumber(ttl_ms)
local names = {}
for i, row_id in ipairs(row_ids) do names[i] = value_prefix .. row_id end
-- @include now
-- @include scored
-- @include wake
-- @include mark_expiring
-- @include epoch
-- @include refusal
local at = exact(now)

-- At most the rows of one claim: no other has the same end.
-- mutant: any-lease -> local from, to = '-inf', '+inf'
local from, to = lease_until, lease_until
local held = redis.call('ZRANGE', schedule, from, to, 'BYSCORE', 'LIMIT', 0, 1000)
local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
local fences = redis.call('ZMSCORE', refreshed, unpack(row_ids))
local cached = redis.call('MGET', unpack(names))

local is_held = {}
for _, row_id in ipairs(held) do is_held[row_id] = true end
local next_dues = {}
local function next_due(delay_s)
  next_dues[delay_s] = next_dues[delay_s] or exact(claimed_at + delay_s)
  return next_dues[delay_s]
end
local function outcome_of(i, delay_s)
  local refusal = refusal_of(delay_s, fences[i])
  if refusal then return refusal end
  -- mutant: write-unchanged
  if cached[i] == values[i] then return 'unchanged' end
  return 'refreshed'
end
local tally = {refreshed = 0, unchanged = 0, superseded = 0, dropped = 0}
local changed, committed, due = {}, {}, {}
for i, row_id in ipairs(row_ids) do
  -- mutant: commit-without-delay -> local delay_s = tonumber(delays[i] or 1)
  local delay_s = tonumber(delays[i] or 0)
  local outcome = outcome_of(i, delay_s)
  -- A row that is still ours and is not written is due now.
  -- mutant: refused-is-due-later -> local due_at = next_due(delay_s)
  local due_at = at
  tally[outcome] = tally[outcome] + 1
  if outcome == 'refreshed' then
    changed[#changed + 1] = names[i]
    changed[#changed + 1] = values[i]
  end
  if outcome == 'refreshed' or outcome == 'unchanged' then
    committed[#committed + 1] = row_id
    due_at = next_due(delay_s)
  end
  -- A row that was rescheduled since the claim keeps its due time.
  -- mutant: overrule -> local is_ours = true
  local is_ours = is_held[row_id]
  if is_ours then
    due[#due + 1] = due_at
    due[#due + 1] = row_id
  end
end

if #changed > 0 then redis.call('MSET', unpack(changed)) end
if ttl_ms > 0 then
  mark_expiring(ttl_ms)
  for _, row_id in ipairs(committed) do redis.call('PEXPIRE', value_prefix .. row_id, ttl_ms) end
elseif redis.call('EXISTS', expiring) == 1 then
  for _, row_id in ipairs(committed) do redis.call('PERSIST', value_prefix .. row_id) end
end
if #due > 0 then redis.call('ZADD', schedule, unpack(due)) end
if #committed > 0 then
  -- mutant: no-fence
  redis.call('ZADD', refreshed, scored(committed, at))
  redis.pcall('HSET', state, 'committed_at', at)
  local is_failing = redis.call('HLEN', failures) > 0
  -- mutant: keep-failure
  if is_failing then redis.call('HDEL', failures, unpack(committed)) end
end
if #committed < #row_ids then wake_dispatcher() end

-- Lateness is counted in classes of 2^(class / 4) milliseconds, all rows of the batch in one.
local total_ms = math.max(late_ms + (now - claimed_at) * 1e3, 1)
tally['late:' .. math.ceil(4 * math.log(total_ms) / math.log(2))] = #committed
for field, n in pairs(tally) do
  if n > 0 then redis.pcall('HINCRBY', stats, field, n) end
end
return {tally.refreshed, tally.unchanged, tally.superseded, tally.dropped}
