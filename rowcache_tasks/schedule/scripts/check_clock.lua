-- Notes the time of the server, about once a second, and whether its clock stepped back since; of a
-- table with a promise also for how long it was kept, in each hour of a day.
-- KEYS state HASH, changed ZSET, schedule ZSET, delay ZSET, refreshed ZSET
-- ARGV is_settled 1 (rows due too late were repaired: go on from now) or 0,
--      max_staleness_s seconds (0: no promise), allowed share (of the rows that may be older)
-- RETURNS 1 when the clock stepped back by over a second since the last repair, else 0
local state, changed, schedule, delay, refreshed = unpack(KEYS)
local is_settled, max_staleness_s, allowed = unpack(ARGV)
max_staleness_s, allowed = tonumber(max_staleness_s), tonumber(allowed)
-- @include now
-- @include epoch
-- @include trim_changes

local committed_at = tonumber(redis.call('HGET', state, 'committed_at') or 'nan') or now

-- The share of the rows with a delay that were read within the promise; nil without such rows.
-- Rows without one, which readers fill, have a refresh as well: all of them may be recent.
local function share_within()
  local rows = tonumber(redis.pcall('ZCARD', delay)) or 0
  if rows == 0 then return nil end
  local found = redis.pcall('HMGET', state, 'step', 'read_s')
  local stepped_at, stepped_s = tostring(found[1]):match('^(%d+%.%d+) (%d+%.%d+)$')
  local read_s = tonumber(found[2] or 0) or 0
  -- mutant: ignore-step -> local error_s = 0
  local error_s = tonumber(stepped_s or 0)
  -- What was refreshed before is older than promised by now.
  if error_s > 0 and now > tonumber(stepped_at) + error_s + max_staleness_s then error_s = 0 end
  local from, to = exact(now - max_staleness_s + read_s + error_s), exact(now + error_s)
  local within = tonumber(redis.pcall('ZCOUNT', refreshed, from, to)) or 0
  -- mutant: ignore-filled -> local filled = 0
  local filled = math.max(0, (tonumber(redis.pcall('ZCARD', schedule)) or 0) - rows)
  return math.min(1, math.max(0, within - filled) / rows)
end
-- Adds a time to the sums of each hour that it touches: seconds, and seconds beyond the promise of
-- a mean row.
local function add(from, to, share)
  while from < to do
    local hour = math.floor(from / 3600)
    local last = math.min(to, (hour + 1) * 3600)
    local field = 'hour:' .. hour % 24
    local noted_hour, sum_s, beyond_s =
      tostring(redis.pcall('HGET', state, field)):match('^(%d+) (%S+) (%S+)$')
    if tonumber(noted_hour) ~= hour then sum_s, beyond_s = 0, 0 end
    sum_s = (tonumber(sum_s) or 0) + last - from
    beyond_s = (tonumber(beyond_s) or 0) + (last - from) * (1 - share)
    redis.pcall('HSET', state, field, string.format('%d %.6f %.6f', hour, sum_s, beyond_s))
    from = last
  end
end
local function note_promise()
  local share = share_within()
  if not share then
    redis.pcall('HDEL', state, 'judged_at')
    return
  end
  local since = tonumber(redis.pcall('HGET', state, 'judged_at') or '') or now
  -- Nobody has looked for longer than a pause of a dispatcher: nothing was kept meanwhile.
  -- mutant: ignore-gap -> if false then
  if now - since > 5 then
    add(math.max(since, now - 86400), now, 0)
  else
    add(since, now, share)
  end
  redis.pcall('HSET', state, 'judged_at', exact(now))
  if share < 1 - allowed - 1e-9 then redis.pcall('HSET', state, 'missed_at', exact(now)) end
end

note_clock()
if committed_at > now then redis.call('HSET', state, 'committed_at', exact(now)) end
if max_staleness_s > 0 then note_promise() end
if is_settled == '1' then
  redis.call('HDEL', state, 'stepped_s')
  return 0
end
local stepped_s = tonumber(redis.call('HGET', state, 'stepped_s') or 0) or 0
return stepped_s > 1 and 1 or 0
