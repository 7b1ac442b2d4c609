-- The delay of a row after its commit, of a table with adaptive intervals: a quarter when the value
-- has changed, a tenth longer when it has not. Longer by chance: rows that are due together part.
-- A row that changes at the shortest delay stays there: 30 refreshes that find no change for each
-- that finds one, 100 at most. How many are left is the microseconds of its delay above that one.
local STAY, MAX_STAY = 30, 100
local adapted, saved, lasts = {}, 0, {}
if max_delay_s > 0 then lasts = redis.call('ZMSCORE', refreshed, unpack(row_ids)) end
math.randomseed(time[1] % 1e6 + time[2])
local function stay_of(delay_s)
  local left = math.floor((delay_s - min_delay_s) * 1e6 + 0.5)
  return left >= 0 and left <= MAX_STAY and left or 0
end
local function adapt(i, delay_s, outcome, is_ours)
  local aged_s = math.max(0, now - (tonumber(lasts[i] or now) or now))
  saved = saved + math.max(0, math.min(aged_s, delay_s) / min_delay_s - 1)
  -- Rescheduled since the claim: the delay may be new.
  -- mutant: adapt-others
  if not is_ours then return delay_s end
  local stay, wanted_s = stay_of(delay_s), math.floor(delay_s * 1e3) / 1e3
  -- The first value says nothing: else all rows of a new table would get the shortest delay.
  -- mutant: first-is-a-change -> local is_change = outcome == 'refreshed'
  local is_change = outcome == 'refreshed' and #(cached[i] or '') > 0
  if is_change then
    wanted_s = delay_s / 4
    -- mutant: never-stay
    if wanted_s <= min_delay_s then stay = math.min(stay + STAY, MAX_STAY) end
  -- A refresh that was asked for early says little.
  -- mutant: early-says-all -> elseif outcome == 'unchanged' then
  elseif outcome == 'unchanged' and aged_s >= delay_s / 2 then
    -- mutant: always-stay
    stay = stay - 1
    if stay < 0 then wanted_s = delay_s * (1.05 + math.random() / 10) end
  end
  local least_s = min_delay_s + math.max(0, stay) / 1e6
  -- mutant: unbounded
  wanted_s = math.min(max_delay_s, math.max(least_s, math.floor(wanted_s * 1e3) / 1e3))
  if wanted_s ~= delay_s then
    adapted[#adapted + 1] = wanted_s
    adapted[#adapted + 1] = row_ids[i]
  end
  return wanted_s
end
-- Notes the delays of rows that still have one, and how many refreshes were not made since the
-- last commits that the shortest delay would have made; the fraction is rounded by chance.
local function note_delays()
  if #adapted > 0 then redis.call('ZADD', delay, 'XX', unpack(adapted)) end
  tally.saved = math.floor(saved + math.random())
end
