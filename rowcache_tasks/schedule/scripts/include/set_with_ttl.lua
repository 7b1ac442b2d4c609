-- Writes values with a time to live: MSETEX where the server has it (Redis 8.4, Valkey 9.1) and
-- the user may run it. The check neither fails nor counts as an error.
local function set_with_ttl(pairs_of, ttl_ms)
  if #pairs_of == 0 then return end
  local is_known, may = pcall(redis.acl_check_cmd, 'MSETEX', 1, pairs_of[1], '')
  if is_known and may then
    local n = #pairs_of
    pairs_of[n + 1] = 'PX'
    pairs_of[n + 2] = ttl_ms
    redis.call('MSETEX', n / 2, unpack(pairs_of))
    return
  end
  redis.call('MSET', unpack(pairs_of))
  for i = 1, #pairs_of, 2 do redis.call('PEXPIRE', pairs_of[i], ttl_ms) end
end
