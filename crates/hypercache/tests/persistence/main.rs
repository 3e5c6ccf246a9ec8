//! Data on disk, as a user meets it: what comes back after a crash, a shutdown and damage, and what `hypercache check` says.

mod node;

use node::{Client, Node, check_directory};
use std::path::Path;
use std::time::Duration;

/// The first files of a log.
const SEGMENT: &str = "aof-0000000001.log";
const SNAPSHOT: &str = "snapshot-0000000001.snap";
/// Keys of one partition, by their tag.
const TOGETHER: &str = "{together}";

/// Writes some of everything.
fn write_everything(client: &mut Client) {
    for index in 0..100 {
        assert_eq!(client.ask(&["SET", &format!("key:{index}"), &format!("value:{index}")]), "OK");
    }
    client.check(&[
        ("SET gone v", "OK"),
        ("DEL gone", "1"),
        ("SET replaced old", "OK"),
        ("SET replaced new", "OK"),
        ("INCRBY counter 41", "41"),
        ("INCR counter", "42"),
        ("APPEND text abc", "3"),
        ("SETRANGE text 5 xyz", "8"),
        ("SET mortal v PXAT 4000000000123", "OK"),
        ("SET immortal v EX 1000", "OK"),
        ("PERSIST immortal", "1"),
        ("SET brief v PX 1", "OK"),
        ("CF.RESERVE cuckoo 1000", "OK"),
        ("CF.ADD cuckoo one", "1"),
        ("CF.ADD cuckoo two", "1"),
        ("CF.DEL cuckoo one", "1"),
        ("BF.RESERVE bloom 0.001 1000", "OK"),
        ("BF.MADD bloom one two", "1 1"),
        ("PEXPIREAT bloom 4000000000456", "1"),
    ]);
    for db in 1..16 {
        let (select, value) = (format!("SELECT {db}"), format!("SET here {db}"));
        client.check(&[(&select, "OK"), (&value, "OK")]);
    }
    client.check(&[("SET moved v", "OK"), ("FLUSHDB", "OK"), ("SELECT 0", "OK")]);
}

/// Finds what [`write_everything`] has written.
#[track_caller]
fn check_everything(client: &mut Client) {
    for index in 0..100 {
        assert_eq!(client.ask(&["GET", &format!("key:{index}")]), format!("value:{index}"));
    }
    client.check(&[
        ("GET gone", "(nil)"),
        ("GET replaced", "new"),
        ("GET counter", "42"),
        ("GET text", "abc\0\0xyz"),
        ("PEXPIRETIME mortal", "4000000000123"),
        ("PEXPIRETIME immortal", "-1"),
        ("GET brief", "(nil)"),
        ("CF.MEXISTS cuckoo one two", "0 1"),
        ("BF.MEXISTS bloom one two three", "1 1 0"),
        ("PEXPIRETIME bloom", "4000000000456"),
        ("SELECT 15", "OK"),
        ("DBSIZE", "0"),
    ]);
    for db in 1..15 {
        client.check(&[(&format!("SELECT {db}"), "OK"), ("GET here", &db.to_string()), ("DBSIZE", "1")]);
    }
    client.check(&[("SELECT 0", "OK")]);
}

/// All that [`write_everything`] leaves: 100 numbered keys, 7 others in database 0, 14 in the others.
const KEYS: u64 = 100 + 7 + 14;

#[test]
fn everything_comes_back_after_a_crash_a_save_and_a_shutdown() {
    let mut node = Node::start("always");
    write_everything(&mut node.client());
    node.kill();
    node.restart();
    check_everything(&mut node.client());
    assert_eq!((node.info("loading"), node.info("aof_enabled")), ("0".to_owned(), "1".to_owned()));
    let loaded: u64 = node.info("rdb_last_load_keys_loaded").parse().expect("a number");
    // The brief one may have been removed before the crash or not.
    assert!((KEYS..=KEYS + 1).contains(&loaded), "{loaded}");

    node.client().check(&[("SET lost v", "OK"), ("DEL lost", "1"), ("SET cut-short 0123456789", "OK")]);
    assert_eq!(node.client().ask(&["BGSAVE"]), "Background saving started");
    node.wait_for("aof_rewrites", "1");
    node.client().check(&[
        ("SET late v", "OK"),
        ("DEL cut-short", "1"),
        ("CF.ADD cuckoo late", "1"),
        ("PEXPIREAT late 4000000000789", "1"),
    ]);
    node.kill();
    let (code, said) = check_directory(node.path(), None);
    assert!(code == Some(0) && said.contains("snapshot-") && said.ends_with("\nsound\n"), "{code:?} {said}");
    for _ in 0..2 {
        node.restart();
        check_everything(&mut node.client());
        node.client().check(&[
            ("EXISTS lost cut-short", "0"),
            ("CF.EXISTS cuckoo late", "1"),
            ("PEXPIRETIME late", "4000000000789"),
        ]);
        node.shut_down();
    }
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there() {
    let mut node = Node::start("always");
    for round in 0..2 {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let mut client = node.client();
                std::thread::spawn(move || {
                    let key = format!("writer:{writer}");
                    let acknowledged =
                        (1..).take_while(|_| !client.ask(&["INCR", &key]).starts_with('-')).last();
                    (key, acknowledged.unwrap_or(0))
                })
            })
            .collect();
        node.client().check(&[("BGSAVE", "Background saving started")]);
        std::thread::sleep(Duration::from_millis(200 + 100 * round));
        node.kill();
        let (code, said) = check_directory(node.path(), None);
        assert_eq!(code, Some(0), "{said}");
        node.restart();
        for writer in writers {
            let (key, acknowledged) = writer.join().expect("no panic");
            let found: u64 = node.client().ask(&["GETDEL", &key]).parse().unwrap_or(0);
            // The last one may have been logged without an answer.
            assert!((acknowledged..=acknowledged + 1).contains(&found), "{key}: {found}, not {acknowledged}");
        }
    }
}

