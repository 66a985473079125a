-- The generic cell rate algorithm over several limits of a tenant: counts a request against each of them, or against none.
-- KEYS: the hash of this period, and that of the previous one. A field is a limit; its value is the time at which it is idle again.
-- ARGV: the seconds after which the hash expires; then for each limit its field, the microseconds between two requests, and the
-- microseconds that may be used at once.
-- Returns nil if the request is allowed, otherwise the limit with the longest wait, from 1, and that wait in microseconds.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local fields, n = {}, (#ARGV - 1) / 3
for i = 1, n do fields[i] = ARGV[3 * i - 1] end
local states = redis.call('HMGET', KEYS[1], unpack(fields))
local new = false
for i = 1, n do new = new or not states[i] end
local older = new and redis.call('HMGET', KEYS[2], unpack(fields))
local seen, write, worst, longest = {}, {}, 0, 0
for i = 1, n do
  local field, state = fields[i], states[i] or (older and older[i])
  -- A limit that occurs twice is counted twice.
  local idle_at = seen[field] or (state and struct.unpack('d', state)) or 0
  if idle_at < now then idle_at = now end
  idle_at = idle_at + ARGV[3 * i]
  seen[field] = idle_at
  local wait = idle_at - now - ARGV[3 * i + 1]
  if wait > longest then worst, longest = i, wait end
  write[2 * i - 1], write[2 * i] = field, struct.pack('d', idle_at)
end
if worst > 0 then return {worst, longest} end
redis.call('HSET', KEYS[1], unpack(write))
if new then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return false
