-- Takes rows that another place has given. A row that was changed here since it was looked at is
-- left; of one that is here already, the later change stands.
-- KEYS schedule ZSET, delay ZSET, refreshed ZSET, changed ZSET, failures HASH, wake LIST,
--      expiring STRING
-- ARGV value_prefix text, take_by time, count rows, row_id text..., seen_delay seconds or ""...,
--      seen_stamp time or ""..., delay_s seconds or ""..., stamp time or ""..., start_in_s seconds
--      or ""..., age_s seconds or ""..., failure JSON or ""..., value JSON or ""..., ttl_ms
--      milliseconds (0: none)...
-- RETURNS {1 or 0 (left: to be read again)...}
local schedule, delay, refreshed, changed, failures, wake, expiring = unpack(KEYS)
local value_prefix, take_by, count = unpack(ARGV)
local row_ids = {unpack(ARGV, 4, 3 + count)}
local seen_delays = {unpack(ARGV, 4 + count, 3 + 2 * count)}
local seen_stamps = {unpack(ARGV, 4 + 2 * count, 3 + 3 * count)}
local given_delays = {unpack(ARGV, 4 + 3 * count, 3 + 4 * count)}
local given_stamps = {unpack(ARGV, 4 + 4 * count, 3 + 5 * count)}
local starts = {unpack(ARGV, 4 + 5 * count, 3 + 6 * count)}
local ages = {unpack(ARGV, 4 + 6 * count, 3 + 7 * count)}
local records = {unpack(ARGV, 4 + 7 * count, 3 + 8 * count)}
local values = {unpack(ARGV, 4 + 8 * count, 3 + 9 * count)}
local ttls = {unpack(ARGV, 4 + 9 * count)}
-- @include now
-- @include wake
-- @include mark_expiring

local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
local fences = redis.call('ZMSCORE', refreshed, unpack(row_ids))
local stamps = redis.call('ZMSCORE', changed, unpack(row_ids))

local is_late = now > tonumber(take_by)
local function is_as_seen(i)
  return not is_late and tonumber(delays[i] or '') == tonumber(seen_delays[i])
    and tonumber(stamps[i] or '') == tonumber(seen_stamps[i])
end
local function is_newest(i)
  -- A change without a stamp is one of another client, and was made since.
  -- mutant: any-order -> if true then return true end
  if given_stamps[i] == '' then return true end
  return tonumber(stamps[i] or '-inf') <= tonumber(given_stamps[i])
end
local function take_change(i, row_id)
  if given_delays[i] ~= '' then
    redis.call('ZADD', delay, given_delays[i], row_id)
    -- A value that a reader filled in would expire.
    if tonumber(given_delays[i]) > 0 and not delays[i] then
      redis.call('PERSIST', value_prefix .. row_id)
    end
  elseif given_stamps[i] ~= '' and delays[i] then
    -- Dropped there by a process with old settings: the next claim removes it here.
    -- mutant: ignore-drop
    redis.call('ZADD', delay, -1, row_id)
    starts[i] = 0
  end
  -- mutant: no-stamp
  if given_stamps[i] ~= '' then redis.call('ZADD', changed, given_stamps[i], row_id) end
  if records[i] ~= '' and not redis.call('HGET', failures, row_id) then
    redis.call('HSET', failures, row_id, records[i])
  end
end
local function take_value(i, row_id)
  local name, ttl_ms = value_prefix .. row_id, tonumber(ttls[i])
  -- The other place is closed: all that was read for this one is newer.
  -- mutant: replace-newer -> local is_new = true
  local is_new = not fences[i] and redis.call('EXISTS', name) == 0
  if values[i] ~= '' and is_new then
    redis.call('SET', name, values[i])
    if ttl_ms > 0 then
      mark_expiring(ttl_ms)
      redis.call('PEXPIRE', name, ttl_ms)
    end
  end
  -- mutant: no-fence
  if ages[i] ~= '' then redis.call('ZADD', refreshed, 'NX', exact(now - ages[i]), row_id) end
end
local reply = {}
for i, row_id in ipairs(row_ids) do
  -- mutant: take-unseen -> reply[i] = 1
  reply[i] = is_as_seen(i) and 1 or 0
  local is_taken = reply[i] == 1 and is_newest(i)
  if is_taken then
    take_change(i, row_id)
    take_value(i, row_id)
  end
  -- That the row is due earlier is a request of a client, also of a row whose change is older.
  if starts[i] ~= '' and (is_taken or reply[i] == 1 and delays[i]) then
    local due_at = exact(whole(now + starts[i]))
    -- mutant: due-as-here -> redis.call('ZADD', schedule, 'NX', due_at, row_id)
    redis.call('ZADD', schedule, 'LT', due_at, row_id)
    if tonumber(starts[i]) <= 0 then wake_dispatcher() end
  end
end
return reply
