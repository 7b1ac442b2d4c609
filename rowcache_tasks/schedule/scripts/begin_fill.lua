-- Begins to fill rows that are not cached, or too old: the first to ask reads the database, all others wait for it.
-- KEYS refreshed ZSET
-- ARGV value_prefix text, fill_prefix text, token text, hold_ms milliseconds, max_age_s seconds ("": any),
--      row_id text...
-- RETURNS {now, value JSON or "", age seconds or "", note text or "", value, age, note, ...}: a value that is not too
--         old, or what is noted in the row's fill key: another's token, "-" (there is no such row), "!" or "?" and a
--         reason (the database, or this row, cannot be read); nothing when the row is now ours to read
local refreshed = unpack(KEYS)
local value_prefix, fill_prefix, token, hold_ms, max_age_s = unpack(ARGV)
local row_ids, values, fills = {unpack(ARGV, 6)}, {}, {}
max_age_s = tonumber(max_age_s) or math.huge
for i, row_id in ipairs(row_ids) do
  values[i] = value_prefix .. row_id
  fills[i] = fill_prefix .. values[i]
end

local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local reply = {string.format('%.17g', now)}
local fences = redis.call('ZMSCORE', refreshed, unpack(row_ids))
local cached = redis.call('MGET', unpack(values))
local notes = redis.call('MGET', unpack(fills))
for i, row_id in ipairs(row_ids) do
  -- An age by a clock that has stepped back since is not known.
  local age_s = fences[i] and now - fences[i] > -1 and math.max(0, now - fences[i]) or nil
  -- What does not begin like an object was written by another client, and counts as not cached.
  if cached[i] and cached[i]:sub(1, 1) == '{' and (age_s or math.huge) <= max_age_s then
    table.insert(reply, cached[i]); table.insert(reply, age_s and string.format('%.17g', age_s) or '')
    table.insert(reply, '')
  else
    if notes[i] == '-' and cached[i] then notes[i] = nil end -- a commit has found the row since
    if notes[i] == token then notes[i] = nil end -- sent again, since the first reply was lost
    table.insert(reply, ''); table.insert(reply, '')
    table.insert(reply, notes[i] or '')
    if not notes[i] then redis.call('SET', fills[i], token, 'PX', hold_ms) end
    -- A fence in the future is left from before the server's clock stepped back; it would refuse what is read now.
    if fences[i] and tonumber(fences[i]) > now then redis.call('ZADD', refreshed, now - 5e-7, row_id) end
  end
end
return reply
