-- Makes scheduled rows due now. Rows that are not scheduled are left alone.
-- KEYS schedule ZSET, delay ZSET, wake LIST
-- ARGV row_id text...
-- RETURNS number of rows made due
local schedule, delay, wake = unpack(KEYS)

local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local due = {}
local delays = redis.call('ZMSCORE', delay, unpack(ARGV))
for i, row_id in ipairs(ARGV) do
  if tonumber(delays[i] or 0) > 0 then
    table.insert(due, now)
    table.insert(due, row_id)
  end
end
if #due > 0 then
  redis.call('ZADD', schedule, unpack(due))
  if redis.call('LLEN', wake) < 4 then redis.call('RPUSH', wake, '1') end
end
return #due / 2
