-- Schedules rows: each has a delay from now on, and is due once its start offset has passed.
-- KEYS schedule ZSET, delay ZSET, changed ZSET, failures HASH, state HASH, wake LIST
-- ARGV value_prefix text, stamp time ("": now), is_new 1 (leave scheduled rows alone) or 0,
--      count rows, row_id text..., delay_s seconds..., start_in_s seconds from now...
-- RETURNS {applied, ignored, left alone}
local schedule, delay, changed, failures, state, wake = unpack(KEYS)
local value_prefix, stamp, is_new, count = unpack(ARGV)
local row_ids = {unpack(ARGV, 5, 4 + count)}
local delays = {unpack(ARGV, 5 + count, 4 + 2 * count)}
local starts = {unpack(ARGV, 5 + 2 * count)}
-- @include now
-- @include scored
-- @include wake
stamp = tonumber(stamp) or now
-- @include newest

local stamps = redis.call('ZMSCORE', changed, unpack(row_ids))
local before = redis.call('ZMSCORE', delay, unpack(row_ids))
local scores = {}
if is_new == '1' then scores = redis.call('ZMSCORE', schedule, unpack(row_ids)) end
local dropped_at = tonumber(redis.pcall('HGET', state, 'dropped_at')) or 0

-- The whole table was dropped since. A time in the future is left from before a step back.
local is_table_dropped = stamp < dropped_at and dropped_at <= now
local function outcome_of(i)
  if scores[i] and before[i] then return 'left' end
  if is_table_dropped then return 'ignored' end
  -- A change that was enqueued later was applied already.
  if not is_newest(stamps[i]) then return 'ignored' end
  return 'applied'
end
local tally = {applied = 0, ignored = 0, left = 0}
local applied, wanted, due, filled, starts_now = {}, {}, {}, {}, false
for i, row_id in ipairs(row_ids) do
  local outcome = outcome_of(i)
  tally[outcome] = tally[outcome] + 1
  if outcome == 'applied' then
    applied[#applied + 1] = row_id
    wanted[#wanted + 1] = delays[i]
    wanted[#wanted + 1] = row_id
    due[#due + 1] = whole(now + starts[i])
    due[#due + 1] = row_id
    starts_now = starts_now or tonumber(starts[i]) <= 0
    if tonumber(before[i] or 0) <= 0 then filled[#filled + 1] = value_prefix .. row_id end
  end
end

if #applied > 0 then
  -- mutant: no-stamp
  redis.call('ZADD', changed, scored(applied, stamp))
  redis.call('ZADD', delay, unpack(wanted))
  -- mutant: no-due
  redis.call('ZADD', schedule, unpack(due))
  redis.call('HDEL', failures, unpack(applied))
  -- A value that a reader filled in would expire. Not earlier: after a first write that needs no
  -- memory, a server that is full would allow the others.
  for _, name in ipairs(filled) do redis.call('PERSIST', name) end
  if starts_now then wake_dispatcher() end
end
-- @include trim_changes
return {tally.applied, tally.ignored, tally.left}