#[test]
fn a_shutdown_loses_nothing_whatever_is_synced_when() {
    for appendfsync in ["everysec", "no"] {
        let mut node = Node::start(appendfsync);
        write_everything(&mut node.client());
        node.shut_down();
        node.restart();
        check_everything(&mut node.client());
    }
}

/// Ten keys in one partition, and fifty elsewhere; the offset of the sixth's value in the log.
fn node_with_ten_together() -> (Node, usize) {
    let mut node = Node::start("always");
    let mut client = node.client();
    let partition = |client: &mut Client, key: &str| {
        let slot: u64 = client.ask(&["CLUSTER", "KEYSLOT", key]).parse().expect("a slot");
        slot / 64
    };
    let together = partition(&mut client, TOGETHER);
    for index in 0..10 {
        client.check(&[(&format!("SET {TOGETHER}:{index} together-{index}"), "OK")]);
    }
    let mut apart = 0;
    for index in 0.. {
        let key = format!("apart:{index}");
        if apart < 50 && partition(&mut client, &key) != together {
            client.check(&[(&format!("SET {key} v"), "OK")]);
            apart += 1;
        } else if apart == 50 {
            break;
        }
    }
    drop(client);
    node.shut_down();
    let bytes = std::fs::read(node.last_segment()).expect("readable");
    let at = bytes.windows(10).position(|window| window == b"together-5").expect("it was logged");
    (node, at)
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).expect("readable");
    bytes[at] ^= 1;
    std::fs::write(file, bytes).expect("writable");
}

/// The sentence that begins with the name of the damaged file.
fn sentence<'a>(text: &'a str, file: &str, end: &str) -> &'a str {
    let start = text.find(&format!("{file} is damaged at offset ")).unwrap_or_else(|| panic!("{text}"));
    let rest = &text[start..];
    &rest[..rest.find(end).unwrap_or_else(|| panic!("{text}")) + end.len()]
}

#[test]
fn a_damaged_byte_is_refused_told_and_got_round() {
    let (node, at) = node_with_ten_together();
    let sound = check_directory(node.path(), None);
    assert!(sound.0 == Some(0) && sound.1.contains("partitions that can be recovered: 256, whole: 256\n"));
    flip(&node.last_segment(), at);

    let refusal = node.refusal();
    let log_path = node.log_path().display().to_string();
    assert!(refusal.contains(&format!("`hypercache check {log_path} --extract FILE`")), "{refusal}");
    let (code, said) = check_directory(Path::new(&log_path), None);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(sentence(&said, SEGMENT, ")"), sentence(&refusal, SEGMENT, ")"), "the same place and reason");
    assert!(
        said.contains("partitions that cannot be recovered: 1 (") && said.ends_with("\ndamaged\n"),
        "{said}"
    );

    let file = node.path().join("rescued.resp");
    let (code, said) = check_directory(node.path(), Some(&file));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("55 keys are in "), "{said}");
    assert!(said.contains("5 keys as before the damage, 5 records from there on are missing"), "{said}");
    let (code, again) = check_directory(node.path(), Some(&file));
    assert!(code == Some(2) && again.contains("nothing is extracted"), "what is there stays: {again}");

    let fresh = Node::start("no");
    let mut client = fresh.client();
    client.load(&std::fs::read(file).expect("it was written"));
    client.check(&[("DBSIZE", "55")]);
    for index in 0..10 {
        let expected = if index < 5 { format!("together-{index}") } else { "(nil)".to_owned() };
        assert_eq!(client.ask(&["GET", &format!("{TOGETHER}:{index}")]), expected);
    }
}

