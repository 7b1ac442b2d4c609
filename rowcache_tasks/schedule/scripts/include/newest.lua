-- Whether a change applies to a row whose last applied change has this stamp.
local function is_newest(last)
  local newest = tonumber(last or '-inf')
  -- mutant: any-order -> if newest then return true end
  -- mutant: refuse-later
  if newest <= stamp then return true end
  -- A stamp in the future is left from before the clock stepped back.
  -- mutant: trust-future-stamp
  if newest > now then return true end
  return false
end
