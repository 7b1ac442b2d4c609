-- Fences claimed rows that have no fence: a new or dropped row, to which no value read before this
-- claim may be written. A fence in the future, left from before the clock stepped back, would
-- refuse every commit. All others are lower, and stay. Returns the number of rows without a fence.
local function fence_before(row_ids)
  -- mutant: fence-at-claim -> local fence = exact(now)
  local fence = exact(now - 5e-7) -- after every claim before: two claims are 1 us apart
  -- mutant: no-fence
  -- mutant: keep-future-fence -> redis.call('ZADD', refreshed, 'NX', scored(row_ids, fence))
  -- mutant: no-first-fence -> redis.call('ZADD', refreshed, 'XX', 'LT', scored(row_ids, fence))
  -- mutant: lower-fence -> redis.call('ZADD', refreshed, scored(row_ids, fence))
  return redis.call('ZADD', refreshed, 'LT', scored(row_ids, fence))
end
