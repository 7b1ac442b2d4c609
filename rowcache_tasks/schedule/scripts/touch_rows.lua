-- Makes scheduled rows due now, or after a while unless they are due before: a burst is spread.
-- Removes the values of all others, which readers filled in.
-- KEYS schedule ZSET, delay ZSET, wake LIST, outcomes LIST, asked SET
-- ARGV value_prefix text, fill_prefix text, wait_s seconds (0: now), row_id text...
-- RETURNS number of rows made due: without those that are due before that
local schedule, delay, wake, outcomes, asked = unpack(KEYS)
local value_prefix, fill_prefix, wait_s = unpack(ARGV)
local row_ids = {unpack(ARGV, 4)}
wait_s = tonumber(wait_s)
-- @include now
-- @include wake
-- @include outcomes

local delays = redis.call('ZMSCORE', delay, unpack(row_ids))

local due_at, scores = whole(now + wait_s), {}
if wait_s > 0 then scores = redis.call('ZMSCORE', schedule, unpack(row_ids)) end

local touched, made_due, due, outdated = 0, 0, {}, {}
for i, row_id in ipairs(row_ids) do
  -- mutant: touch-dropped -> local is_scheduled = true
  local is_scheduled = tonumber(delays[i] or 0) > 0
  if is_scheduled then
    touched = touched + 1
    -- A row that is due earlier stays so, a microsecond before: its lease ends, if it has one. What
    -- is being read may be from before the change, and another refresh follows.
    local earlier = tonumber(scores[i] or due_at + 1)
    -- mutant: keep-lease
    earlier = whole(earlier - 1e-6)
    -- mutant: due-later -> due[2 * touched - 1] = due_at
    due[2 * touched - 1] = math.min(due_at, earlier)
    due[2 * touched] = row_id
    if due_at <= earlier then made_due = made_due + 1 end
    note_outcome(i, 'touched')
  else
    -- mutant: keep-value
    outdated[#outdated + 1] = value_prefix .. row_id
  end
  -- A fill in flight may have read before the change.
  -- mutant: keep-fill
  outdated[#outdated + 1] = fill_prefix .. value_prefix .. row_id
end

if #outdated > 0 then redis.call('DEL', unpack(outdated)) end
if touched > 0 then
  -- mutant: no-due
  redis.call('ZADD', schedule, unpack(due))
  wake_dispatcher()
end
write_outcomes()
return made_due
