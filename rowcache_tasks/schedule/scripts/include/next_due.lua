-- When rows are due again: the delay after the claim. Of a table with a promise, at most
-- max_staleness_s, less a margin for lateness, which is a quarter at most.
-- The margin grows by the lateness beyond it, and is halved in a minute. A batch counts by its
-- share of the rows over the share that may be late, so that about half of that is late. A lateness
-- that no margin makes up for, as after an outage, is left out.
local late_s = math.max(late_ms / 1e3 + now - claimed_at, 1e-3)
local margin_s = 0
if max_staleness_s > 0 then
  local found = redis.pcall('HMGET', state, 'margin_s', 'committed_at')
  local was_s = tonumber(found[1] or 0) or 0
  local since_s = math.max(0, now - (tonumber(found[2] or 0) or 0))
  if not (was_s >= 0 and was_s <= max_staleness_s) then was_s = 0 end
  margin_s = was_s * 0.5 ^ (since_s / 60)
  if late_s > margin_s and late_s <= max_staleness_s / 4 then
    local rows = math.max(#row_ids, redis.call('ZCARD', schedule))
    local weight = max_staleness_s / 350 / allowed * #row_ids / rows
    margin_s = margin_s + math.min(1, weight) * (late_s - margin_s)
  end
end
local next_dues = {}
local function next_due(delay_s)
  if not next_dues[delay_s] then
    local wait_s = delay_s
    -- mutant: no-bound
    if max_staleness_s > 0 then wait_s = math.min(delay_s, max_staleness_s) end
    -- mutant: no-margin
    wait_s = wait_s - math.min(margin_s, wait_s / 4)
    next_dues[delay_s] = exact(whole(claimed_at + wait_s))
  end
  return next_dues[delay_s]
end
