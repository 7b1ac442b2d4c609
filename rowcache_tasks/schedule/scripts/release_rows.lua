-- Gives claimed rows back. With an error: records it and retries with backoff; with none: due again at once.
-- KEYS schedule ZSET, delay ZSET, failures HASH, stats HASH
-- ARGV lease_until time, base_s seconds, max_s seconds, seed number, count rows, row_id text..., error text...
-- RETURNS {released, superseded}
local schedule, delay, failures, stats = unpack(KEYS)
local lease_until, base_s, max_s, seed, count = unpack(ARGV)
local row_ids = {unpack(ARGV, 6, 5 + count)}
-- What another client wrote into a record may be no count at all.
local function count_of(value)
  local n = tonumber(value) or 0
  return n >= 0 and n < 1e6 and n or 0
end

local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
math.randomseed(tonumber(seed))
local scores = redis.call('ZMSCORE', schedule, unpack(row_ids))
local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
local records = redis.call('HMGET', failures, unpack(row_ids))
local released, failed = 0, 0
for i, row_id in ipairs(row_ids) do
  -- Not our lease any more: somebody rescheduled or claimed the row since, and what they find is what counts.
  if tonumber(scores[i] or 'nan') == tonumber(lease_until) then
    local message, due = ARGV[5 + count + i], now
    -- An unscheduled row is due at once too, so that the next claim removes it.
    if message ~= '' and tonumber(delays[i] or 0) > 0 then
      local known, record = pcall(cjson.decode, records[i] or '{}')
      local n = count_of(known and type(record) == 'table' and record.failures) + 1
      due = now + math.min(max_s, base_s * 2 ^ (n - 1)) * (0.5 + math.random() / 2)
      local entry = {failures = n, missing = 0, error = message, at = now}
      redis.call('HSET', failures, row_id, cjson.encode(entry))
      failed = failed + 1
    end
    redis.call('ZADD', schedule, due, row_id)
    released = released + 1
  end
end
if failed > 0 then redis.pcall('HINCRBY', stats, 'failed', failed) end
if count - released > 0 then redis.pcall('HINCRBY', stats, 'superseded', count - released) end
return {released, count - released}
