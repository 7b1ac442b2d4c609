-- Ends a fill: writes what was read if it is still ours and nothing newer was committed, or notes that there is nothing.
-- KEYS schedule ZSET, delay ZSET, refreshed ZSET, changed ZSET, failures HASH, stats HASH
-- ARGV value_prefix text, fill_prefix text, token text, began_at time, ttl_ms milliseconds (0: none), keep_ms
--      milliseconds for which a row that is not scheduled stays cached, delay_s seconds ("": schedule nothing),
--      missing_ms milliseconds, failed_ms milliseconds, count rows,
--      row_id text..., outcome JSON or note or ""...
-- RETURNS {filled, superseded}; notes are those of begin_fill, "" lets others try
local schedule, delay, refreshed, changed, failures, stats = unpack(KEYS)
local value_prefix, fill_prefix, token, began_at, ttl_ms, keep_ms, delay_s, missing_ms, failed_ms, count = unpack(ARGV)
began_at, count = tonumber(began_at), tonumber(count)
local row_ids = {unpack(ARGV, 11, 10 + count)}

local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
local fences = redis.call('ZMSCORE', refreshed, unpack(row_ids))
local filled, superseded, dropped_at = 0, 0, tonumber(redis.pcall('HGET', stats, 'dropped_at')) or 0
local is_old = began_at > now or (began_at < dropped_at and dropped_at <= now) -- the whole table was dropped since
for i, row_id in ipairs(row_ids) do
  local outcome, value = ARGV[10 + count + i], value_prefix .. row_id
  local fill = fill_prefix .. value
  if redis.pcall('GET', fill) ~= token then
    superseded = superseded + 1 -- Dropped or asked for anew since, or another reads it: what was read may be old.
  elseif outcome:find('^[!?]') then
    redis.call('SET', fill, outcome, 'PX', failed_ms)
  elseif outcome == '' or is_old or tonumber(fences[i] or '-inf') >= began_at or tonumber(delays[i] or 1) <= 0 then
    redis.call('DEL', fill)
    superseded = superseded + 1 -- Not read, committed since, the clock stepped back, or another client drops the row.
  elseif outcome == '-' then
    redis.call('SET', fill, outcome, 'PX', missing_ms); redis.call('DEL', value)
    redis.call('ZADD', refreshed, 'XX', now, row_id)
  else
    local lasts = tonumber(ttl_ms) > 0 and {'PX', ttl_ms} or delays[i] and {'KEEPTTL'} or {}
    if not delays[i] then
      -- Not scheduled: from now on it is, or the dispatcher removes it when its time is over, as any row without delay.
      if delay_s ~= '' then
        redis.call('ZADD', changed, 'GT', began_at, row_id)
        redis.call('ZADD', delay, delay_s, row_id)
      else lasts = {'PX', keep_ms}; redis.call('SET', fill_prefix .. value_prefix, 1, 'PX', 86400000) end
      -- Removed a little after it expires: a drop just then would cancel the fill that follows.
      redis.call('ZADD', schedule, delay_s ~= '' and began_at + delay_s or now + keep_ms / 1000 + 10, row_id)
    end
    redis.call('SET', value, outcome, unpack(lasts))
    redis.call('ZADD', refreshed, now, row_id)
    redis.call('HDEL', failures, row_id); redis.call('DEL', fill)
    filled = filled + 1
  end
end
if filled > 0 then redis.pcall('HINCRBY', stats, 'filled', filled) end
return {filled, superseded}
