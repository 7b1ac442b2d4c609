-- Why the outcome of reading a claimed row is not written, by the delay and the fence of the row.
local function refusal_of(delay_s, fence)
  -- Unscheduled since the claim: a value written now would never be removed.
  -- mutant: write-dropped
  if delay_s <= 0 then return 'dropped' end
  -- The clock stepped back since the claim: the fence says nothing.
  -- mutant: trust-clock
  if claim_epoch ~= epoch then return 'superseded' end
  -- Dropped since the claim, and scheduled again.
  -- mutant: write-after-drop -> if not fence then return nil end
  if not fence then return 'superseded' end
  -- Committed since the claim: the value may be older.
  -- mutant: write-older
  if tonumber(fence) >= claimed_at then return 'superseded' end
  return nil
end
