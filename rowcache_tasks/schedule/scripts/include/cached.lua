-- The cached values of rows; for a value that ends in a comma, the beginning of the same length.
local names, is_head, cached, last_byte = {}, {}, nil, string.byte
for i, row_id in ipairs(row_ids) do
  names[i] = value_prefix .. row_id
  if last_byte(values[i], -1) == 44 then is_head[i] = true end
end
if next(is_head) then
  cached = {}
  for i, name in ipairs(names) do
    local last = is_head[i] and #values[i] - 1 or -1
    cached[i] = redis.pcall('GETRANGE', name, 0, last)
  end
else
  cached = redis.call('MGET', unpack(names))
end
