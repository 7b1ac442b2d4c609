-- Writes that no lease covers: of fills, and of claims whose rows were rescheduled since. Commits
-- of claims that are older compare fences.
local function note_unleased()
  -- mutant: no-unleased
  redis.pcall('HSET', state, 'unleased_at', at)
end
