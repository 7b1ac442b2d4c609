-- Commits that claimed rows are not in the database: removes their values, retries with backoff,
-- and drops them at the limit.
-- KEYS schedule ZSET, delay ZSET, refreshed ZSET, failures HASH, stats HASH, state HASH,
--      outcomes LIST, asked SET
-- ARGV value_prefix text, claimed_at time, lease_until time, claim_epoch text,
--      commit_by time, missing_limit times, base_s seconds, max_s seconds, seed number,
--      row_id text...
-- RETURNS {missing, superseded, dropped}
local schedule, delay, refreshed, failures, stats, state, outcomes, asked = unpack(KEYS)
local value_prefix, claimed_at, lease_until, claim_epoch, commit_by = unpack(ARGV)
local missing_limit, base_s, max_s, seed = unpack(ARGV, 6)
local row_ids = {unpack(ARGV, 10)}
claimed_at, lease_until = tonumber(claimed_at), tonumber(lease_until)
missing_limit, commit_by = tonumber(missing_limit), tonumber(commit_by)
-- @include now
local at = exact(now)
-- @include epoch
-- @include refusal
-- @include unleased
-- @include backoff
-- @include outcomes
-- At most about a thousand retries a second, as far as max_s allows: a hundred thousand ids that do
-- not exist must not crowd out the rows that do.
base_s = math.max(base_s, redis.call('HLEN', failures) / 1000)

local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
local fences = redis.call('ZMSCORE', refreshed, unpack(row_ids))
local scores = redis.call('ZMSCORE', schedule, unpack(row_ids))
local records = redis.call('HMGET', failures, unpack(row_ids))

local function drop(row_id)
  redis.call('ZREM', schedule, row_id)
  redis.call('ZREM', delay, row_id)
  redis.call('ZREM', refreshed, row_id)
  redis.call('HDEL', failures, row_id)
end
local function outcome_of(i, is_ours)
  local refusal, reason = refusal_of(tonumber(delays[i] or 0), fences[i], is_ours)
  return refusal or 'missing', refusal and reason
end
local tally = {missing = 0, superseded = 0, dropped = 0}
for i, row_id in ipairs(row_ids) do
  -- mutant: overrule -> local is_ours = true
  local is_ours = tonumber(scores[i] or 'nan') == lease_until
  local outcome, reason = outcome_of(i, is_ours)
  tally[outcome] = tally[outcome] + 1
  local due_at = now
  local is_last = false
  if outcome == 'missing' then
    local record = read_record(records[i])
    local entry = {
      failures = count_of(record.failures) + 1,
      missing = count_of(record.missing) + 1,
      error = 'no such row in the database',
      at = now,
    }
    -- mutant: drop-not-ours -> is_last = entry.missing >= missing_limit
    -- mutant: drop-at-once -> is_last = is_ours
    is_last = is_ours and entry.missing >= missing_limit
    -- The absence of the row is newer than any value: it is fenced like one.
    -- mutant: keep-value
    redis.call('DEL', value_prefix .. row_id)
    -- mutant: no-fence
    redis.call('ZADD', refreshed, at, row_id)
    if not is_ours then note_unleased() end
    redis.call('HSET', failures, row_id, cjson.encode(entry))
    due_at = retry_at(entry.failures)
  end
  if is_last then
    drop(row_id)
    tally.dropped = tally.dropped + 1
    outcome, reason = 'dropped', 'not-in-the-database'
  elseif is_ours then
    redis.call('ZADD', schedule, due_at, row_id)
  end
  note_outcome(i, outcome, reason)
end

note_refused()
write_outcomes()
for field, n in pairs(tally) do
  if n > 0 then redis.pcall('HINCRBY', stats, field, n) end
end
return {tally.missing, tally.superseded, tally.dropped}
