-- Estimates from a sample how many of some rows are new or failing.
local function estimate_unproven(claimed)
  if #claimed == 0 then return 0 end
  local sample, step, unproven = {}, math.ceil(#claimed / 16), 0
  for i = 1, #claimed, step do sample[#sample + 1] = claimed[i] end
  local fences = redis.call('ZMSCORE', refreshed, unpack(sample))
  local records = redis.call('HMGET', failures, unpack(sample))
  for i = 1, #sample do
    if records[i] or not fences[i] then unproven = unproven + #claimed / #sample end
  end
  return unproven
end
