"""redis-py through one node of a cluster: plain and cluster mode, RESP2 and RESP3.

Arguments: the RESP port to connect to, and the RESP port of another node of the same cluster.
Prints one line per check; the exit code is non-zero when one fails.
"""

import sys
import time

import redis
from redis.cluster import RedisCluster

from redis_py_types import all_types

HOST = "127.0.0.1"
PUBSUB_SECONDS_MAX = 5


def check(name, holds, seen=""):
    print(("ok " if holds else "FAIL ") + name + (f": {seen!r}" if not holds else ""))
    if not holds:
        sys.exit(1)


def prefix(mode, port):
    return f"redis-py:{mode}:{port}"


def set_right(results, expected):
    """In a transaction the cluster client leaves a SET's `OK` as it is; the plain one makes it True."""
    return [True if result == "OK" else result for result in results] == expected


def pipelines(client, keys, mode):
    with client.pipeline(transaction=False) as pipe:
        for index, key in enumerate(keys):
            pipe.set(key, index)
        check(f"{mode}: pipelined SET", pipe.execute() == [True] * len(keys))
        for key in keys:
            pipe.get(key)
        values = pipe.execute()
    check(f"{mode}: pipelined GET", values == [str(index) for index in range(len(keys))], values)


def next_message(pubsub, kind):
    deadline = time.monotonic() + PUBSUB_SECONDS_MAX
    while time.monotonic() < deadline:
        message = pubsub.get_message(timeout=0.1)
        if message and message["type"] == kind:
            return message["data"]
    return None


def publishes(client, publisher, channel, mode):
    with client.pubsub() as pubsub:
        pubsub.subscribe(channel)
        pubsub.psubscribe(channel + ":*")
        check(f"{mode}: subscribed", next_message(pubsub, "subscribe") == 1)
        check(f"{mode}: pattern subscribed", next_message(pubsub, "psubscribe") == 2)
        publisher.publish(channel, "hello")
        check(f"{mode}: message from another node", next_message(pubsub, "message") == "hello")
        publisher.publish(channel + ":x", "again")
        check(f"{mode}: pattern message from another node", next_message(pubsub, "pmessage") == "again")


def transactions(client, other, base, mode):
    first, second = f"{{{base}}}:first", f"{{{base}}}:second"
    client.set(first, 1)
    with client.pipeline(transaction=True) as pipe:
        pipe.incr(first)
        pipe.set(second, "two")
        pipe.get(second)
        results = pipe.execute()
    check(f"{mode}: MULTI", set_right(results, [2, True, "two"]), results)
    with client.pipeline(transaction=True) as pipe:
        pipe.watch(first)
        read = int(pipe.get(first))
        pipe.multi()
        pipe.set(first, read + 1)
        results = pipe.execute()
        check(f"{mode}: WATCH without a conflict", set_right(results, [True]), results)
    with client.pipeline(transaction=True) as pipe:
        pipe.watch(first)
        pipe.get(first)
        other.set(first, 100)
        pipe.multi()
        pipe.set(first, 0)
        try:
            pipe.execute()
            conflict = False
        except redis.WatchError:
            conflict = True
    check(f"{mode}: WATCH sees a write through another node", conflict)
    check(f"{mode}: the conflicting write stands", client.get(first) == "100")


def inserted(info):
    """RESP2 gives an object with names of the client's own, RESP3 a dictionary with those of the server."""
    return info["Number of items inserted"] if isinstance(info, dict) else info.get("insertedNum")


