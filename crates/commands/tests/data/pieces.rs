//! Filters in pieces: what SCANDUMP gives, LOADCHUNK makes the same filter of; what anything else gives, it refuses.

use crate::harness::{Cluster, render};
use protocol::Value;
use stdx::Random;

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

fn call(cluster: &mut Cluster, line: &str) -> Value {
    cluster.run(&words(line)).0
}

/// All pieces with their iterators, as a client walks them.
fn dump(cluster: &mut Cluster, family: &str, key: &str) -> Vec<(i64, Vec<u8>)> {
    let (mut pieces, mut position) = (Vec::new(), 0);
    loop {
        let reply = call(cluster, &format!("{family}.SCANDUMP {key} {position}"));
        let Value::Array(parts) = reply else { panic!("{reply:?}") };
        match &parts[..] {
            [Value::Integer(0), _] => return pieces,
            [Value::Integer(next), Value::Bulk(bytes)] => {
                position = *next;
                pieces.push((position, bytes.clone()));
            }
            other => panic!("{other:?}"),
        }
    }
}

fn load(cluster: &mut Cluster, family: &str, key: &str, position: i64, bytes: &[u8]) -> String {
    let mut command = words(&format!("{family}.LOADCHUNK {key} {position}"));
    command.push(bytes.to_vec());
    render(&cluster.run(&command).0)
}

/// Dumps one key and loads another, which must be the same then.
fn check(cluster: &mut Cluster, family: &str) -> usize {
    let pieces = dump(cluster, family, "{f}from");
    for (position, bytes) in &pieces {
        assert_eq!(load(cluster, family, "{f}to", *position, bytes), "OK");
    }
    assert_eq!(call(cluster, "DUMP {f}to"), call(cluster, "DUMP {f}from"));
    assert_eq!(call(cluster, "MEMORY USAGE {f}to"), {
        call(cluster, "COPY {f}from {f}again REPLACE");
        call(cluster, "MEMORY USAGE {f}again")
    });
    assert_eq!(cluster.digest(), cluster.replayed_digest());
    call(cluster, "DEL {f}to {f}from {f}again");
    pieces.len()
}

#[test]
fn what_was_dumped_is_loaded_as_the_same_filter() {
    for partitions in [1, 256] {
        let mut cluster = Cluster::new(partitions);
        let items: Vec<String> = (0..700).map(|number| format!("item:{number}")).collect();
        let items = items.join(" ");
        for (capacity, expansion) in [(1_000, 0), (100, 1), (20, 2)] {
            call(&mut cluster, &format!("CF.RESERVE {{f}}from {capacity} EXPANSION {expansion}"));
            call(&mut cluster, &format!("CF.INSERT {{f}}from ITEMS {items}"));
            call(&mut cluster, "CF.DEL {f}from item:3");
            assert_eq!(check(&mut cluster, "CF"), 2);
            call(&mut cluster, &format!("BF.RESERVE {{f}}from 0.01 {capacity} EXPANSION {expansion}"));
            call(&mut cluster, &format!("BF.MADD {{f}}from {items}"));
            assert_eq!(check(&mut cluster, "BF"), 2);
        }
    }
}

/// More than one piece after the header: pieces are cut every 16 MiB.
#[test]
fn large_filters_take_several_pieces() {
    let mut cluster = Cluster::new(1);
    call(&mut cluster, "CF.RESERVE {f}from 15000000");
    call(&mut cluster, "CF.ADD {f}from item");
    assert_eq!(check(&mut cluster, "CF"), 3);
    call(&mut cluster, "BF.RESERVE {f}from 0.01 13000000");
    call(&mut cluster, "BF.ADD {f}from item");
    assert_eq!(check(&mut cluster, "BF"), 3);
}

/// Damaged headers and pieces, at any iterator: no panic, no memory beyond what was sent, and every effect replays.
#[test]
fn damaged_pieces_are_refused_or_make_another_filter() {
    let mut random = Random::seeded(5);
    let (mut finished, mut refused) = (0, 0);
    for _ in 0..400 {
        let mut cluster = Cluster::new(1);
        let family = if random.chance(0.5) { "CF" } else { "BF" };
        call(&mut cluster, &format!("{family}.INSERT {{f}}from CAPACITY 20 ITEMS a b c d e f"));
        let (mut sent, pieces) = (0, dump(&mut cluster, family, "{f}from"));
        for (mut position, mut bytes) in pieces {
            for _ in 0..random.below(3) {
                let at = random.below(bytes.len() as u64 + 1) as usize;
                match random.below(6) {
                    0 => bytes.truncate(at),
                    1 => bytes.push(random.next_u64() as u8),
                    2 => position = random.next_u64() as i64 >> random.below(64),
                    _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
                }
            }
            sent += bytes.len();
            let outcome = load(&mut cluster, family, "{f}to", position, &bytes);
            refused += u64::from(outcome != "OK");
        }
        let whole = !render(&call(&mut cluster, &format!("{family}.INFO {{f}}to"))).starts_with("(error)");
        finished += u64::from(whole);
        if let Value::Integer(memory) = call(&mut cluster, "MEMORY USAGE {f}to") {
            assert!(memory as usize <= 2 * sent + 1_000, "{memory} bytes after {sent} were sent");
        }
        call(&mut cluster, &format!("{family}.INSERT {{f}}to CAPACITY 20 ITEMS a g h"));
        call(&mut cluster, &format!("{family}.MEXISTS {{f}}to a b c"));
        assert_eq!(cluster.digest(), cluster.replayed_digest());
    }
    assert!(finished > 50 && refused > 50, "{finished} finished, {refused} refused");
}
