-- Why the outcome of reading a claimed row is not written: by its delay, its fence, and whether its
-- due time is still the end of the lease. Such a row was not rescheduled, dropped, committed or
-- claimed since the claim. Only what no lease covers may have been written, and left a note. The
-- claim left one at the latest: without a note, the state was lost since, and fences decide.
local unleased_at = tonumber(noted[4] or 'nan') or math.huge
-- mutant: trust-lost-state -> local is_overtaken = unleased_at >= claimed_at and noted[4]
local is_overtaken = not (unleased_at < claimed_at)
-- Also returns the reason, in words joined by hyphens.
local function refusal_of(delay_s, fence, is_ours)
  -- Unscheduled since the claim: a value written now would never be removed.
  -- mutant: write-dropped
  if delay_s <= 0 then return 'dropped', 'unscheduled-since-the-claim' end
  -- The clock stepped back since the claim: times say nothing.
  -- mutant: trust-clock
  if claim_epoch ~= epoch then return 'superseded', 'the-clock-of-redis-stepped-back' end
  -- The read began too long ago: the age that readers see counts from now.
  -- mutant: write-late
  if now > commit_by then return 'superseded', 'read-too-long-ago' end
  -- mutant: trust-lease -> if is_ours then return nil end
  if is_ours and not is_overtaken then return nil end
  -- Never committed; or, unless the lease says no, dropped since the claim and scheduled again.
  -- mutant: write-after-drop -> if not fence then return nil end
  -- mutant: refuse-first -> if not fence then return 'superseded' end
  if not fence then return not is_ours and 'superseded' or nil, 'rescheduled-since-the-claim' end
  -- Committed since the claim: the value may be older.
  -- mutant: write-older
  if tonumber(fence) >= claimed_at then return 'superseded', 'committed-since-the-claim' end
  return nil
end
-- Notes by how much a commit came too late: a process that has just started takes the next one,
-- since the reads of this table may always be slow.
local function note_refused()
  if now <= commit_by then return end
  local late_by_ms = string.format('%d', math.min((now - commit_by) * 1000, 1e9))
  redis.pcall('HSET', state, 'refused_at', at, 'refused_ms', late_by_ms)
end
