-- Claims due rows, earliest first: moves the due time of each to the end of a lease.
-- KEYS schedule ZSET, delay ZSET, refreshed ZSET, failures HASH, stats HASH, state HASH,
--      queue ZSET, notes ZSET, outcomes LIST, asked SET
-- ARGV value_prefix text, fill_prefix text, lease_s seconds (the longest), limit rows, least_s
--      seconds (of a lease), looks rows (0: any due rows are claimed; else only rows that were
--      refreshed before and do not fail, among so many rows), due_since time ("-inf": the first
--      that are due), max_rate rows a second (0: no cap), note JSON (of the claim, for explain; "":
--      none)
-- RETURNS {claimed_at, lease_until, epoch, next due time or "", batches not started yet, late_ms,
--         new and failing rows among them (estimated from 16), due time at which the next look goes
--         on or "",
--         row id...}; no row id when the table is paused; late_ms of the row that was due first, so
--         that no row of the batch is later; {claimed_at}, no claim, when a batch that was claimed
--         half of the shortest lease ago is not started yet
local schedule, delay, refreshed, failures, stats, state = unpack(KEYS)
local queue, notes, outcomes, asked = unpack(KEYS, 7)
local value_prefix, fill_prefix, lease_s, limit, least_s, looks = unpack(ARGV)
local due_since, max_rate, note = unpack(ARGV, 7)
limit, looks, max_rate = tonumber(limit), tonumber(looks), tonumber(max_rate)
-- @include now
-- @include scored
-- @include epoch
-- @include lease
-- @include work
local claimed_at = exact(now)
local lease_until = lease_end(lease_for(tonumber(least_s), tonumber(lease_s)))

local waiting = tonumber(redis.pcall('ZCARD', queue)) or 1e6
if tonumber(redis.pcall('HGET', state, 'paused')) then
  return {claimed_at, lease_until, epoch, '', waiting, 0, 0, ''}
end
local oldest = redis.pcall('ZRANGE', queue, 0, 0, 'WITHSCORES')[2]
-- mutant: ignore-queue
if oldest and now - oldest > least_s / 2 then return {claimed_at} end
-- mutant: claim-all -> local last = '+inf'
local last = now
local row_ids = redis.call(
  'ZRANGE', schedule, due_since, last, 'BYSCORE', 'LIMIT', 0, math.max(limit, looks))
-- @include proven
local delays = {}
if #row_ids > 0 then delays = redis.call('ZMSCORE', delay, unpack(row_ids)) end

-- No delay, or one <= 0, is how any client says: stop caching this row. No row has the id ''.
local function is_wanted(i)
  if row_ids[i] == '' then return false end
  -- mutant: claim-dropped -> return true
  -- mutant: claim-any-delay -> return delays[i]
  -- mutant: claim-without-delay -> return tonumber(delays[i] or 1) > 0
  return tonumber(delays[i] or 0) > 0
end
-- @include outcomes
-- @include estimate_unproven
-- @include pace
-- @include remove
local claimed, dropped, is_held_back = {}, {}, false
local count = 0
for i, row_id in ipairs(row_ids) do
  if not is_wanted(i) then
    dropped[#dropped + 1] = row_id
    note_outcome(i, 'dropped', delays[i] and 'its-interval-was-set-to-0-or-less')
  elseif count >= allowed then
    -- mutant: look-past-the-cap
    if looks > 0 and not is_held_back then go_on_at = redis.call('ZSCORE', schedule, row_id) end
    is_held_back = true
  else
    count = count + 1
    claimed[count] = row_id
  end
end
local unproven = estimate_unproven(claimed)
-- mutant: crowd-out
if is_held_back and looks == 0 and unproven * 2 >= #claimed then claimed = spare_half(claimed) end

if #dropped > 0 then
  remove_rows(dropped)
  redis.call('ZREM', delay, unpack(dropped))
  redis.pcall('HINCRBY', stats, 'dropped', #dropped)
  write_outcomes()
end
-- The due time of the row that was due first. 0 is how a foreign client says "at once": no time
-- since which the row has been late.
local function first_due()
  for _, row_id in ipairs(claimed) do
    local due_at = tonumber(redis.call('ZSCORE', schedule, row_id))
    if due_at > 0 then return due_at end
  end
  return now
end
local late_ms = 0
if #claimed > 0 then
  late_ms = math.floor(math.min((now - first_due()) * 1000, 1e12))
  -- mutant: no-note
  note_clock()
  -- mutant: no-lease
  redis.call('ZADD', schedule, scored(claimed, lease_until))
  lower_fences(claimed)
  redis.pcall('ZADD', queue, now, claimed_at)
  if note ~= '' then redis.pcall('ZADD', notes, lease_until, claimed_at .. ' ' .. note) end
  redis.pcall('HINCRBY', stats, 'claimed', #claimed)
end
local next_due = redis.call('ZRANGE', schedule, 0, 0, 'WITHSCORES')[2] or ''
if max_rate > 0 then next_due = note_pace(#claimed, is_held_back, next_due) end
return {
  claimed_at, lease_until, epoch, next_due, waiting, late_ms, math.floor(unproven), go_on_at,
  unpack(claimed)}
