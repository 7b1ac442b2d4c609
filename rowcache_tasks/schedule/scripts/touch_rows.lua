-- Makes scheduled rows due now. Of the others, removes what readers filled in: the next reader reads the database.
-- KEYS schedule ZSET, delay ZSET, wake LIST
-- ARGV value_prefix text, fill_prefix text, row_id text...
-- RETURNS number of rows made due
local schedule, delay, wake = unpack(KEYS)
local value_prefix, fill_prefix = unpack(ARGV)
local row_ids, due, outdated = {unpack(ARGV, 3)}, {}, {}

local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
for i, row_id in ipairs(row_ids) do
  if tonumber(delays[i] or 0) > 0 then
    table.insert(due, now)
    table.insert(due, row_id)
  else
    table.insert(outdated, value_prefix .. row_id)
  end
  table.insert(outdated, fill_prefix .. value_prefix .. row_id) -- a fill in flight may have read before the change
end
redis.call('DEL', unpack(outdated))
if #due > 0 then
  redis.call('ZADD', schedule, unpack(due))
  if redis.call('LLEN', wake) < 4 then redis.call('RPUSH', wake, '1') end
end
return #due / 2
