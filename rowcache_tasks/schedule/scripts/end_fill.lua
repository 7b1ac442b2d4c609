-- Ends a fill: writes the values that were read, unless something newer was committed or the fill
-- was cancelled since; or notes that there is no row.
-- KEYS schedule ZSET, delay ZSET, refreshed ZSET, changed ZSET, failures HASH, stats HASH,
--      state HASH, expiring STRING
-- ARGV value_prefix text, fill_prefix text, token text, began_at time, fill_epoch text,
--      ttl_ms milliseconds (0: none), keep_ms milliseconds that a row not scheduled stays cached,
--      delay_s seconds ("": schedule nothing), missing_ms milliseconds, failed_ms milliseconds,
--      count rows, row_id text..., outcome JSON or note or ""...
-- RETURNS {filled, superseded}; notes are those of begin_fill, "" lets others read the row
local schedule, delay, refreshed, changed, failures, stats, state, expiring = unpack(KEYS)
local value_prefix, fill_prefix, token, began_at, fill_epoch = unpack(ARGV)
local ttl_ms, keep_ms, delay_s, missing_ms, failed_ms, count = unpack(ARGV, 6)
local row_ids = {unpack(ARGV, 12, 11 + count)}
local outcomes = {unpack(ARGV, 12 + count)}
local began = tonumber(began_at)
ttl_ms = tonumber(ttl_ms)
local values, fills = {}, {}
for i, row_id in ipairs(row_ids) do
  values[i] = value_prefix .. row_id
  fills[i] = fill_prefix .. values[i]
end
-- @include now
-- @include scored
-- @include mark_expiring
-- @include epoch
local at = exact(now)
-- @include unleased

local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
local fences = redis.call('ZMSCORE', refreshed, unpack(row_ids))
local notes = redis.call('MGET', unpack(fills))
local control = redis.pcall('HMGET', state, 'dropped_at', 'closed')
local dropped_at = tonumber(control[1] or 0) or 0
local is_table_dropped, is_closed = began < dropped_at and dropped_at <= now, control[2]
local function outcome_of(i)
  -- Dropped or requested since, or read by another: the value may be old.
  -- mutant: write-cancelled
  -- mutant: write-for-another -> if not notes[i] then return 'cancelled' end
  if notes[i] ~= token then return 'cancelled' end
  if outcomes[i]:find('^[!?]') then return 'failed' end
  if outcomes[i] == '' then return 'superseded' end
  -- mutant: trust-clock
  if fill_epoch ~= epoch then return 'superseded' end
  -- mutant: write-closed -> if is_table_dropped then return 'superseded' end
  if is_table_dropped or is_closed then return 'superseded' end
  -- mutant: write-older
  if fences[i] and tonumber(fences[i]) >= began then return 'superseded' end
  -- Another client drops the row.
  -- mutant: write-dropped
  if delays[i] and tonumber(delays[i]) <= 0 then return 'superseded' end
  return outcomes[i] == '-' and 'absent' or 'filled'
end
local found, filled, new, old, absent, known, gone, ended = {}, {}, {}, {}, {}, {}, {}, {}
local superseded = 0
for i, row_id in ipairs(row_ids) do
  local outcome = outcome_of(i)
  if outcome == 'filled' then
    found[#found + 1] = i
    filled[#filled + 1] = row_id
    -- mutant: reschedule -> local other = new
    local other = delays[i] and old or new
    other[#other + 1] = row_id
    -- mutant: keep-token
    ended[#ended + 1] = fills[i]
  elseif outcome == 'absent' then
    absent[#absent + 1] = row_id
    if delays[i] or fences[i] then known[#known + 1] = row_id end
    -- mutant: keep-value
    gone[#gone + 1] = values[i]
    redis.call('SET', fills[i], '-', 'PX', missing_ms)
  elseif outcome == 'failed' then
    redis.call('SET', fills[i], outcomes[i], 'PX', failed_ms)
  elseif outcome == 'superseded' then
    superseded = superseded + 1
    -- mutant: keep-refused-token
    ended[#ended + 1] = fills[i]
  else
    superseded = superseded + 1
  end
end

-- A new row is scheduled from now on; or the dispatcher removes it, as any row without a delay: a
-- little after it expires, since a drop just then would cancel the next fill.
local is_scheduling = delay_s ~= ''
if #new > 0 then
  if is_scheduling then
    -- mutant: no-stamp
    redis.call('ZADD', changed, 'GT', scored(new, began_at))
    -- mutant: no-delay
    redis.call('ZADD', delay, scored(new, delay_s))
  end
  local due_at = is_scheduling and began + delay_s or now + keep_ms / 1000 + 10
  -- mutant: no-due
  redis.call('ZADD', schedule, scored(new, exact(whole(due_at))))
end
-- A row that a client has put into `delay:` alone would never be refreshed.
-- mutant: leave-lost
if #old > 0 then redis.call('ZADD', schedule, 'NX', scored(old, at)) end
if #found > 0 and (ttl_ms > 0 or #new > 0 and not is_scheduling) then
  mark_expiring(math.max(ttl_ms, tonumber(keep_ms)))
end
local lasts = ttl_ms > 0 and {'PX', ttl_ms}
local known_lasts = lasts or {'KEEPTTL'}
local new_lasts = not is_scheduling and {'PX', keep_ms} or lasts or {}
for _, i in ipairs(found) do
  redis.call('SET', values[i], outcomes[i], unpack(delays[i] and known_lasts or new_lasts))
end
if #filled > 0 then
  -- mutant: no-fence
  redis.call('ZADD', refreshed, scored(filled, at))
  -- mutant: keep-failure
  redis.call('HDEL', failures, unpack(filled))
end
-- mutant: no-absence-fence
if #known > 0 then redis.call('ZADD', refreshed, scored(known, at)) end
if #filled + #absent > 0 then note_unleased() end
if #gone > 0 then redis.call('DEL', unpack(gone)) end
if #ended > 0 then redis.call('DEL', unpack(ended)) end
if #filled > 0 then redis.pcall('HINCRBY', stats, 'filled', #filled) end
return {#filled, superseded}
