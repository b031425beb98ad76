-- Puts hints where apalis-redis 1.0.0 fetches them, past the detour through `scheduled` that its own push takes, and rings.
-- KEYS: active, data, meta, bell
-- ARGV: how many may wait, then id and body of each hint
-- Returns: new, known, refused
local new, known, refused = 0, 0, 0
local room = tonumber(ARGV[1]) - redis.call('llen', KEYS[1])
for i = 2, #ARGV, 2 do
  local id = ARGV[i]
  if redis.call('hexists', KEYS[2], id) == 1 then
    known = known + 1
  elseif room <= 0 then
    refused = refused + 1
  else
    redis.call('hset', KEYS[2], id, ARGV[i + 1])
    redis.call('hset', KEYS[3] .. ':' .. id, 'attempts', 0, 'max_attempts', 1, 'status', 'Pending', 'idempotency_key', '')
    redis.call('rpush', KEYS[1], id)
    room, new = room - 1, new + 1
  end
end
if new + known > 0 then redis.call('publish', KEYS[4], '') end
return {new, known, refused}
