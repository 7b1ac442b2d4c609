-- The delay of a row after its commit, of a table with adaptive intervals: a quarter when the value
-- has changed, a fifth longer when it has not. Longer by chance: rows that are due together part.
local adapted, saved, lasts = {}, 0, {}
if max_delay_s > 0 then lasts = redis.call('ZMSCORE', refreshed, unpack(row_ids)) end
math.randomseed(time[1] % 1e6 + time[2])
local function adapt(i, delay_s, outcome, is_ours)
  if max_delay_s == 0 then return delay_s end
  local aged_s = math.max(0, now - (tonumber(lasts[i] or now) or now))
  saved = saved + math.max(0, math.min(aged_s, delay_s) / min_delay_s - 1)
  -- Rescheduled since the claim: the delay may be new.
  -- mutant: adapt-others
  if not is_ours then return delay_s end
  local wanted_s = delay_s
  -- The first value says nothing: else all rows of a new table would get the shortest delay.
  -- mutant: first-is-a-change -> if outcome == 'refreshed' then wanted_s = delay_s / 4 end
  if outcome == 'refreshed' and #(cached[i] or '') > 0 then wanted_s = delay_s / 4 end
  -- A refresh that was asked for early says little.
  -- mutant: early-says-all -> if outcome == 'unchanged' then
  if outcome == 'unchanged' and aged_s >= delay_s / 2 then
    wanted_s = delay_s * (1.1 + math.random() / 5)
  end
  -- mutant: unbounded
  wanted_s = math.max(min_delay_s, math.min(max_delay_s, math.floor(wanted_s * 1e3) / 1e3))
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
