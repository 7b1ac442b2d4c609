-- Checks where rows were read: a row that was read before the position that it needs is due again
-- soon. All others need the position of this read from now on, so that no replica that is behind it
-- can replace their values.
-- KEYS schedule ZSET, position ZSET, state HASH, stats HASH, outcomes LIST, asked SET
-- ARGV lease_until time, low position (all before it was read; "inf": from the primary), high
--      position (nothing after it was read), row_id text...
-- RETURNS {1 or 0...}: 1 for each row that may be committed
local schedule, position, state, stats, outcomes, asked = unpack(KEYS)
local lease_until, low, high = unpack(ARGV)
local row_ids = {unpack(ARGV, 4)}
lease_until, low = tonumber(lease_until), tonumber(low)
-- @include now
-- @include outcomes
-- A replica is at most so far behind: it is not read otherwise. Positions that no read reaches in
-- this time were lost in a failover of the database.
local kept_s = 600

local needed = redis.call('ZMSCORE', position, unpack(row_ids))
local scores = redis.call('ZMSCORE', schedule, unpack(row_ids))
local noted = redis.pcall(
  'HMGET', state, 'behind_at', 'behind', 'reached_at', 'reached', 'passed')
local behind_at, behind = tonumber(noted[1] or 'nan'), tonumber(noted[2] or 'nan')
-- A time in the future is left from before the clock stepped back.
local is_behind = behind_at and behind and behind_at <= now and low < behind
local passed = tonumber(noted[5] or 0) or 0
if not (passed >= 0) then passed = 0 end
-- mutant: wait-for-ever -> if false then
if is_behind and now - behind_at > kept_s then
  is_behind, needed, passed, noted[3] = false, {}, 0, nil
  redis.call('DEL', position)
end
-- What a row needs; at least a position that other reads have passed long ago.
local function needed_by(i) return math.max(passed, tonumber(needed[i] or 0)) end
local function is_early(i)
  -- mutant: read-early
  if needed_by(i) > low then return true end
  return false
end
local answers, reached, early, furthest = {}, {}, 0, 0
for i, row_id in ipairs(row_ids) do
  if is_early(i) then
    answers[i] = 0
    early = early + 1
    furthest = math.max(furthest, needed_by(i))
    note_outcome(i, 'superseded', 'read-from-a-replica-that-is-behind')
  else
    answers[i] = 1
    reached[#reached + 1] = high
    reached[#reached + 1] = row_id
  end
end

if early > 0 and not is_behind then
  behind_at = now
  redis.pcall('HSET', state, 'behind_at', exact(now), 'behind', string.format('%.0f', furthest))
elseif noted[1] and not is_behind then
  redis.pcall('HDEL', state, 'behind_at', 'behind')
end
if early > 0 then
  -- Half as long again as the replica has been behind: a few reads, whatever its lag.
  local due_at = whole(now + math.min(30, math.max(0.1, (now - behind_at) / 2)))
  for i, row_id in ipairs(row_ids) do
    -- mutant: overrule -> local is_ours = true
    local is_ours = tonumber(scores[i] or 'nan') == lease_until
    if answers[i] == 0 and is_ours then redis.call('ZADD', schedule, due_at, row_id) end
  end
  redis.pcall('HINCRBY', stats, 'superseded', early)
  write_outcomes()
end
-- mutant: forget-reads
if #reached > 0 then redis.call('ZADD', position, unpack(reached)) end

-- Forgets positions that a read had passed kept_s ago or earlier: all rows need the last of them.
local reached_at = tonumber(noted[3] or 'nan')
if not (reached_at and reached_at <= now and now - reached_at <= kept_s) then
  passed = reached_at and reached_at <= now and noted[4] or 0
  redis.pcall('HSET', state, 'reached_at', exact(now), 'reached', high, 'passed', passed)
end
local old = redis.call('ZRANGE', position, '-inf', passed, 'BYSCORE', 'LIMIT', 0, 250)
if #old > 0 then redis.call('ZREM', position, unpack(old)) end
return answers
