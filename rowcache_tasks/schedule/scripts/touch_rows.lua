-- Makes scheduled rows due now. Removes the values of all others, which readers filled in.
-- KEYS schedule ZSET, delay ZSET, wake LIST, outcomes LIST, asked SET
-- ARGV value_prefix text, fill_prefix text, row_id text...
-- RETURNS number of rows made due
local schedule, delay, wake, outcomes, asked = unpack(KEYS)
local value_prefix, fill_prefix = unpack(ARGV)
local row_ids = {unpack(ARGV, 3)}
-- @include now
-- @include scored
-- @include wake
-- @include outcomes

local delays = redis.call('ZMSCORE', delay, unpack(row_ids))

local touched, outdated = {}, {}
for i, row_id in ipairs(row_ids) do
  -- mutant: touch-dropped -> local is_scheduled = true
  local is_scheduled = tonumber(delays[i] or 0) > 0
  if is_scheduled then
    touched[#touched + 1] = row_id
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
if #touched > 0 then
  -- mutant: no-due
  redis.call('ZADD', schedule, scored(touched, now))
  wake_dispatcher()
end
write_outcomes()
return #touched
