-- Before a worker registers: what has the wrong type is thrown away (all of this may be lost), and the sign of life appears.
-- KEYS: sign of life, workers, active, data, done, dead, scheduled
-- ARGV: milliseconds that the sign of life lasts
local types = {'hash', 'zset', 'list', 'hash', 'set', 'set', 'zset'}
for i, key in ipairs(KEYS) do
  local found = redis.call('type', key).ok
  if found ~= 'none' and found ~= types[i] then redis.call('unlink', key) end
end
redis.call('hset', KEYS[1], 'service', 'runward')
redis.call('pexpire', KEYS[1], ARGV[1])
