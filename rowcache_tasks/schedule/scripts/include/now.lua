-- The time of the server in Unix seconds, and how a script replies a time: to the last bit.
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local function exact(seconds) return string.format('%.17g', seconds) end
