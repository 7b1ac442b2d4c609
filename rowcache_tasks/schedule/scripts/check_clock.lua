-- Notes the time of the server, about once a second, and whether its clock stepped back since.
-- KEYS state HASH, changed ZSET
-- ARGV is_settled 1 (rows due too late were repaired: go on from now) or 0
-- RETURNS 1 when the clock stepped back by over a second since the last repair, else 0
local state, changed = unpack(KEYS)
local is_settled = unpack(ARGV)
-- @include now
-- @include epoch
-- @include trim_changes

local committed_at = tonumber(redis.call('HGET', state, 'committed_at') or 'nan') or now

note_clock()
if committed_at > now then redis.call('HSET', state, 'committed_at', exact(now)) end
if is_settled == '1' then
  redis.call('HDEL', state, 'stepped_s')
  return 0
end
local stepped_s = tonumber(redis.call('HGET', state, 'stepped_s') or 0) or 0
return stepped_s > 1 and 1 or 0
