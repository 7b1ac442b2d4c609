-- Claims the named rows, due or not, for a refresh by hand. Rows without a delay are left out.
-- KEYS schedule ZSET, delay ZSET, refreshed ZSET, stats HASH, state HASH
-- ARGV lease_s seconds, row_id text...
-- RETURNS {claimed_at, lease_until, epoch, row id...}
local schedule, delay, refreshed, stats, state = unpack(KEYS)
local lease_s = unpack(ARGV)
local row_ids = {unpack(ARGV, 2)}
-- @include now
-- @include scored
-- @include epoch
-- @include lease
local lease_until = lease_end(lease_s)

local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
-- Rows of this part are moved to others.
local is_closed = type(redis.pcall('HGET', state, 'closed')) == 'string'

local claimed = {}
for i, row_id in ipairs(row_ids) do
  -- mutant: claim-dropped -> claimed[#claimed + 1] = row_id
  if tonumber(delays[i] or 0) > 0 then claimed[#claimed + 1] = row_id end
end

-- mutant: claim-closed
if is_closed then claimed = {} end
if #claimed > 0 then
  -- mutant: no-note
  note_clock()
  redis.call('ZADD', schedule, scored(claimed, lease_until))
  lower_fences(claimed)
  redis.pcall('HINCRBY', stats, 'claimed', #claimed)
end
return {exact(now), lease_until, epoch, unpack(claimed)}
