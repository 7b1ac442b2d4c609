-- Removes rows with all that is cached and known of them, but their delays.
local function remove_rows(row_ids)
  local values = {}
  for _, row_id in ipairs(row_ids) do
    values[#values + 1] = value_prefix .. row_id
    -- A fill in flight must not write the value back.
    -- mutant: keep-fill
    values[#values + 1] = fill_prefix .. value_prefix .. row_id
  end
  -- mutant: keep-value
  redis.call('DEL', unpack(values))
  -- mutant: keep-failure
  redis.call('HDEL', failures, unpack(row_ids))
  -- mutant: keep-fence
  redis.call('ZREM', refreshed, unpack(row_ids))
  -- mutant: keep-due
  redis.call('ZREM', schedule, unpack(row_ids))
end
