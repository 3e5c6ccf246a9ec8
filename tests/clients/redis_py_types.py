"""All types of values through redis-py: any node, keys of any nodes, waiting, events.

Used by redis_py.py; `check` is its way to report.
"""

import threading

import redis

WAIT_SECONDS_MAX = 5


def later(action):
    """Runs an action a little later, in a thread of its own."""
    timer = threading.Timer(0.1, action)
    timer.start()
    return timer


def hashes_and_sets(check, client, base, mode):
    key = base + ":hash"
    client.delete(key)
    check(f"{mode}: HSET", client.hset(key, mapping={"a": 1, "b": "two"}) == 2)
    check(f"{mode}: HGETALL", client.hgetall(key) == {"a": "1", "b": "two"})
    check(f"{mode}: HINCRBY", client.hincrby(key, "a", 5) == 6)
    check(f"{mode}: HSCAN", dict(client.hscan_iter(key)) == {"a": "6", "b": "two"})
    # Keys of different nodes.
    one, two, three = (f"{base}:set:{number}" for number in range(3))
    client.delete(one, two, three)
    client.sadd(one, *range(100))
    client.sadd(two, *range(90, 120))
    check(f"{mode}: SINTER", client.sinter(one, two) == {str(number) for number in range(90, 100)})
    check(f"{mode}: SUNIONSTORE", client.sunionstore(three, one, two) == 120)
    check(f"{mode}: SSCAN", {int(member) for member in client.sscan_iter(three)} == set(range(120)))
    check(f"{mode}: SMOVE", client.smove(one, two, "1") and client.sismember(two, "1"))


def sorted_sets_and_geo(check, client, base, mode):
    one, two, out = base + ":zset:1", base + ":zset:2", base + ":zset:3"
    client.delete(one, two, out)
    client.zadd(one, {"a": 1, "b": 2.5, "c": 3})
    client.zadd(two, {"b": 10})
    # Pairs are tuples in RESP2 and lists in RESP3.
    scored = [tuple(pair) for pair in client.zrange(one, 0, -1, withscores=True)]
    check(f"{mode}: ZRANGE", scored == [("a", 1.0), ("b", 2.5), ("c", 3.0)], scored)
    check(f"{mode}: ZUNIONSTORE", client.zunionstore(out, [one, two]) == 3)
    check(f"{mode}: ZREVRANGE", client.zrevrange(out, 0, 0) == ["b"])
    check(f"{mode}: ZRANGEBYSCORE", client.zrangebyscore(one, "(1", "+inf") == ["b", "c"])
    check(f"{mode}: ZSCAN", dict(client.zscan_iter(one)) == {"a": 1.0, "b": 2.5, "c": 3.0})
    places = base + ":geo"
    client.geoadd(places, [13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"])
    found = client.geosearch(places, longitude=15, latitude=37, radius=200, unit="km", sort="ASC")
    check(f"{mode}: GEOSEARCH", found == ["Catania", "Palermo"], found)


def lists_and_waiting(check, client, other, base, mode):
    queue, working = base + ":queue", base + ":working"
    client.delete(queue, working)
    client.rpush(queue, "one", "two")
    check(f"{mode}: LRANGE", client.lrange(queue, 0, -1) == ["one", "two"])
    check(f"{mode}: LMOVE to another node", client.lmove(queue, working, "LEFT", "RIGHT") == "one")
    got = client.blpop([working, queue], timeout=WAIT_SECONDS_MAX)
    check(f"{mode}: BLPOP of what is there", list(got or []) == [working, "one"], got)
    client.delete(queue, working)
    pusher = later(lambda: other.rpush(queue, "late"))
    got = client.blpop([working, queue], timeout=WAIT_SECONDS_MAX)
    pusher.join()
    check(f"{mode}: BLPOP waits for another node", list(got or []) == [queue, "late"], got)
    pusher = later(lambda: other.rpush(queue, "moved"))
    got = client.blmove(queue, working, WAIT_SECONDS_MAX, "LEFT", "RIGHT")
    pusher.join()
    check(f"{mode}: BLMOVE", got == "moved" and client.lrange(working, 0, -1) == ["moved"], got)
    pusher = later(lambda: other.zadd(base + ":z", {"m": 7}))
    got = client.bzpopmin(base + ":z", timeout=WAIT_SECONDS_MAX)
    pusher.join()
    check(f"{mode}: BZPOPMIN", list(got or []) == [base + ":z", "m", 7.0], got)


def streams(check, client, other, base, mode):
    key = base + ":stream"
    client.delete(key)
    first = client.xadd(key, {"n": 1})
    check(f"{mode}: XRANGE", client.xrange(key) == [(first, {"n": "1"})])
    client.xgroup_create(key, "group", id="0")
    got = client.xreadgroup("group", "me", {key: ">"})
    entries = got[key][0] if isinstance(got, dict) else got[0][1]
    check(f"{mode}: XREADGROUP", entries == [(first, {"n": "1"})], got)
    check(f"{mode}: XPENDING", client.xpending(key, "group")["pending"] == 1)
    check(f"{mode}: XACK", client.xack(key, "group", first) == 1)
    pusher = later(lambda: other.xadd(key, {"n": 2}))
    got = client.xread({key: "$"}, block=WAIT_SECONDS_MAX * 1000)
    pusher.join()
    entries = got[key][0] if isinstance(got, dict) else (got or [[0, []]])[0][1]
    check(f"{mode}: XREAD waits", [fields for _, fields in entries] == [{"n": "2"}], got)


def bits_and_sketches(check, client, base, mode):
    one, two, out = base + ":bits:1", base + ":bits:2", base + ":bits:3"
    client.delete(one, two, out)
    client.setbit(one, 7, 1)
    client.setbit(two, 0, 1)
    check(f"{mode}: BITOP over nodes", client.bitop("OR", out, one, two) == 1 and client.bitcount(out) == 2)
    client.pfadd(base + ":hll:1", *range(1000))
    client.pfadd(base + ":hll:2", *range(500, 1500))
    count = client.pfcount(base + ":hll:1", base + ":hll:2")
    check(f"{mode}: PFCOUNT over nodes", 1450 < count < 1550, count)


def events(check, client, other, base, mode):
    client.config_set("notify-keyspace-events", "Eg$")
    try:
        with other.pubsub() as pubsub:
            pubsub.psubscribe("__keyevent@0__:*")
            pubsub.get_message(timeout=WAIT_SECONDS_MAX)
            keys = [f"{base}:event:{number}" for number in range(8)]
            for key in keys:
                client.set(key, "v")
            got = [pubsub.get_message(timeout=WAIT_SECONDS_MAX) for _ in keys]
            seen = sorted(message["data"] for message in got if message)
            check(f"{mode}: events of keys on every node", seen == sorted(keys), seen)
    finally:
        client.config_set("notify-keyspace-events", "")


def all_types(check, client, other, base, mode):
    hashes_and_sets(check, client, base, mode)
    sorted_sets_and_geo(check, client, base, mode)
    lists_and_waiting(check, client, other, base, mode)
    streams(check, client, other, base, mode)
    bits_and_sketches(check, client, base, mode)
    events(check, client, other, base, mode)
    try:
        client.hget(base + ":queue:none", "f")
        client.set(base + ":string", "v")
        client.hget(base + ":string", "f")
        check(f"{mode}: WRONGTYPE", False)
    except redis.ResponseError as error:
        check(f"{mode}: WRONGTYPE", str(error).startswith("WRONGTYPE"), str(error))
