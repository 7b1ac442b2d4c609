-- Commits values read for a claim, and makes each row due again at claimed_at + its delay.
-- KEYS schedule ZSET, delay ZSET, refreshed ZSET, failures HASH, stats HASH, state HASH, wake LIST,
--      expiring STRING, outcomes LIST, asked SET
-- ARGV value_prefix text, claimed_at time, lease_until time, claim_epoch text,
--      ttl_ms milliseconds (0: none), late_ms milliseconds, commit_by time, read_ms milliseconds
--      (since the read began), slow_ms milliseconds (of a slow read, else 0), max_staleness_s
--      seconds (0: no promise), allowed share (of the rows that may be older), min_delay_s seconds,
--      max_delay_s seconds (0: delays are fixed), count rows, row_id text (in the order of
--      bytes)..., value JSON (or the beginning of a cached one, up to a comma)...
-- RETURNS {refreshed, unchanged, superseded, dropped}
local schedule, delay, refreshed, failures, stats, state, wake = unpack(KEYS)
local expiring, outcomes, asked = unpack(KEYS, 8)
local value_prefix, claimed_at, lease_until, claim_epoch, ttl_ms, late_ms = unpack(ARGV)
local commit_by, read_ms, slow_ms, max_staleness_s, allowed = unpack(ARGV, 7)
local min_delay_s, max_delay_s, count = unpack(ARGV, 12)
local row_ids = {unpack(ARGV, 15, 14 + count)}
local values = {unpack(ARGV, 15 + count)}
claimed_at, ttl_ms, commit_by = tonumber(claimed_at), tonumber(ttl_ms), tonumber(commit_by)
max_staleness_s = tonumber(max_staleness_s)
min_delay_s, max_delay_s = tonumber(min_delay_s), tonumber(max_delay_s)
-- @include now
-- @include scored
-- @include wake
-- @include mark_expiring
-- @include set_with_ttl
local at = exact(now)
-- @include epoch
-- @include refusal
-- @include unleased
-- @include held
-- @include outcomes
local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
-- @include cached
-- @include next_due
-- @include note_work
local function outcome_of(i, delay_s, is_ours)
  local refusal, reason = refusal_of(delay_s, fences[i], is_ours)
  if refusal then return refusal, reason end
  -- mutant: write-unchanged
  if cached[i] == values[i] then return 'unchanged' end
  -- mutant: confirm-any -> if is_head[i] then return 'unchanged' end
  -- mutant: write-beginning
  if is_head[i] then return 'superseded', 'another-value-is-cached' end
  return 'refreshed'
end
local tally = {refreshed = 0, unchanged = 0, superseded = 0, dropped = 0}
-- @include adapt
local changed, kept, committed, due, unfenced, is_unleased = {}, {}, {}, {}, {}, false
local accepted, ours = 0, 0
for i, row_id in ipairs(row_ids) do
  -- mutant: commit-without-delay -> local delay_s = tonumber(delays[i] or 1)
  local delay_s = tonumber(delays[i] or 0)
  local is_ours = is_all_held or is_held(i)
  local outcome, reason = outcome_of(i, delay_s, is_ours)
  if reason or is_asked[i] == 1 then note_outcome(i, outcome, reason) end
  -- A row that is still ours and is not written is due now.
  -- mutant: refused-is-due-later -> local due_at = next_due(delay_s)
  local due_at = at
  tally[outcome] = tally[outcome] + 1
  if outcome == 'refreshed' then
    changed[2 * tally.refreshed - 1] = names[i]
    changed[2 * tally.refreshed] = values[i]
  elseif outcome == 'unchanged' then
    kept[tally.unchanged] = names[i]
  end
  if outcome == 'refreshed' or outcome == 'unchanged' then
    accepted = accepted + 1
    committed[accepted] = row_id
    if max_delay_s > 0 then delay_s = adapt(i, delay_s, outcome, is_ours) end
    due_at = next_dues[delay_s] or next_due(delay_s)
    is_unleased = is_unleased or not is_ours
  elseif outcome == 'superseded' and not is_ours and scores[i] and not fences[i] then
    unfenced[#unfenced + 1] = row_id
  end
  -- A row that was rescheduled since the claim keeps its due time.
  -- mutant: overrule -> if true then
  if is_ours then
    ours = ours + 1
    due[2 * ours - 1] = due_at
    due[2 * ours] = row_id
  end
end

if ttl_ms > 0 then
  mark_expiring(ttl_ms)
  set_with_ttl(changed, ttl_ms)
  for _, name in ipairs(kept) do redis.call('PEXPIRE', name, ttl_ms) end
elseif #changed > 0 then
  redis.call('MSET', unpack(changed))
end
if ttl_ms == 0 and redis.call('EXISTS', expiring) == 1 then
  for _, row_id in ipairs(committed) do redis.call('PERSIST', value_prefix .. row_id) end
end
if #due > 0 then redis.call('ZADD', schedule, unpack(due)) end
note_delays()
if is_unleased then note_unleased() end
note_refused()
-- The refresh of a new row that was rescheduled meanwhile is refused once, not for ever.
-- mutant: refuse-for-ever
if #unfenced > 0 then redis.call('ZADD', refreshed, 'NX', scored(unfenced, at)) end
if #committed > 0 then
  -- mutant: no-fence
  redis.call('ZADD', refreshed, scored(committed, at))
  note_work()
  if max_staleness_s > 0 then note_margin() end
  if slow_ms ~= '0' then redis.pcall('HSET', state, 'slow_at', at, 'slow_ms', slow_ms) end
  local is_failing = redis.call('HLEN', failures) > 0
  -- mutant: keep-failure
  if is_failing then redis.call('HDEL', failures, unpack(committed)) end
else
  note_refused_work()
end
if #committed < #row_ids then wake_dispatcher() end

-- @include count_late
count_outcomes()
write_outcomes()
return {tally.refreshed, tally.unchanged, tally.superseded, tally.dropped}
