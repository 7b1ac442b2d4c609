-- The time of the server in Unix seconds, and how a script replies a time: to the last bit.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
-- Due times are whole microseconds, ends of leases are not: none looks like another.
local function whole(seconds) return math.floor(seconds * 1e6 + 0.5) / 1e6 end
local function exact(seconds) return string.format('%.17g', seconds) end
