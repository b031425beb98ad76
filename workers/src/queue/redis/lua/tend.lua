-- What every worker does every few seconds: it says that it lives, and cleans up. Each part is bounded by `chunk`.
-- KEYS: own sign of life, workers, active, data, meta, done, dead, scheduled, bell
-- ARGV: own name, milliseconds that the sign of life lasts, chunk, prefix of signs of life, prefix of inflight sets, cursor
-- Returns: registered (0 or 1), finished hints that were forgotten, the next cursor
local name, chunk = ARGV[1], tonumber(ARGV[3])
local registered = redis.call('zscore', KEYS[2], name) and 1 or 0
redis.call('pexpire', KEYS[1], ARGV[2])

local function forget(id)
  redis.call('hdel', KEYS[4], id)
  redis.call('unlink', KEYS[5] .. ':' .. id)
end

-- Finished hints: apalis-redis keeps them for ever.
local forgotten = 0
for _, key in ipairs({KEYS[6], KEYS[7]}) do
  for _, id in ipairs(redis.call('spop', key, chunk)) do
    forget(id)
    forgotten = forgotten + 1
  end
end

-- What silent workers hold goes back to the front. Silence is measured by the clock of Redis, which lets their signs expire.
local workers = redis.call('zrange', KEYS[2], 0, -1)
for _, worker in ipairs(workers) do
  if worker ~= name and redis.call('exists', ARGV[4] .. worker) == 0 then
    for _, id in ipairs(redis.call('smembers', ARGV[5] .. worker)) do
      if redis.call('hexists', KEYS[4], id) == 1 then
        redis.call('lpush', KEYS[3], id)
        redis.call('publish', KEYS[9], '')
      end
    end
    redis.call('unlink', ARGV[5] .. worker)
    redis.call('zrem', KEYS[2], worker)
  end
end

-- Nothing of ours is ever scheduled, and 8,000 of them would end every worker at every fetch.
local scheduled = redis.call('zpopmin', KEYS[8], chunk)
for i = 1, #scheduled, 2 do forget(scheduled[i]) end

-- Bodies that belong to nothing: only while nothing waits, and never one that a worker holds.
local cursor = '0'
if redis.call('llen', KEYS[3]) == 0 and forgotten == 0 then
  local page = redis.call('hscan', KEYS[4], ARGV[6], 'count', 100)
  cursor = page[1]
  for i = 1, #page[2], 2 do
    local id, held = page[2][i], redis.call('sismember', KEYS[6], page[2][i])
    for _, worker in ipairs(workers) do
      held = held + redis.call('sismember', ARGV[5] .. worker, id)
    end
    if held == 0 then forget(id) end
  end
end
return {registered, forgotten, cursor}
