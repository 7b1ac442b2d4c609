-- Begins to fill rows that are not cached, or too old: the first caller reads them from the
-- database, all others wait for it.
-- KEYS refreshed ZSET, state HASH
-- ARGV value_prefix text, fill_prefix text, token text, hold_ms milliseconds,
--      max_age_s seconds ("": any), row_id text...
-- RETURNS {now, epoch, value JSON or "", age seconds or "", note text or "", value, age, note...}:
--         of each row a value that is not too old, or the note in its fill key: another's token,
--         "-" (there is no such row), "!" or "?" and a reason (the database, or this row, cannot be
--         read); neither when the caller is to read the row
local refreshed, state = unpack(KEYS)
local value_prefix, fill_prefix, token, hold_ms, max_age_s = unpack(ARGV)
local row_ids = {unpack(ARGV, 6)}
max_age_s = tonumber(max_age_s) or math.huge
local values, fills = {}, {}
for i, row_id in ipairs(row_ids) do
  values[i] = value_prefix .. row_id
  fills[i] = fill_prefix .. values[i]
end
-- @include now
-- @include epoch

local fences = redis.call('ZMSCORE', refreshed, unpack(row_ids))
local cached = redis.call('MGET', unpack(values))
local notes = redis.call('MGET', unpack(fills))

local function age_of(i)
  -- Not known by a clock that has stepped back since.
  if not fences[i] or now - fences[i] <= -1 then return nil end
  return math.max(0, now - fences[i])
end
local function is_usable(i, age_s)
  -- A value that does not begin like an object is another client's, and counts as not cached.
  if not cached[i] or cached[i]:sub(1, 1) ~= '{' then return false end
  -- mutant: any-age -> return true
  -- mutant: no-age -> return false
  return (age_s or math.huge) <= max_age_s
end
local function note_of(i)
  -- A commit has found the row since.
  -- mutant: keep-absence
  if notes[i] == '-' and cached[i] then return nil end
  -- Sent a second time, since the first reply was lost.
  if notes[i] == token then return nil end
  return notes[i] or nil
end
local reply, is_reading = {exact(now), epoch}, false
for i, row_id in ipairs(row_ids) do
  local age_s = age_of(i)
  local value, age, note = '', '', ''
  if is_usable(i, age_s) then
    value = cached[i]
    age = age_s and exact(age_s) or ''
  else
    note = note_of(i) or ''
    -- mutant: take-others -> local is_ours = true
    local is_ours = note == ''
    if is_ours then redis.call('SET', fills[i], token, 'PX', hold_ms) end
    is_reading = is_reading or is_ours
    -- A fence in the future is left from before the clock stepped back; it would refuse the value.
    local is_ahead = fences[i] and tonumber(fences[i]) > now
    -- mutant: keep-future-fence
    if is_ahead then redis.call('ZADD', refreshed, now - 5e-7, row_id) end
  end
  reply[3 * i] = value
  reply[3 * i + 1] = age
  reply[3 * i + 2] = note
end
-- mutant: no-note
if is_reading then note_clock() end
return reply
