-- Claims the named rows, due or not, for a refresh that nobody dispatched. Rows without a delay are left out.
-- KEYS schedule ZSET, delay ZSET, refreshed ZSET, stats HASH
-- ARGV lease_s seconds, row_id text...
-- RETURNS {claimed_at, lease_until, row id, row id, ...}
local schedule, delay, refreshed, stats = unpack(KEYS)
local lease_s = unpack(ARGV)
local row_ids = {unpack(ARGV, 2)}

local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local reply = {string.format('%.17g', now), string.format('%.17g', now + lease_s)}
local leases, fences = {}, {}
local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
for i, row_id in ipairs(row_ids) do
  if tonumber(delays[i] or 0) > 0 then
    table.insert(leases, now + lease_s)
    table.insert(leases, row_id)
    table.insert(reply, row_id)
    table.insert(fences, now - 5e-7)
    table.insert(fences, row_id)
  end
end
if #leases > 0 then
  redis.call('ZADD', schedule, unpack(leases))
  redis.call('ZADD', refreshed, 'LT', unpack(fences)) -- as in claim_rows
  redis.pcall('HINCRBY', stats, 'claimed', #leases / 2)
end
return reply
