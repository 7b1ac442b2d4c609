-- The cap on refreshes: a row each 1 / max_rate seconds; after a rest, those of one second, or one.
-- `paced_at` in the state is the time up to which they are used. A state of another type is an
-- error: without it there is no cap.
local allowed, paced_at = math.huge, now
if max_rate > 0 then
  paced_at = tonumber(redis.call('HGET', state, 'paced_at') or 0) or 0
  -- A time in the future is left from before the clock stepped back.
  -- mutant: trust-future-pace
  if not (paced_at <= now) then paced_at = now end
  paced_at = math.max(paced_at, now - math.max(1, 1 / max_rate))
  -- mutant: no-cap
  allowed = math.floor((now - paced_at) * max_rate + 1e-6)
end
-- Leaves half of the rows: new and failing ones take half of the cap at most, a look the rest.
-- By chance, so that a cap of one row at a time is shared as well.
local function spare_half(claimed)
  math.randomseed(time[1] % 1e6 + time[2])
  return {unpack(claimed, 1, math.floor(#claimed / 2 + math.random()))}
end
-- Notes the claimed rows and, for people, when others were held back; returns the next due time:
-- not before another row is allowed.
local function note_pace(count, is_held_back, next_due)
  if count == 0 and not is_held_back then return next_due end
  redis.pcall('HSET', state, 'paced_at', exact(paced_at + count / max_rate))
  if not is_held_back then return next_due end
  redis.pcall('HSET', state, 'capped_at', exact(now))
  local ready_at = math.max(paced_at + (count + 1) / max_rate, now + 0.01)
  return tonumber(next_due) < ready_at and exact(ready_at) or next_due
end
