//! Random programs: one partition and 256 answer alike, and replayed effects give the same content.
//!
//! The golden scripts say what is right; this says that nothing depends on how keys are spread, in corners that
//! nobody wrote a script for.

use crate::harness::{Cluster, render};
use stdx::Random;

const PROGRAMS: u64 = 90;
const COMMANDS: u64 = 300;
/// Shapes that a program prefers.
const NEIGHBOURS: usize = 25;

/// Each blank-parted word starting with a sign is replaced: `%k` by a key, `%v` by a value, `%n` by a number, `%o`
/// by an option.
const SHAPES: &[&str] = &[
    "SET %k %v",
    "SET %k %v %o",
    "SET %k %v %o %o %n",
    "SET %k %v EX %n",
    "SET %k %v PX %n GET",
    "SET %k %v IFEQ %v",
    "DELIFEQ %k %v",
    "SETNX %k %v",
    "SETEX %k %n %v",
    "PSETEX %k %n %v",
    "GETSET %k %v",
    "GET %k",
    "GETDEL %k",
    "GETEX %k PX %n",
    "GETEX %k PERSIST",
    "MGET %k %k %k",
    "MSET %k %v %k %v %k %v",
    "MSETNX %k %v %k %v",
    "APPEND %k %v",
    "STRLEN %k",
    "GETRANGE %k %n %n",
    "SETRANGE %k %n %v",
    "INCR %k",
    "DECRBY %k %n",
    "INCRBYFLOAT %k %v",
    "LCS %k %k IDX WITHMATCHLEN",
    "SETBIT %k %n 1",
    "SETBIT %k %n 0",
    "GETBIT %k %n",
    "BITCOUNT %k %n %n BIT",
    "BITPOS %k 1 %n %n",
    "BITOP XOR %k %k %k",
    "BITOP NOT %k %k",
    "BITFIELD %k SET u8 %n %n INCRBY i9 #%n %n GET u20 3",
    "BITFIELD %k OVERFLOW FAIL INCRBY u3 %n %n",
    "BITFIELD_RO %k GET i13 %n",
    "PFADD %k %v %v",
    "PFCOUNT %k %k",
    "PFMERGE %k %k",
    "PFDEBUG TODENSE %k",
    "DEL %k %k",
    "UNLINK %k",
    "EXISTS %k %k",
    "TOUCH %k %k",
    "TYPE %k",
    "EXPIRE %k %n %o",
    "PEXPIRE %k %n",
    "PEXPIREAT %k %n",
    "PERSIST %k",
    "PTTL %k",
    "RENAME %k %k",
    "RENAMENX %k %k",
    "COPY %k %k REPLACE",
    "COPY %k %k DB 1",
    "MOVE %k 1",
    "DUMP %k",
    "OBJECT ENCODING %k",
    "CF.RESERVE %k 20 EXPANSION %n",
    "CF.ADD %k %v",
    "CF.ADDNX %k %v",
    "CF.INSERT %k CAPACITY 4 ITEMS %v %v %v %v",
    "CF.INSERTNX %k NOCREATE ITEMS %v %v",
    "CF.DEL %k %v",
    "CF.MEXISTS %k %v %v",
    "CF.COUNT %k %v",
    "CF.INFO %k",
    "CF.SCANDUMP %k 1",
    "BF.RESERVE %k 0.01 %n",
    "BF.ADD %k %v",
    "BF.MADD %k %v %v %v",
    "BF.INSERT %k CAPACITY 2 EXPANSION 2 ITEMS %v %v %v",
    "BF.INSERT %k CAPACITY 2 NONSCALING ITEMS %v %v %v",
    "BF.MEXISTS %k %v %v",
    "BF.CARD %k",
    "BF.INFO %k",
    "BF.SCANDUMP %k 1",
    "HSET %k %v %v %v %v",
    "HSETNX %k %v %v",
    "HDEL %k %v %v",
    "HINCRBY %k %v %n",
    "HGET %k %v",
    "HMGET %k %v %v",
    "HGETALL %k",
    "HLEN %k",
    "HSCAN %k 0",
    "SADD %k %v %v %n",
    "SREM %k %v %n",
    "SMOVE %k %k %v",
    "SMEMBERS %k",
    "SMISMEMBER %k %v %n",
    "SCARD %k",
    "SINTER %k %k",
    "SUNIONSTORE %k %k %k",
    "SDIFFSTORE %k %k %k",
    "SINTERCARD 2 %k %k LIMIT %n",
    "LPUSH %k %v",
    "RPUSH %k %v %n %v %n",
    "LPUSHX %k %v %v",
    "LPOP %k",
    "RPOP %k %n",
    "LMPOP 2 %k %k RIGHT COUNT 3",
    "LLEN %k",
    "LRANGE %k %n %n",
    "LINDEX %k %n",
    "LPOS %k %v RANK %n",
    "LPOS %k %v COUNT 0 MAXLEN %n",
    "LSET %k %n %v",
    "LINSERT %k BEFORE %v %v",
    "LREM %k %n %v",
    "LTRIM %k %n %n",
    "LMOVE %k %k LEFT RIGHT",
    "RPOPLPUSH %k %k",
    "ZADD %k %n %v %n %v",
    "ZADD %k %o %n %v",
    "ZADD %k %o CH %v %v",
    "ZINCRBY %k %n %v",
    "ZREM %k %v %v",
    "ZSCORE %k %v",
    "ZRANK %k %v WITHSCORE",
    "ZCOUNT %k %n %n",
    "ZRANGE %k %n %n WITHSCORES",
    "ZRANGE %k %n %n BYSCORE REV LIMIT 1 2",
    "ZRANGEBYLEX %k - [%v",
    "ZRANGESTORE %k %k %n %n",
    "ZREMRANGEBYRANK %k %n %n",
    "ZREMRANGEBYSCORE %k %n %n",
    "ZPOPMIN %k",
    "ZPOPMAX %k 2",
    "ZMPOP 2 %k %k MIN COUNT 2",
    "ZUNION 2 %k %k WITHSCORES",
    "ZUNIONSTORE %k 2 %k %k WEIGHTS %n 1",
    "ZINTERSTORE %k 2 %k %k AGGREGATE MAX",
    "ZDIFFSTORE %k 2 %k %k",
    "ZINTERCARD 2 %k %k",
    "GEOADD %k %n %n %v",
    "GEOPOS %k %v %v",
    "GEODIST %k %v %v",
    "GEOSEARCH %k FROMLONLAT %n %n BYRADIUS 3000 km ASC",
    "GEOSEARCHSTORE %k %k FROMMEMBER %v BYBOX 4000 4000 km STOREDIST",
    "GEORADIUS %k %n %n 3000 km STORE %k",
    "XADD %k * %v %v",
    "XADD %k MAXLEN 3 * %v %v %v %v",
    "XADD %k %n-* %v %v",
    "XLEN %k",
    "XRANGE %k - + COUNT %n",
    "XREVRANGE %k + -",
    "XDEL %k %n 4000000000000-%n",
    "XTRIM %k MAXLEN %n",
    "XTRIM %k MINID ~ %n",
    "XSETID %k 4000000000100-%n",
    "XREAD COUNT 2 STREAMS %k 0",
    "XGROUP CREATE %k g %n MKSTREAM",
    "XGROUP CREATE %k g $",
    "XGROUP DESTROY %k g",
    "XGROUP CREATECONSUMER %k g %v",
    "XGROUP DELCONSUMER %k g %v",
    "XREADGROUP GROUP g %v COUNT 2 STREAMS %k >",
    "XREADGROUP GROUP g %v STREAMS %k 0",
    "XACK %k g %n 4000000000000-%n",
    "XPENDING %k g - + 5",
    "XCLAIM %k g %v 0 %n 4000000000000-%n FORCE",
    "XAUTOCLAIM %k g %v 0 0 COUNT 2",
    "XINFO STREAM %k FULL",
    "XINFO GROUPS %k",
    "MEMORY USAGE %k",
    "DBSIZE",
    "FLUSHDB",
];
const OPTIONS: &[&str] = &["NX", "XX", "GT", "LT", "INCR", "GET", "KEEPTTL", "EX", "PX"];
const VALUES: &[&str] = &["", "a", "10", "-3", "3.5", "abcabc", "9223372036854775807", " 1", "xyz"];

