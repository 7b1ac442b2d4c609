-- Reads rows that are moved to another place. Closes this place: no row is claimed here any more,
-- and no claim or fill in flight writes a value.
-- KEYS schedule ZSET, delay ZSET, refreshed ZSET, changed ZSET, failures HASH, state HASH
-- ARGV value_prefix text, most bytes (of values, but at least one row), row_id text...
-- RETURNS {dropped_at time or "", (of each row, as far as the bytes reach) schedule time or "",
--         delay seconds or "", changed time or "", seconds until it is due or "", age seconds or
--         "", failure JSON or "", value JSON or "", ttl_ms milliseconds (0: none)...}
local schedule, delay, refreshed, changed, failures, state = unpack(KEYS)
local value_prefix, most = unpack(ARGV)
local row_ids = {unpack(ARGV, 3)}
most = tonumber(most)
-- @include now
-- @include epoch

-- An old program may have resumed the table.
local control = redis.pcall('HMGET', state, 'closed', 'paused', 'dropped_at')
-- mutant: stay-open -> if false then
if not (control[1] and tonumber(control[2] or 'nan')) then
  -- mutant: stay-unpaused
  redis.call('HSET', state, 'closed', exact(now), 'paused', string.format('%.6f', now))
  -- mutant: same-epoch
  redis.call('HSET', state, 'epoch', string.format('%d', number + 1))
end

local dues = redis.call('ZMSCORE', schedule, unpack(row_ids))
local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
local fences = redis.call('ZMSCORE', refreshed, unpack(row_ids))
local stamps = redis.call('ZMSCORE', changed, unpack(row_ids))
local records = redis.call('HMGET', failures, unpack(row_ids))

-- Times are of this server: what is given are durations.
local function due_in(i)
  if not dues[i] then return '' end
  local seconds = tonumber(dues[i]) - now
  -- The end of a lease, which is in the middle of a microsecond: what is in flight is refused.
  local part = math.abs(seconds) < 1e6 and tonumber(dues[i]) * 1e6 % 1 or 0
  -- mutant: keep-lease
  if part > 0.2 and part < 0.8 then seconds = math.min(seconds, 0) end
  return exact(seconds)
end
local function age_of(i)
  -- A time in the future is left from before the clock stepped back.
  if not fences[i] or now < tonumber(fences[i]) then return '' end
  return exact(now - fences[i])
end
local reply, bytes = {control[3] or ''}, 0
for i, row_id in ipairs(row_ids) do
  local value = redis.pcall('GET', value_prefix .. row_id)
  if type(value) ~= 'string' then value = '' end
  bytes = bytes + #value
  if i > 1 and bytes > most then break end
  local ttl_ms = 0
  if value ~= '' then ttl_ms = math.max(0, redis.call('PTTL', value_prefix .. row_id)) end
  local facts = {
    dues[i] or '', delays[i] or '', stamps[i] or '', due_in(i), age_of(i), records[i] or '', value,
    ttl_ms}
  for n = 1, 8 do reply[#reply + 1] = facts[n] end
end
return reply
