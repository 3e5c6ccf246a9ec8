//! Many keys with one deadline go in slices, and the worker asks to be called again until none is left.

mod single;

use node::{Key, Worker};
use std::time::Duration;
use stdx::{Clock, Wall};

const START: Wall = Wall(1_700_000_000_000);
const KEYS: u64 = 20_000;
/// More than any slice may remove when turns are short.
const SLICE_MAX: i64 = 200;

fn ask(worker: &mut Worker, key: Key, commands: &[Vec<String>]) -> Vec<u8> {
    let mut input = Vec::new();
    commands.iter().for_each(|words| protocol::encode_command(&mut input, words));
    worker.begin_turn();
    worker.input(key).expect("open").extend_from_slice(&input);
    worker.process(key);
    worker.end_turn();
    worker.take_flush(&mut Vec::new());
    std::mem::take(worker.output(key).expect("open"))
}

fn keys_held(worker: &mut Worker, key: Key) -> i64 {
    let reply = ask(worker, key, &[vec!["DBSIZE".into()]]);
    let text = String::from_utf8(reply).expect("digits");
    text.trim_start_matches(':').trim_end().parse().expect("a number")
}

fn words(number: u64, deadline: u64) -> Vec<String> {
    vec!["SET".into(), format!("key:{number}"), "v".into(), "PXAT".into(), deadline.to_string()]
}

#[test]
fn what_is_due_at_once_goes_in_slices() {
    for workers in [1, 2] {
        let clock = Clock::manual(START);
        let mut worker = single::single_node(clock.clone(), workers);
        let key = worker.accept(String::new(), String::new(), 0).expect("there is room");
        let sets: Vec<_> = (0..KEYS).map(|number| words(number, START.0 + 10_000)).collect();
        sets.chunks(1_000).for_each(|sets| drop(ask(&mut worker, key, sets)));
        let lasting = ["SET", "lasting", "v"].map(str::to_owned).to_vec();
        ask(&mut worker, key, &[lasting]);
        worker.tick();
        let held_at_first = keys_held(&mut worker, key);
        assert_eq!(held_at_first, KEYS as i64 + 1, "nothing is due");

        clock.advance(Duration::from_secs(11));
        let (mut held, mut slices) = (held_at_first, 0);
        worker.tick();
        while worker.next_tick() <= clock.mono() {
            let now_held = keys_held(&mut worker, key);
            assert!((0..=SLICE_MAX).contains(&(held - now_held)), "{held} keys, then {now_held}");
            (held, slices) = (now_held, slices + 1);
            clock.advance(Duration::from_micros(100));
            worker.tick();
        }
        assert!(slices > 50, "{slices} slices");
        // The second worker's half of the partitions is not this one's to clean.
        let left = keys_held(&mut worker, key) - 1;
        assert!(if workers == 1 {
            left == 0
        } else {
            (KEYS as i64 * 4 / 10..KEYS as i64 * 6 / 10).contains(&left)
        });
        let reply = ask(&mut worker, key, &[["GET", "lasting"].map(str::to_owned).to_vec()]);
        assert_eq!(reply, b"$1\r\nv\r\n");
    }
}

#[test]
fn a_loop_with_long_turns_keeps_up() {
    let clock = Clock::manual(START);
    let mut worker = single::single_node(clock.clone(), 1);
    let key = worker.accept(String::new(), String::new(), 0).expect("there is room");
    // Each turn takes 2 ms and writes 1,500 keys that live for 20 ms.
    for turn in 0..150u64 {
        let at = clock.wall().0 + 20;
        let sets: Vec<_> = (0..1_500).map(|number| words(turn * 1_500 + number, at)).collect();
        ask(&mut worker, key, &sets);
        clock.advance(Duration::from_millis(2));
        if clock.mono() >= worker.next_tick() {
            worker.tick();
        }
    }
    // Alive are those of ten turns; a round begins every 50 ms, in which 25 turns' keys become due.
    let held = keys_held(&mut worker, key);
    assert!(held < 1_500 * 60, "{held}");
}
