-- Removes rows that another place has taken, with their values, unless they have changed here since
-- they were given.
-- KEYS schedule ZSET, delay ZSET, refreshed ZSET, changed ZSET, failures HASH
-- ARGV value_prefix text, fill_prefix text, count rows, row_id text..., given_due time or ""...,
--      given_delay seconds or ""..., given_stamp time or ""...
-- RETURNS {1 or 0 (it has changed: to be read again)...}
local schedule, delay, refreshed, changed, failures = unpack(KEYS)
local value_prefix, fill_prefix, count = unpack(ARGV)
local row_ids = {unpack(ARGV, 4, 3 + count)}
local given_dues = {unpack(ARGV, 4 + count, 3 + 2 * count)}
local given_delays = {unpack(ARGV, 4 + 2 * count, 3 + 3 * count)}
local given_stamps = {unpack(ARGV, 4 + 3 * count)}
-- @include now
-- @include remove

local dues = redis.call('ZMSCORE', schedule, unpack(row_ids))
local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
local stamps = redis.call('ZMSCORE', changed, unpack(row_ids))

local function is_as_given(i)
  -- mutant: leave-changed -> if true then return true end
  if (dues[i] or '') ~= given_dues[i] then return false end
  return (delays[i] or '') == given_delays[i] and (stamps[i] or '') == given_stamps[i]
end
local reply, left = {}, {}
for i, row_id in ipairs(row_ids) do
  reply[i] = is_as_given(i) and 1 or 0
  if reply[i] == 1 then left[#left + 1] = row_id end
end
if #left > 0 then
  remove_rows(left)
  redis.call('ZREM', changed, unpack(left))
  redis.call('ZREM', delay, unpack(left))
end
return reply
