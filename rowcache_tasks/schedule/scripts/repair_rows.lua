-- Pulls rows back that are due later than they can be: left from before the clock stepped back.
-- KEYS schedule ZSET, delay ZSET, failures HASH
-- ARGV lease_s seconds, max_backoff_s seconds, seed number, row_id text...
-- RETURNS number of rows pulled back, each due within one delay from now
local schedule, delay, failures = unpack(KEYS)
local lease_s, max_backoff_s, seed = unpack(ARGV)
local row_ids = {unpack(ARGV, 4)}

local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
math.randomseed(tonumber(seed))
local scores = redis.call('ZMSCORE', schedule, unpack(row_ids))
local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
local records = redis.call('HMGET', failures, unpack(row_ids))
local due = {}
for i, row_id in ipairs(row_ids) do
  local score, delay_s = tonumber(scores[i] or '-inf'), math.max(tonumber(delays[i] or 0), 0)
  -- As far ahead as a row may be: waiting, claimed, or failing. Infinity is how a foreign client says: never.
  local furthest = now + math.max(delay_s, tonumber(lease_s), records[i] and tonumber(max_backoff_s) or 0)
  if score > furthest and score < math.huge then
    table.insert(due, now + math.random() * delay_s) -- spread, or the whole table would be due at once
    table.insert(due, row_id)
  end
end
if #due > 0 then redis.call('ZADD', schedule, unpack(due)) end
return #due / 2
