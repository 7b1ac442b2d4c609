-- Of a look: leaves the rows that were refreshed before and do not fail, up to the limit.
local go_on_at = ''
if looks > 0 and #row_ids > 0 then
  local fences = redis.call('ZMSCORE', refreshed, unpack(row_ids))
  local records = redis.call('HMGET', failures, unpack(row_ids))
  if #row_ids == looks then go_on_at = redis.call('ZSCORE', schedule, row_ids[looks]) end
  local proven = {}
  for i, row_id in ipairs(row_ids) do
    -- mutant: look-at-all -> if true then
    if fences[i] and not records[i] then
      proven[#proven + 1] = row_id
      if #proven == limit then
        go_on_at = redis.call('ZSCORE', schedule, row_id)
        break
      end
    end
  end
  -- All were due at one time: those that are not among them wait for a claim of any rows.
  if go_on_at == due_since then go_on_at = '(' .. go_on_at end
  row_ids = proven
end
