-- Wakes a dispatcher; a few entries are enough, however many dispatchers sleep.
local function wake_dispatcher()
  -- mutant: wake-without-limit -> redis.call('RPUSH', wake, '1')
  if redis.call('LLEN', wake) < 4 then redis.call('RPUSH', wake, '1') end
end
