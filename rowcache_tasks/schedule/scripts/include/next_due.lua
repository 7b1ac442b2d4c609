-- When rows are due again: the delay after the claim. Of a table with a promise, at most
-- max_staleness_s, less a margin, the greatest lateness, halved in half a minute, or a quarter.
local late_s = math.max(late_ms / 1e3 + now - claimed_at, 1e-3)
local margin_s, lasts, aged_s, over_s = 0, {}, 0, 0
if max_staleness_s > 0 then
  local found = redis.pcall('HMGET', state, 'margin_s', 'committed_at')
  local was_s = tonumber(found[1] or 0) or 0
  local since_s = math.max(0, now - (tonumber(found[2] or 0) or 0))
  if not (was_s >= 0 and was_s <= max_staleness_s) then was_s = 0 end
  margin_s = math.min(math.max(late_s, was_s * 0.5 ^ (since_s / 30)), max_staleness_s / 4)
end
if max_staleness_s > 0 or max_delay_s > 0 then
  lasts = redis.call('ZMSCORE', refreshed, unpack(row_ids))
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
-- Adds up for how long the last values of rows were there, and for how long beyond the promise.
local function add_age(i)
  local age_s = math.max(0, now - (tonumber(lasts[i] or now) or now))
  aged_s = aged_s + age_s
  over_s = over_s + math.max(0, age_s - max_staleness_s)
end
-- Notes the margin, and the sums of the hour for a day.
local function note_promise()
  if max_staleness_s == 0 then return end
  local hour = math.floor(now / 3600)
  local field = 'hour:' .. hour % 24
  local sums = tostring(redis.pcall('HGET', state, field))
  local noted_hour, aged, over = sums:match('^(%d+) (%S+) (%S+)$')
  if tonumber(noted_hour) == hour then
    aged_s = aged_s + (tonumber(aged) or 0)
    over_s = over_s + (tonumber(over) or 0)
  end
  sums = string.format('%d %.6f %.6f', hour, aged_s, over_s)
  redis.pcall('HSET', state, 'margin_s', string.format('%.6f', margin_s), field, sums)
end
