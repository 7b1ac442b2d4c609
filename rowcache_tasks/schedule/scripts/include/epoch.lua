-- The epoch of the table: a step back of the clock begins a new one. Times are in order within one
-- epoch only, so that the outcome of a claim or of a fill from another one is refused.
local noted = redis.pcall(
  'HMGET', state, 'clock', 'epoch', 'stepped_s', 'unleased_at', 'committed_at', 'work_s', 'wait_s')
local behind_s = (tonumber(noted[1] or 'nan') or 0) - now
local number = tonumber(noted[2] or 0) or 0
if not (number >= 0 and number < 1e15) then number = 0 end
-- mutant: one-epoch
if behind_s > 0 then number = number + 1 end
local epoch = string.format('%d', number)
-- Notes the clock: at the beginning of all that may be refused later. A commit that finds it ahead
-- of now is refused itself, and so needs no note.
local function note_clock()
  if behind_s > 0 then
    local stepped_s = (tonumber(noted[3] or 0) or 0) + behind_s
    redis.pcall('HSET', state, 'epoch', epoch, 'stepped_s', string.format('%.6f', stepped_s))
    -- For ages: all that was noted before may be older by so much.
    redis.pcall('HSET', state, 'step', string.format('%.6f %.6f', now, stepped_s))
  end
  redis.pcall('HSET', state, 'clock', exact(now))
  -- The state is new, or was lost with the note: writes before now may have had no lease.
  if not tonumber(noted[4] or '') then
    redis.pcall('HSET', state, 'unleased_at', exact(now - 5e-7))
  end
end
