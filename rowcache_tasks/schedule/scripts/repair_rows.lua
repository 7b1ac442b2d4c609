-- Pulls rows back that are due later than they can be: left from before the clock stepped back.
-- KEYS schedule ZSET, delay ZSET, failures HASH
-- ARGV lease_s seconds, max_backoff_s seconds, seed number, row_id text...
-- RETURNS number of rows pulled back, each due within one delay from now
local schedule, delay, failures = unpack(KEYS)
local lease_s, max_backoff_s, seed = unpack(ARGV)
local row_ids = {unpack(ARGV, 4)}
lease_s, max_backoff_s = tonumber(lease_s), tonumber(max_backoff_s)
math.randomseed(tonumber(seed))
-- @include now

local scores = redis.call('ZMSCORE', schedule, unpack(row_ids))
local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
local records = redis.call('HMGET', failures, unpack(row_ids))

local due = {}
for i, row_id in ipairs(row_ids) do
  local score = tonumber(scores[i] or '-inf')
  local delay_s = math.max(tonumber(delays[i] or 0), 0)
  -- The latest due time of a row that waits, is claimed, or is failing.
  local latest = now + math.max(delay_s, lease_s, records[i] and max_backoff_s or 0)
  -- Infinity is how a foreign client says: never.
  if score > latest and score < math.huge then
    -- Spread, or the whole table is due at once.
    due[#due + 1] = whole(now + math.random() * delay_s)
    due[#due + 1] = row_id
  end
end

-- mutant: no-due
if #due > 0 then redis.call('ZADD', schedule, unpack(due)) end
return #due / 2
