-- Looks through a part of the waiting hints, from the front, and puts those that apalis-redis can read to the back. One that
-- it cannot read would end the worker that fetches it: no body, fields that are not its own, an id that it writes back
-- differently.
-- KEYS: active, data, meta
-- ARGV: how many to look at
-- Returns: how many were thrown away
local ids = redis.call('lrange', KEYS[1], 0, ARGV[1] - 1)
redis.call('ltrim', KEYS[1], #ids, -1)
local thrown = 0
for _, id in ipairs(ids) do
  local meta = KEYS[3] .. ':' .. id
  redis.call('unlink', meta)
  if #id <= 300 and string.find(id, '^[%w%%_-]+%.%d+$') and redis.call('hexists', KEYS[2], id) == 1 then
    redis.call('hset', meta, 'attempts', 0, 'max_attempts', 1, 'status', 'Pending', 'idempotency_key', '')
    redis.call('rpush', KEYS[1], id)
  else
    redis.call('hdel', KEYS[2], id)
    thrown = thrown + 1
  end
end
return thrown
