-- Notes outcomes of rows for `rowcache explain`: those with a reason, and all of rows that it was
-- asked for in the last hour; not those of longer row ids than this package allows, which another
-- program may schedule. Nothing reads them to decide anything.
local is_asked, noted_outcomes = {}, {}
if #row_ids > 0 and redis.pcall('EXISTS', asked) == 1 then
  is_asked = redis.pcall('SMISMEMBER', asked, unpack(row_ids))
end
local function note_outcome(i, outcome, reason)
  if not reason and is_asked[i] ~= 1 or #row_ids[i] > 1024 then return end
  noted_outcomes[#noted_outcomes + 1] =
    table.concat({exact(now), outcome, reason or '-', row_ids[i]}, ' ')
end
local function write_outcomes()
  if #noted_outcomes == 0 then return end
  redis.pcall('LPUSH', outcomes, unpack(noted_outcomes))
  redis.pcall('LTRIM', outcomes, 0, 999)
end
