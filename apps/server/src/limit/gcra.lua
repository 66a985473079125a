-- The generic cell rate algorithm for several requests, each over several limits: counts a request against each of its limits, or
-- against none. The requests are decided in their order.
-- KEYS: the hash of this period, of the previous one, and of the one before, which nobody reads any more. A field is a limit; its
-- value is the time at which it is idle again.
-- ARGV: the seconds after which the hash expires, and the requests: for each the number of its limits as a byte, and for each of
-- these the microseconds between two requests and those that may be used at once, two doubles, then the length of the field in two
-- bytes, and the field.
-- Returns three numbers for each refused request: its place, the limit with the longest wait, both from 1, and that wait in
-- microseconds.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local pack, read, requests = struct.pack, struct.unpack, ARGV[2]
local fields, intervals, allowances, sizes, count, at = {}, {}, {}, {}, 0, 1
while at <= #requests do
  local n = string.byte(requests, at)
  sizes[#sizes + 1], at = n, at + 1
  for i = count + 1, count + n do
    intervals[i], allowances[i], fields[i], at = read('<ddI2c0', requests, at)
  end
  count = count + n
end
local states = redis.call('HMGET', KEYS[1], unpack(fields))
local new = false
for i = 1, count do new = new or not states[i] end
local older = new and redis.call('HMGET', KEYS[2], unpack(fields))
local idle = {}
for i = 1, count do
  local state = states[i] or (older and older[i])
  local idle_at = state and read('d', state) or 0
  idle[fields[i]] = idle_at > now and idle_at or now
end
local refused, counted, before, c, from = {}, {}, {}, 0, 0
for nth = 1, #sizes do
  local n, worst, longest = sizes[nth], 0, 0
  for i = from + 1, from + n do
    local field = fields[i]
    before[i] = idle[field]
    -- A limit that occurs twice is counted twice.
    local ahead = before[i] + intervals[i]
    idle[field] = ahead
    local wait = ahead - now - allowances[i]
    if wait > longest then worst, longest = i - from, wait end
  end
  if worst == 0 then
    for i = 1, n do counted[c + i] = fields[from + i] end
    c = c + n
  else
    for i = from + n, from + 1, -1 do idle[fields[i]] = before[i] end
    local r = #refused
    refused[r + 1], refused[r + 2], refused[r + 3] = nth, worst, longest
  end
  from = from + n
end
if c > 0 then
  local write = {}
  for i = 1, c do write[2 * i - 1], write[2 * i] = counted[i], pack('d', idle[counted[i]]) end
  if new then
    -- A field this long makes Redis index the hash, which it would otherwise search from its start while it is small.
    write[2 * c + 1], write[2 * c + 2] = string.rep('-', 65), ''
  end
  redis.call('HSET', KEYS[1], unpack(write))
  if new then
    redis.call('EXPIRE', KEYS[1], ARGV[1])
    redis.call('UNLINK', KEYS[3])
  end
end
return refused
