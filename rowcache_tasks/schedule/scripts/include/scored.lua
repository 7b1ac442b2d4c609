-- The arguments of ZADD that give rows one score.
local function scored(row_ids, score)
  local arguments = {}
  for i, row_id in ipairs(row_ids) do
    arguments[2 * i - 1] = score
    arguments[2 * i] = row_id
  end
  return unpack(arguments)
end
