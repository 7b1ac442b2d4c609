-- Counts outcomes; adds up the lateness of committed rows, and counts it in classes of
-- 2^(class / 4) milliseconds, all rows of a batch in one.
local function count_outcomes()
  tally['late:' .. math.ceil(4 * math.log(late_s * 1e3) / math.log(2))] = #committed
  tally.late_us = math.floor(#committed * late_s * 1e6)
  for field, n in pairs(tally) do
    if n > 0 then redis.pcall('HINCRBY', stats, field, n) end
  end
end