#[test]
fn what_is_extracted_makes_everything_again() {
    let mut node = Node::start("always");
    write_everything(&mut node.client());
    node.client().check(&[("BGSAVE", "Background saving started")]);
    node.wait_for("aof_rewrites", "1");
    node.kill();
    let file = node.path().join("all.resp");
    let (code, said) = check_directory(node.path(), Some(&file));
    assert!(code == Some(0) && said.contains(&format!("{KEYS} keys are in ")), "{code:?} {said}");
    let fresh = Node::start("no");
    let mut client = fresh.client();
    client.load(&std::fs::read(file).expect("it was written"));
    check_everything(&mut client);
}

#[test]
fn damage_that_may_concern_any_partition_is_told_once() {
    let (node, at) = node_with_ten_together();
    // Its header is before the database, the key and the lengths.
    flip(&node.last_segment(), at - TOGETHER.len() - 6 - 10);
    let refusal = node.refusal();
    let (code, said) = check_directory(node.path(), None);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("partitions that cannot be recovered: 256 (0-255)\n"), "{said}");
    let end = "(any partition)";
    assert_eq!(sentence(&said, SEGMENT, end), sentence(&refusal, SEGMENT, end));
    assert_eq!(said.matches(" is damaged at offset ").count(), 1, "{said}");
    let (_, said) = check_directory(node.path(), Some(&node.path().join("rescued.resp")));
    assert!(said.contains("\n5 keys are in "), "nothing else stands before the damage: {said}");
}

#[test]
fn a_damaged_snapshot_is_refused_told_and_got_round() {
    let (mut node, _) = node_with_ten_together();
    node.restart();
    node.client().check(&[("BGSAVE", "Background saving started")]);
    node.wait_for("aof_rewrites", "1");
    node.shut_down();
    let snapshot = node.log_path().join(SNAPSHOT);
    let bytes = std::fs::read(&snapshot).expect("readable");
    flip(&snapshot, bytes.windows(8).position(|window| window == b"together").expect("it was saved"));
    let refusal = node.refusal();
    let file = node.path().join("rescued.resp");
    let (code, said) = check_directory(node.path(), Some(&file));
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(
        sentence(&said, SNAPSHOT, ")"),
        sentence(&refusal, SNAPSHOT, ")"),
        "the same place and reason"
    );
    assert!(said.contains("\nbut damaged in a snapshot: ") && said.contains("\n50 keys are in "), "{said}");
    // Without its last frame the snapshot has no table; what it holds is found all the same.
    std::fs::write(&snapshot, &bytes[..bytes.len() - 10]).expect("writable");
    std::fs::remove_file(&file).expect("it was written");
    let (code, said) = check_directory(node.path(), Some(&file));
    assert!(code == Some(1) && said.contains("\n60 keys are in "), "{code:?} {said}");
}

#[test]
fn a_torn_end_is_cut_with_a_warning() {
    let mut node = Node::start("always");
    let tear: [fn(&mut Vec<u8>); 2] =
        [|bytes| bytes.extend(b"rubbish"), |bytes| bytes.truncate(bytes.len() - 5)];
    for (round, tear) in tear.into_iter().enumerate() {
        node.client().check(&[(&format!("SET round:{round} v"), "OK")]);
        node.kill();
        let segment = node.last_segment();
        let mut bytes = std::fs::read(&segment).expect("readable");
        tear(&mut bytes);
        std::fs::write(&segment, bytes).expect("writable");
        let (code, said) = check_directory(node.path(), None);
        assert!(code == Some(0) && said.contains("torn end is cut at the next start"), "{code:?} {said}");
        node.restart();
        assert!(node.log().contains("the log's torn end is cut"), "{}", node.log());
        assert_eq!(node.client().ask(&["GET", "round:0"]), "v");
    }
}

#[test]
fn a_directory_has_one_process_and_needs_a_log() {
    let node = Node::start("always");
    let refusal = node.refusal_of_another();
    assert!(refusal.contains("is in use by process "), "{refusal}");
    assert_eq!(node.client().ask(&["PING"]), "PONG", "the first one goes on");
    let (code, said) = check_directory(&node.path().join("nowhere"), None);
    assert!(code == Some(2) && said.contains("nowhere: "), "{code:?} {said}");
    let empty = tempfile::tempdir().expect("a temporary directory");
    let (code, said) = check_directory(empty.path(), None);
    assert!(code == Some(2) && said.ends_with("there is no log here\n"), "{code:?} {said}");
}
