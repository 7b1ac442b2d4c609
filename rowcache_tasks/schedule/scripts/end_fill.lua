-- Ends a fill: writes what was read if it is still ours and nothing newer was committed, or notes that there is nothing.
-- KEYS schedule ZSET, delay ZSET, refreshed ZSET, changed ZSET, failures HASH, stats HASH
-- ARGV value_prefix text, fill_prefix text, token text, began_at time, ttl_ms milliseconds (0: none), keep_ms
--      milliseconds for which a row not scheduled stays cached, delay_s seconds ("": schedule nothing),
--      missing_ms milliseconds, failed_ms milliseconds, count rows, row_id text..., outcome JSON or note or ""...
-- RETURNS {filled, superseded}; notes are those of begin_fill, "" lets others try
local schedule, delay, refreshed, changed, failures, stats = unpack(KEYS)
local value_prefix, fill_prefix, token, began_at, ttl_ms, keep_ms, delay_s, missing_ms, failed_ms, count = unpack(ARGV)
local row_ids, values, fills, time = {unpack(ARGV, 11, 10 + count)}, {}, {}, redis.call('TIME')
for i, row_id in ipairs(row_ids) do values[i] = value_prefix .. row_id; fills[i] = fill_prefix .. values[i] end
local now, began = time[1] + time[2] / 1e6, tonumber(began_at)
local function add(row_ids, score, ...) -- to a ZSET, with options; each row with the same score
  local call = {'ZADD', ...}
  for _, row_id in ipairs(row_ids) do call[#call + 1] = score; call[#call + 1] = row_id end
  if #row_ids > 0 then redis.call(unpack(call)) end
end
local delays = redis.call('ZMSCORE', delay, unpack(row_ids))
local fences = redis.call('ZMSCORE', refreshed, unpack(row_ids))
local notes, dropped_at = redis.call('MGET', unpack(fills)), tonumber(redis.pcall('HGET', stats, 'dropped_at')) or 0
local is_old = began > now or (began < dropped_at and dropped_at <= now) -- the whole table was dropped since
local found, filled, new, absent, gone, ended, superseded = {}, {}, {}, {}, {}, {}, 0
for i, row_id in ipairs(row_ids) do
  local outcome = ARGV[10 + count + i]
  if notes[i] ~= token then
    superseded = superseded + 1 -- Dropped or asked for anew since, or another reads it: what was read may be old.
  elseif outcome:find('^[!?]') then redis.call('SET', fills[i], outcome, 'PX', failed_ms)
  elseif outcome == '' or is_old or tonumber(fences[i] or '-inf') >= began or tonumber(delays[i] or 1) <= 0 then
    superseded = superseded + 1 -- Not read, committed since, the clock stepped back, or another client drops the row.
    ended[#ended + 1] = fills[i]
  elseif outcome == '-' then
    redis.call('SET', fills[i], outcome, 'PX', missing_ms); gone[#gone + 1] = values[i]; absent[#absent + 1] = row_id
  else
    found[#found + 1] = i; filled[#filled + 1] = row_id; ended[#ended + 1] = fills[i]
    if not delays[i] then new[#new + 1] = row_id end
  end
end
-- Not scheduled: from now on it is, or the dispatcher removes it when its time is over, as any row without delay.
if delay_s ~= '' then add(new, began_at, changed, 'GT'); add(new, delay_s, delay) end
-- Removed a little after it expires: a drop just then would cancel the fill that follows.
add(new, string.format('%.17g', delay_s ~= '' and began + delay_s or now + keep_ms / 1000 + 10), schedule)
local lasts = tonumber(ttl_ms) > 0 and {'PX', ttl_ms}
local first, kept = delay_s == '' and {'PX', keep_ms} or lasts or {}, lasts or {'KEEPTTL'}
if #found > 0 and (lasts or #new > 0 and delay_s == '') then -- the mark of commit_rows, for a day at least
  redis.call('SET', fill_prefix .. value_prefix, 1, 'PX', math.max(ttl_ms, 86400000))
end
for _, i in ipairs(found) do redis.call('SET', values[i], ARGV[10 + count + i], unpack(delays[i] and kept or first)) end
add(filled, string.format('%.17g', now), refreshed); add(absent, string.format('%.17g', now), refreshed, 'XX')
if #filled > 0 then redis.call('HDEL', failures, unpack(filled)); redis.pcall('HINCRBY', stats, 'filled', #filled) end
for _, dead in ipairs({gone, ended}) do if #dead > 0 then redis.call('DEL', unpack(dead)) end end
return {#filled, superseded}
