-- Releases claimed rows: with an error, records it and retries with backoff; with none, at once.
-- KEYS schedule ZSET, delay ZSET, failures HASH, stats HASH
-- ARGV lease_until time, base_s seconds, max_s seconds, seed number, count rows, row_id text...,
--      error text...
-- RETURNS {released, superseded}
local schedule, delay, failures, stats = unpack(KEYS)
local lease_until, base_s, max_s, seed, count = unpack(ARGV)
local row_ids = {unpack(ARGV, 6, 5 + count)}
local errors = {unpack(ARGV, 6 + count)}
lease_until = tonumber(lease_until)
-- @include now
-- @include backoff

local scores = redis.call('ZMSCORE', schedule, unpack(row_ids))
local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
local records = redis.call('HMGET', failures, unpack(row_ids))

local function outcome_of(i)
  -- Rescheduled or claimed since by another client: its due time stands.
  -- mutant: overrule
  if tonumber(scores[i] or 'nan') ~= lease_until then return 'superseded' end
  -- mutant: count-handed-back
  if errors[i] == '' then return 'handed back' end
  -- Due at once too, so that the next claim removes it.
  -- mutant: count-dropped
  if tonumber(delays[i] or 0) <= 0 then return 'handed back' end
  return 'failed'
end
local tally = {superseded = 0, failed = 0, ['handed back'] = 0}
for i, row_id in ipairs(row_ids) do
  local outcome = outcome_of(i)
  tally[outcome] = tally[outcome] + 1
  local due_at = now
  if outcome == 'failed' then
    local n = count_of(read_record(records[i]).failures) + 1
    local entry = {failures = n, missing = 0, error = errors[i], at = now}
    redis.call('HSET', failures, row_id, cjson.encode(entry))
    due_at = retry_at(n)
  end
  if outcome ~= 'superseded' then redis.call('ZADD', schedule, due_at, row_id) end
end

if tally.failed > 0 then redis.pcall('HINCRBY', stats, 'failed', tally.failed) end
if tally.superseded > 0 then redis.pcall('HINCRBY', stats, 'superseded', tally.superseded) end
return {#row_ids - tally.superseded, tally.superseded}
