-- Reads the beginnings of cached values: the version of each row is there.
-- KEYS refreshed ZSET, state HASH
-- ARGV value_prefix text, shape text, margin_s seconds, length bytes, row_id text...
-- RETURNS {beginning text...}: "" for a row that is not cached, and for one that was committed less
--         than margin_s after another shape, the columns of the values, was in use
local refreshed, state = unpack(KEYS)
local value_prefix, shape, margin_s, length = unpack(ARGV)
local row_ids = {unpack(ARGV, 5)}
-- @include now

local noted = redis.pcall('HMGET', state, 'shape', 'shape_at')
local shape_at = tonumber(noted[2] or 'nan') or 0
-- A time in the future is left from before the clock stepped back.
local is_same = noted[1] == shape and shape_at <= now
if not is_same then
  shape_at = now
  redis.pcall('HSET', state, 'shape', shape, 'shape_at', string.format('%.17g', now))
end
local fences = redis.call('ZMSCORE', refreshed, unpack(row_ids))
local function beginning_of(i)
  if tonumber(fences[i] or '-inf') < shape_at + margin_s then return '' end
  local found = redis.pcall('GETRANGE', value_prefix .. row_ids[i], 0, length - 1)
  return type(found) == 'string' and found or ''
end
local beginnings = {}
for i in ipairs(row_ids) do beginnings[i] = beginning_of(i) end
return beginnings
