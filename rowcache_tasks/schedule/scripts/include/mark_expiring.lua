-- Marks that a value may have an expiry: a reader filled it in, or the table has a "ttl" or had
-- one. Without the mark no value has one. It outlives each of them, and lasts a day at least.
local function mark_expiring(ms)
  local least_ms = math.max(ms, 86400000)
  redis.call('SET', expiring, 1, 'NX', 'PX', least_ms)
  redis.call('PEXPIRE', expiring, least_ms, 'GT')
end
