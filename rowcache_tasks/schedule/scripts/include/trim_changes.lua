-- Forgets some of the changes of over a day ago: no message that old is delivered any more.
local old = redis.pcall('ZRANGE', changed, '-inf', now - 86400, 'BYSCORE', 'LIMIT', 0, 250)
if #old > 0 then redis.call('ZREM', changed, unpack(old)) end
