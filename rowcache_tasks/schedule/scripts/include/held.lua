-- The rows that are still held: whose due time is the end of the lease. Fences are read where they
-- decide.
-- No other claim has the same end: of a batch in which nothing failed, these are the rows.
-- mutant: any-lease -> local from, to = '-inf', '+inf'
local from, to = lease_until, lease_until
local held = redis.call('ZRANGE', schedule, from, to, 'BYSCORE', 'LIMIT', 0, #row_ids)
local is_all_held = true
for i, row_id in ipairs(row_ids) do is_all_held = is_all_held and held[i] == row_id end
local scores, fences = {}, {}
if not is_all_held then scores = redis.call('ZMSCORE', schedule, unpack(row_ids)) end
if not is_all_held or is_overtaken then
  fences = redis.call('ZMSCORE', refreshed, unpack(row_ids))
end
local function is_held(i)
  return is_all_held or tonumber(scores[i] or 'nan') == tonumber(lease_until)
end
