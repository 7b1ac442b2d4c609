-- When rows are due again: the delay after the claim. Of a table with a promise, at most
-- max_staleness_s, less a margin for lateness, which is a quarter at most.
-- The margin is halved in half a minute, and grows by the lateness of a mean row beyond it. A batch
-- counts by its share of the rows over the share that may be late, so that about half of that is
-- late. A lateness that no margin makes up for, as after an outage, is left out.
local least_s = math.max(now - claimed_at, 0)
local late_s = math.max(late_ms / 1e3 + now - claimed_at, 1e-3)
local margin_s = 0
-- The rows of a batch were due one after the other.
local function mean_beyond(limit_s)
  if least_s >= limit_s then return (least_s + late_s) / 2 - limit_s end
  return (late_s - limit_s) ^ 2 / (late_s - least_s) / 2
end
local read_s = 0
if max_staleness_s > 0 then
  local found = redis.pcall('HMGET', state, 'margin_s', 'committed_at', 'read_s')
  local was_s = tonumber(found[1] or 0) or 0
  local since_s = math.max(0, now - (tonumber(found[2] or 0) or 0))
  if not (was_s >= 0 and was_s <= max_staleness_s) then was_s = 0 end
  margin_s = was_s * 0.5 ^ (since_s / 30)
  local share = #row_ids / math.max(#row_ids, redis.call('ZCARD', schedule))
  if late_s > margin_s and late_s <= max_staleness_s / 4 then
    local weight = math.min(1, share * max_staleness_s / 175 / allowed)
    margin_s = margin_s + weight * mean_beyond(margin_s)
  end
  -- The mean of all rows, since each counts once in an interval.
  read_s = tonumber(found[3] or 0) or 0
  read_s = read_s + share * (math.min(read_ms / 1e3, max_staleness_s / 4) - read_s)
end
local function note_margin()
  local margin, read = string.format('%.6f', margin_s), string.format('%.6f', read_s)
  redis.pcall('HSET', state, 'margin_s', margin, 'read_s', read)
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