fn word(shape: &str, random: &mut Random) -> Vec<u8> {
    let pick = |list: &[&str], random: &mut Random| list[random.below(list.len() as u64) as usize].to_owned();
    match shape {
        "%k" => format!("key{}", random.below(8)),
        "%v" => pick(VALUES, random),
        "%n" => (random.below(40) as i64 - 10).to_string(),
        "%o" => pick(OPTIONS, random),
        fixed => fixed.to_owned(),
    }
    .into_bytes()
}

#[test]
fn spread_does_not_matter() {
    let mut effects_seen = 0;
    for seed in 0..PROGRAMS {
        let mut random = Random::seeded(seed);
        let (mut whole, mut many) = (Cluster::new(1), Cluster::new(256));
        // Most programs prefer neighbours, which are about the same type: else few commands would meet theirs.
        let preferred = random.below((SHAPES.len() - NEIGHBOURS) as u64);
        let preference = if seed % 4 == 0 { 0.0 } else { 0.8 };
        for _ in 0..COMMANDS {
            // Flushing is rare, or nothing would ever live long.
            let shapes = if random.chance(0.02) { SHAPES.len() } else { SHAPES.len() - 1 };
            let shape = if random.chance(preference) {
                preferred + random.below(NEIGHBOURS as u64)
            } else {
                random.below(shapes as u64)
            };
            let shape = SHAPES[shape as usize];
            let words: Vec<Vec<u8>> = shape.split(' ').map(|part| word(part, &mut random)).collect();
            let ((reply, mut effects), (other, mut others)) = (whole.run(&words), many.run(&words));
            let shown = words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ");
            assert_eq!(render(&reply), render(&other), "seed {seed}: {shown}");
            effects.sort();
            others.sort();
            // A flush is one effect in each partition that holds keys.
            if shape != "FLUSHDB" {
                assert_eq!(effects, others, "seed {seed}: {shown}");
            }
            effects_seen += effects.len();
            if random.chance(0.2) {
                let passed = random.below(15);
                whole.now.0 += passed;
                many.now.0 += passed;
            }
        }
        assert_eq!(whole.digest(), whole.replayed_digest(), "seed {seed}");
        assert_eq!(many.digest(), many.replayed_digest(), "seed {seed}");
        for _ in 0..5 {
            assert_eq!(whole.digest(), whole.overlapped_digest(&mut random), "seed {seed}");
        }
    }
    assert!(effects_seen > 5_000, "the programs do something: {effects_seen}");
}
