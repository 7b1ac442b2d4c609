-- When a row that failed n times in a row is due again: a part of the pause is by chance.
math.randomseed(tonumber(seed))
local function retry_at(n)
  local pause_s = math.min(max_s, base_s * 2 ^ (n - 1)) * (0.5 + math.random() / 2)
  return whole(now + pause_s)
end
-- The record of a row's failures; a foreign client may have written anything there.
local function read_record(text)
  local is_json, record = pcall(cjson.decode, text or '{}')
  return is_json and type(record) == 'table' and record or {}
end
local function count_of(value)
  local n = tonumber(value) or 0
  return n >= 0 and n < 1e6 and n or 0
end
