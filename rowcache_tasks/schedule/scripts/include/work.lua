-- The lease follows the work: four times as long as batches waited and were read lately, and twice
-- as long as nothing of the table has been committed, within bounds. So rows of a worker that is
-- gone are claimed again soon, and those of a slow database only when it has had its time.
local function lease_for(least_s, most_s)
  local silent_s = now - (tonumber(noted[5] or 'nan') or -math.huge)
  local taken_s = (tonumber(noted[6] or 'nan') or math.huge) + (tonumber(noted[7] or 0) or 0)
  -- Not measured; or by a clock that has stepped back since.
  -- mutant: trust-future-work
  if not (silent_s >= 0 and taken_s >= 0) then return most_s end
  return math.min(most_s, math.max(least_s, 4 * taken_s, 2 * silent_s))
end
