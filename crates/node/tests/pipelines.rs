//! Pipelines give what their commands give one by one.
//!
//! What has arrived together is parsed together, warmed up, and run in ways that depend on what stands next to it: by a
//! known shape, without a context, from a guessed slot, on another node. None of that may show. Random programs run three times:
//! each command in a turn of its own, all in few large inputs, and cut at random bytes; with one worker (one lock for all
//! partitions), with two (a lock for each), and over three nodes that keep two copies.

mod linked;
mod single;

use linked::Linked;
use node::{Key, Worker};
use single::platform;
use stdx::{Clock, Random, Wall};

const COMMANDS: usize = 4_000;

fn client(workers: usize) -> (Worker, Key) {
    let mut worker = single::single_node(Clock::manual(Wall(1_700_000_000_000)), workers);
    let key = worker.accept(String::new(), String::new(), 0).expect("there is room");
    (worker, key)
}

/// The replies to `input`, which arrives in pieces of the lengths that `next_len` gives.
fn replies(workers: usize, input: &[u8], mut next_len: impl FnMut() -> usize) -> Vec<u8> {
    let (mut worker, key) = client(workers);
    let (mut rest, mut replies, mut flushes) = (input, Vec::new(), Vec::new());
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(next_len().clamp(1, rest.len()));
        rest = behind;
        worker.begin_turn();
        worker.input(key).expect("open").extend_from_slice(piece);
        worker.prepare(&[key]);
        worker.process(key);
        worker.end_turn();
        worker.take_flush(&mut flushes);
        replies.append(worker.output(key).expect("open"));
    }
    replies
}

/// The same from three nodes, and how many keys they hold in the end, copies included.
fn replies_of_three(input: &[u8], mut next_len: impl FnMut() -> usize) -> (Vec<u8>, u64) {
    let mut nodes = Linked::new(Clock::manual(Wall(1_700_000_000_000)), 3, 2);
    let key = nodes.workers[0].accept(String::new(), String::new(), 0).expect("there is room");
    let (mut rest, mut replies) = (input, Vec::new());
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(next_len().clamp(1, rest.len()));
        rest = behind;
        nodes.turn(0, |worker| {
            worker.input(key).expect("open").extend_from_slice(piece);
            worker.prepare(&[key]);
            worker.process(key);
        });
        nodes.until_quiet();
        replies.append(nodes.workers[0].output(key).expect("open"));
    }
    (replies, nodes.keys_held())
}

/// A program over few keys, so that they meet, of which some expire at once and some have tags or are long.
fn program(random: &mut Random) -> Vec<Vec<u8>> {
    let key = |random: &mut Random| match random.below(5) {
        0 => format!("{{tag}}{}", random.below(20)),
        1 => format!("a key of more than sixteen bytes {}", random.below(20)),
        _ => format!("key:{}", random.below(200)),
    };
    let value = |random: &mut Random| match random.below(4) {
        0 => random.below(1_000_000).to_string(),
        1 => "x".repeat(random.below(6_000) as usize),
        _ => format!("value {}", random.below(1_000)),
    };
    (0..COMMANDS)
        .map(|_| {
            let (name, key, value) = (random.below(32), key(random), value(random));
            let words: Vec<String> = match name {
                0..4 => vec!["GET".into(), key],
                4..7 => vec!["SET".into(), key, value],
                7 => vec!["get".into(), key],
                8 => std::iter::once("MGET".into())
                    .chain((0..random.below(40)).map(|i| format!("key:{i}")))
                    .collect(),
                9 => vec!["INCR".into(), key],
                10 => vec!["SET".into(), key, value, "PX".into(), "1".into()],
                11 => vec!["APPEND".into(), key, value],
                12 => vec!["DEL".into(), key],
                13 => vec!["SET".into(), key, value, "NX".into(), "GET".into()],
                14 => vec!["GET".into()],
                15 => vec!["CF.ADD".into(), key, value],
                16 => vec!["CF.EXISTS".into(), key, value],
                17 => vec!["BF.MADD".into(), key, value, "item".into()],
                18 => vec!["BF.INFO".into(), key],
                19 => vec!["LPUSH".into(), key, value, "element".into()],
                20 => vec!["RPUSH".into(), key, value],
                21 => vec!["LPOP".into(), key],
                22 => vec!["RPOP".into(), key, "2".into()],
                23 => vec!["HSET".into(), key, value, "v".into()],
                24 => vec!["HDEL".into(), key, value],
                25 => vec!["SADD".into(), key, value, "member".into()],
                26 => vec!["SREM".into(), key, value],
                27 => vec!["ZADD".into(), key, (random.below(9)).to_string(), value],
                28 => vec!["ZINCRBY".into(), key, "1".into(), value],
                29 => vec!["ZPOPMIN".into(), key],
                30 => vec!["LRANGE".into(), key, "0".into(), "-1".into()],
                _ => vec!["TTL".into(), key],
            };
            let mut command = Vec::new();
            protocol::encode_command(&mut command, &words);
            command
        })
        .collect()
}

#[test]
fn replies_do_not_depend_on_what_arrives_together() {
    for seed in 0..6 {
        let mut random = Random::seeded(seed);
        let program = program(&mut random);
        let input = program.concat();
        let mut lengths = program.iter().map(Vec::len);
        let expected = replies(2, &input, || lengths.next().unwrap_or(1));
        assert!(expected.len() > COMMANDS, "a reply for every command");
        for workers in [1, 2] {
            let whole = replies(workers, &input, || 1 << 20);
            assert!(whole == expected, "seed {seed}, {workers} workers, in large inputs");
            let cut = replies(workers, &input, || random.below(3_000) as usize);
            assert!(cut == expected, "seed {seed}, {workers} workers, cut anywhere");
        }
        let mut lengths = program.iter().map(Vec::len);
        let (single, held) = replies_of_three(&input, || lengths.next().unwrap_or(1));
        assert!(single == expected, "seed {seed}, three nodes, one by one");
        assert!(held > 0 && held % 2 == 0, "{held} keys are held twice each");
        let (whole, held_by_whole) = replies_of_three(&input, || 1 << 20);
        assert!(whole == expected, "seed {seed}, three nodes, in large inputs");
        let (cut, held_by_cut) = replies_of_three(&input, || random.below(3_000) as usize);
        assert!(cut == expected, "seed {seed}, three nodes, cut anywhere");
        assert_eq!((held_by_whole, held_by_cut), (held, held));
    }
}

#[test]
fn a_guess_that_became_wrong_is_only_a_guess() {
    // Warmed up together, and moved about by what runs in between.
    let mut input = Vec::new();
    for round in 0..40 {
        for number in 0..30 {
            let key = format!("{{one}}{}", round * 30 + number);
            protocol::encode_command(&mut input, &["SET", key.as_str(), "v"]);
            protocol::encode_command(&mut input, &["GET", "{one}0"]);
            protocol::encode_command(&mut input, &["GET", key.as_str()]);
        }
        protocol::encode_command(&mut input, &["DEL", "{one}0"]);
        protocol::encode_command(&mut input, &["SET", "{one}0", "v"]);
    }
    let replies = String::from_utf8(replies(1, &input, || 1 << 20)).expect("text");
    assert_eq!(replies.matches("$1\r\nv\r\n").count(), 40 * 60);
    assert_eq!(replies.matches("$-1\r\n").count(), 0);
}
