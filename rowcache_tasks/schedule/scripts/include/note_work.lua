-- Notes how long batches are read, and wait before: the longest. A read counts half as much a
-- minute later, since some rows of a table may be slow and others not; a wait is over soon.
local work_s = read_ms / 1e3
local last_s = tonumber(noted[6] or 0) or 0
local function note_work()
  local since_s = math.max(0, now - (tonumber(noted[5] or 0) or 0))
  local waited_s = math.max(now - claimed_at - work_s, (tonumber(noted[7] or 0) or 0) / 2)
  -- mutant: forget-slow-reads
  work_s = math.max(work_s, 0.5 ^ (since_s / 60) * last_s)
  local work, wait = string.format('%.9f', work_s), string.format('%.3f', waited_s)
  redis.pcall('HSET', state, 'committed_at', at, 'work_s', work, 'wait_s', wait)
end
-- A read that is refused since it took too long.
local function note_refused_work()
  if now <= commit_by or work_s <= last_s then return end
  -- mutant: forget-refused-reads
  redis.pcall('HSET', state, 'work_s', string.format('%.9f', work_s))
end
