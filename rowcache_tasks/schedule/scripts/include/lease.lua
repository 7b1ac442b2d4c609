-- The end of a lease of a claim made now: in the middle of a microsecond.
local function lease_end(lease_s)
  -- mutant: lease-ends-as-rows-are-due -> return exact(now + lease_s)
  return exact(math.floor((now + lease_s) * 1e6) / 1e6 + 5e-7)
end
-- After a step back of the clock, fences may lie in the future, and would refuse the commit of a
-- row that is rescheduled meanwhile. They are lowered to a time after every claim before: two
-- claims are 1 us apart. All others are lower, and stay.
local function lower_fences(row_ids)
  -- mutant: fence-at-claim -> local fence = exact(now)
  local fence = exact(now - 5e-7)
  local last = tonumber(redis.call('ZRANGE', refreshed, -1, -1, 'WITHSCORES')[2] or '-inf')
  -- mutant: keep-future-fence
  -- mutant: lower-fence -> redis.call('ZADD', refreshed, 'XX', scored(row_ids, fence))
  if last > now then redis.call('ZADD', refreshed, 'XX', 'LT', scored(row_ids, fence)) end
end