def filters(client, other, base, mode):
    cuckoo, bloom = f"{base}:cuckoo", f"{base}:bloom"
    client.delete(cuckoo, bloom, cuckoo + ":copy", bloom + ":copy")
    check(f"{mode}: CF.RESERVE", client.cf().create(cuckoo, 1000, expansion=2))
    check(f"{mode}: CF.ADD", client.cf().add(cuckoo, "apple") == 1)
    check(f"{mode}: CF.ADDNX", client.cf().addnx(cuckoo, "apple") == 0)
    check(f"{mode}: CF.INSERT", client.cf().insert(cuckoo, ["pear", "plum"]) == [1, 1])
    check(f"{mode}: CF.INSERTNX", client.cf().insertnx(cuckoo, ["pear", "fig"]) == [0, 1])
    seen = other.cf().mexists(cuckoo, "apple", "fig", "kiwi")
    check(f"{mode}: CF.MEXISTS through another node", seen == [1, 1, 0], seen)
    check(f"{mode}: CF.DEL", client.cf().delete(cuckoo, "apple") == 1)
    check(f"{mode}: CF.COUNT", other.cf().count(cuckoo, "apple") == 0)
    seen = client.cf().info(cuckoo)
    check(f"{mode}: CF.INFO", (inserted(seen), other.cf().count(cuckoo, "pear")) == (3, 1), seen)
    check(f"{mode}: BF.RESERVE", client.bf().create(bloom, 0.01, 1000))
    check(f"{mode}: BF.MADD", client.bf().madd(bloom, "apple", "pear", "apple") == [1, 1, 0])
    check(f"{mode}: BF.EXISTS through another node", other.bf().exists(bloom, "pear") == 1)
    check(f"{mode}: BF.CARD", client.bf().card(bloom) == 2)
    seen = client.bf().info(bloom)
    check(f"{mode}: BF.INFO", inserted(seen) == 2, seen)


def pieces(client, base, mode):
    """SCANDUMP and LOADCHUNK as a client walks them; the replies hold any bytes."""
    for name, commands in (("cuckoo", client.cf()), ("bloom", client.bf())):
        key, position = f"{base}:{name}", 0
        while True:
            position, data = commands.scandump(key, position)
            if position == 0:
                break
            commands.loadchunk(key + ":copy", position, data)
        check(f"{mode}: {name} in pieces", client.dump(key) == client.dump(key + ":copy"))


def plain(port, other_port, protocol):
    mode = f"plain RESP{protocol}"
    base = prefix(protocol, port)
    client = redis.Redis(HOST, port, protocol=protocol, decode_responses=True, client_name="redis-py")
    other = redis.Redis(HOST, other_port, decode_responses=True)
    check(f"{mode}: PING", client.ping() is True)
    keys = [f"{base}:{index}" for index in range(300)]
    pipelines(client, keys, mode)
    check(f"{mode}: MGET over the cluster", other.mget(keys[:50]) == [str(index) for index in range(50)])
    check(f"{mode}: DEL over the cluster", client.delete(*keys) == len(keys))
    check(f"{mode}: EXISTS through another node", other.exists(*keys[:20]) == 0)
    binary = redis.Redis(HOST, port, protocol=protocol)
    value = bytes(range(256))
    binary.set(f"{base}:binary", value, ex=60)
    check(f"{mode}: binary values", binary.get(f"{base}:binary") == value)
    filters(client, other, base, mode)
    pieces(binary, base, mode)
    all_types(check, client, other, base, mode)
    publishes(client, other, f"{base}:channel", mode)
    transactions(client, other, base, mode)


def cluster(port, other_port):
    mode = "cluster"
    base = prefix(mode, port)
    client = RedisCluster(host=HOST, port=port, decode_responses=True)
    other = redis.Redis(HOST, other_port, decode_responses=True)
    nodes = client.get_primaries()
    check(f"{mode}: finds all nodes", len(nodes) == 3, [node.name for node in nodes])
    keys = [f"{base}:{index}" for index in range(300)]
    pipelines(client, keys, mode)
    for key in keys[:50]:
        client.set(key, "direct")
    check(f"{mode}: values through a plain node", other.mget(keys[:50]) == ["direct"] * 50)
    publishes(client, other, f"{base}:channel", mode)
    transactions(client, other, base, mode)
    client.close()


if __name__ == "__main__":
    through, beside = int(sys.argv[1]), int(sys.argv[2])
    plain(through, beside, 2)
    plain(through, beside, 3)
    cluster(through, beside)
