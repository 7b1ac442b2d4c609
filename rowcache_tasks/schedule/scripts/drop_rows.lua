-- Unschedules rows and removes their values. The change is kept, so that no older one undoes it.
-- KEYS schedule ZSET, delay ZSET, refreshed ZSET, changed ZSET, failures HASH, stats HASH
-- ARGV value_prefix text, fill_prefix text, stamp time ("": now), row_id text...
-- RETURNS {applied, ignored}
local schedule, delay, refreshed, changed, failures, stats = unpack(KEYS)
local value_prefix, fill_prefix, stamp = unpack(ARGV)
local row_ids = {unpack(ARGV, 4)}
-- @include now
-- @include scored
stamp = tonumber(stamp) or now
-- @include newest
-- @include remove

local stamps = redis.call('ZMSCORE', changed, unpack(row_ids))

local applied = {}
for i, row_id in ipairs(row_ids) do
  if is_newest(stamps[i]) then applied[#applied + 1] = row_id end
end

if #applied > 0 then
  remove_rows(applied)
  local dropped = 0
  -- mutant: keep-delay
  dropped = redis.call('ZREM', delay, unpack(applied))
  redis.pcall('HINCRBY', stats, 'dropped', dropped)
  -- Last: a server that is full allows it only after a command that frees memory.
  -- mutant: no-stamp
  redis.call('ZADD', changed, scored(applied, stamp))
end
-- @include trim_changes
return {#applied, #row_ids - #applied}
