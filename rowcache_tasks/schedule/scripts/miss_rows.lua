-- Commits that claimed rows were not found: removes their values, retries them with backoff, drops them at the limit.
-- KEYS schedule ZSET, delay ZSET, refreshed ZSET, failures HASH, stats HASH
-- ARGV value_prefix text, claimed_at time, lease_until time, missing_limit times, base_s seconds, max_s seconds,
--      seed number, row_id text...
-- RETURNS {missing, superseded, dropped}
local schedule, delay, refreshed, failures, stats = unpack(KEYS)
local value_prefix, claimed_at, lease_until, missing_limit, base_s, max_s, seed = unpack(ARGV)
local row_ids = {unpack(ARGV, 8)}
claimed_at, lease_until, missing_limit = tonumber(claimed_at), tonumber(lease_until), tonumber(missing_limit)
-- What another client wrote into a record may be no count at all.
local function count_of(value)
  local n = tonumber(value) or 0
  return n >= 0 and n < 1e6 and n or 0
end

local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
math.randomseed(tonumber(seed))
local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
local fences = redis.call('ZMSCORE', refreshed, unpack(row_ids))
local scores = redis.call('ZMSCORE', schedule, unpack(row_ids))
local records = redis.call('HMGET', failures, unpack(row_ids))
local tally = {missing = 0, superseded = 0, dropped = 0}
for i, row_id in ipairs(row_ids) do
  local held, due = tonumber(scores[i] or 'nan') == lease_until, now
  local known, record = pcall(cjson.decode, records[i] or '{}')
  if not known or type(record) ~= 'table' then record = {} end
  if tonumber(delays[i] or 0) <= 0 then
    tally.dropped = tally.dropped + 1
  elseif not fences[i] or tonumber(fences[i]) >= claimed_at or claimed_at > now then
    tally.superseded = tally.superseded + 1
  else
    -- The database no longer has the row: its absence is what is newest, so it is fenced like a value.
    redis.call('DEL', value_prefix .. row_id)
    redis.call('ZADD', refreshed, now, row_id)
    tally.missing = tally.missing + 1
    local n, misses = count_of(record.failures) + 1, count_of(record.missing) + 1
    due = now + math.min(max_s, base_s * 2 ^ (n - 1)) * (0.5 + math.random() / 2)
    local entry = {failures = n, missing = misses, error = 'no such row in the database', at = now}
    redis.call('HSET', failures, row_id, cjson.encode(entry))
    if held and misses >= missing_limit then
      for _, zset in ipairs({schedule, delay, refreshed}) do redis.call('ZREM', zset, row_id) end
      redis.call('HDEL', failures, row_id)
      tally.dropped, held = tally.dropped + 1, false
    end
  end
  if held then redis.call('ZADD', schedule, due, row_id) end
end
for field, n in pairs(tally) do redis.pcall('HINCRBY', stats, field, n) end
return {tally.missing, tally.superseded, tally.dropped}
