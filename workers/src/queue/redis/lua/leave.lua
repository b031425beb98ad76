-- A worker that is gone for good: what it holds goes back to the front, and nothing of it stays.
-- KEYS: its sign of life, workers, active, data, its inflight set, bell
-- ARGV: its name
for _, id in ipairs(redis.call('smembers', KEYS[5])) do
  if redis.call('hexists', KEYS[4], id) == 1 then redis.call('lpush', KEYS[3], id) end
end
redis.call('unlink', KEYS[1], KEYS[5])
redis.call('zrem', KEYS[2], ARGV[1])
if redis.call('llen', KEYS[3]) > 0 then redis.call('publish', KEYS[6], '') end
