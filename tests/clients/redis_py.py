"""redis-py through one node of a cluster: plain and cluster mode, RESP2 and RESP3.

Arguments: the RESP port to connect to, and the RESP port of another node of the same cluster.
Prints one line per check; the exit code is non-zero when one fails.
"""

import sys
import time

import redis
from redis.cluster import RedisCluster

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
