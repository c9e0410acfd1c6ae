-- Holds an amount back in every account, or in none. Runs as one step on the server: no other call is in between.
-- KEYS: a hash for each account. Its fields: `s|BUCKET|UNIT` is what was spent, `r|REPLICA|UNIT` is what a replica holds.
-- Units: 1 nano-dollars, 2 tokens, 3 calls. Numbers stay below 2^53, which Lua counts exactly.
-- Answers 1 if there was room or 0, then for each account what was spent and what is held, by unit, before this call.
local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end
local replica, alive = take(), take()
local amount = {tonumber(take()), tonumber(take()), tonumber(take())}
local known = {}
local function lives(name)
  if known[name] == nil then
    known[name] = name == replica or redis.call('EXISTS', alive .. name) == 1
  end
  return known[name]
end
local answer, room = {1}, true
for _, key in ipairs(KEYS) do
  local from, bucket, expires = tonumber(take()), take(), take()
  local floor = {tonumber(take()), tonumber(take()), tonumber(take())}
  local spent, held = {0, 0, 0}, {0, 0, 0}
  local fields = redis.call('HGETALL', key)
  for place = 1, #fields, 2 do
    local kind, name, unit = string.match(fields[place], '^(%a)|(.*)|(%d)$')
    local value = tonumber(fields[place + 1])
    unit = tonumber(unit)
    if kind == 's' and tonumber(name) >= from then
      spent[unit] = spent[unit] + value
    elseif kind == 'r' and lives(name) then
      held[unit] = held[unit] + value
    else
      -- A window that has passed, or a replica that is gone with its calls.
      redis.call('HDEL', key, fields[place])
    end
  end
  for unit = 1, 3 do
    -- The log knows of more than this server: it has lost something, or has just begun.
    if spent[unit] < floor[unit] then
      redis.call('HINCRBY', key, 's|' .. bucket .. '|' .. unit, string.format('%.0f', floor[unit] - spent[unit]))
      spent[unit] = floor[unit]
    end
    answer[#answer + 1] = spent[unit]
  end
  for unit = 1, 3 do
    answer[#answer + 1] = held[unit]
  end
  for _ = 1, tonumber(take()) do
    local unit, ceiling, fits, in_flight = tonumber(take()), tonumber(take()), take(), take()
    local used = held[unit]
    if in_flight == '0' then
      used = used + spent[unit]
    end
    if fits == '1' then
      room = room and used + amount[unit] <= ceiling
    else
      room = room and used < ceiling
    end
  end
  redis.call('EXPIREAT', key, expires)
end
if not room then
  answer[1] = 0
  return answer
end
for _, key in ipairs(KEYS) do
  for unit = 1, 3 do
    if amount[unit] > 0 then
      redis.call('HINCRBY', key, 'r|' .. replica .. '|' .. unit, string.format('%.0f', amount[unit]))
    end
  end
end
return answer
