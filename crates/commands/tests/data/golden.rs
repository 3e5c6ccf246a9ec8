//! Golden scripts: what every command on keys answers and which effects it has.
//!
//! A script is a text file under `tests/scripts`:
//! ```text
//! # a remark
//! > SET k "a value"          a command; below it what came of it
//! OK                         the reply
//! ~ set 0 "k" "a value"      its effects, in order
//! >sort KEYS *               the same, the elements of the reply sorted
//! >scan MATCH k*             a whole SCAN walk with these options, keys sorted
//! @advance 1500              moves the clock by milliseconds
//! @db 3                      selects a database
//! @resp 3                    switches the protocol
//! @policy allkeys-lfu        the policy of eviction in force
//! ```
//! Every script runs on one partition and on 256; both must answer alike. Then its effects are replayed into empty
//! partitions, which must hold the same afterwards. `UPDATE_GOLDEN=1` rewrites the scripts with what happens now.

use crate::harness::{Cluster, data_commands, render};
use protocol::{Value, Version};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use store::eviction::Policy;

#[test]
fn scripts() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut failures = Vec::new();
    for path in script_files() {
        let expected = fs::read_to_string(&path).expect("a readable script");
        let (actual, whole) = run_script(&expected, 1);
        let (split, many) = run_script(&expected, 256);
        assert_eq!(replies(&actual), replies(&split), "{}: one partition and 256 differ", path.display());
        for cluster in [&whole, &many] {
            assert_eq!(cluster.digest(), cluster.replayed_digest(), "{}: replay", path.display());
        }
        assert_eq!(whole.digest(), many.digest(), "{}: content", path.display());
        if update {
            fs::write(&path, &actual).expect("a writable script");
        } else if let Some(difference) = first_difference(&expected, &actual) {
            failures.push(format!("{}:{difference}", path.display()));
        }
    }
    assert!(failures.is_empty(), "UPDATE_GOLDEN=1 accepts these:\n{}", failures.join("\n"));
}

#[test]
fn every_command_on_keys_has_a_script() {
    let mut ran = BTreeSet::new();
    for path in script_files() {
        let (_, cluster) = run_script(&fs::read_to_string(path).expect("a readable script"), 1);
        ran.extend(cluster.ran().iter().copied());
    }
    let missing: Vec<_> =
        data_commands().map(|command| command.name).filter(|name| !ran.contains(name)).collect();
    assert!(missing.is_empty(), "no script runs {missing:?}");
}

fn script_files() -> Vec<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("a folder of scripts")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// Runs a script and writes it anew, with the replies and effects that came.
fn run_script(text: &str, partitions: u16) -> (String, Cluster) {
    let mut cluster = Cluster::new(partitions);
    let mut out = String::new();
    for line in text.lines() {
        if let Some(command) = line.strip_prefix('>') {
            out.push_str(line);
            out.push('\n');
            let (mode, words) = command.split_once(' ').unwrap_or((command, ""));
            let (reply, effects) = match mode {
                "" => cluster.run(&split(words)),
                "sort" => {
                    let (reply, effects) = cluster.run(&split(words));
                    (sorted(reply), effects)
                }
                "scan" => (walk(&mut cluster, &split(words)), Vec::new()),
                _ => panic!("no mode {mode:?}"),
            };
            out.push_str(&format!("{}\n", render(&reply)));
            effects.iter().for_each(|effect| out.push_str(&format!("~ {effect}\n")));
        } else if let Some(directive) = line.strip_prefix('@') {
            let (name, value) = directive.split_once(' ').expect("a value after the directive");
            let number = || -> u64 { value.parse().expect("a number") };
            match name {
                "advance" => cluster.now.0 += number(),
                "db" => cluster.db = u8::try_from(number()).expect("a database"),
                "resp" => cluster.version = Version::from_number(number() as i64).expect("a version"),
                "policy" => cluster.policy = Policy::parse(value).expect("a policy"),
                _ => panic!("no directive {name:?}"),
            }
            out.push_str(&format!("{line}\n"));
        } else if line.is_empty() || line.starts_with('#') {
            out.push_str(&format!("{line}\n"));
        }
    }
    (out, cluster)
}

/// The text with the effects of each command in alphabetical order: partitions have no order among each other.
fn replies(text: &str) -> Vec<Vec<&str>> {
    let mut blocks: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        match blocks.last_mut() {
            Some(block) if line.starts_with('~') => block.push(line),
            _ => blocks.push(vec![line]),
        }
    }
    blocks.iter_mut().for_each(|block| block.sort_unstable());
    blocks
}

fn first_difference(expected: &str, actual: &str) -> Option<String> {
    if expected == actual {
        return None;
    }
    let (mut expected, mut actual) = (expected.lines(), actual.lines());
    let (mut number, mut command) = (0, "");
    loop {
        number += 1;
        let (was, is) = (expected.next(), actual.next());
        if let Some(line) = was.filter(|line| line.starts_with('>')) {
            command = line;
        }
        if was != is || was.is_none() {
            return Some(format!(
                "{number}: after `{command}`\n  expected {}\n  got      {}",
                was.unwrap_or("the end"),
                is.unwrap_or("the end")
            ));
        }
    }
}

fn sorted(reply: Value) -> Value {
    let Value::Array(mut values) = reply else { return reply };
    values.sort_by_key(render);
    Value::Array(values)
}

/// Follows the cursor to the end. Every key once: nothing changes during the walk.
fn walk(cluster: &mut Cluster, options: &[Vec<u8>]) -> Value {
    let (mut cursor, mut found) = (b"0".to_vec(), Vec::new());
    loop {
        let mut words = vec![b"SCAN".to_vec(), cursor];
        words.extend_from_slice(options);
        let (reply, _) = cluster.run(&words);
        let Value::Array(parts) = reply else { return reply };
        let [Value::Bulk(next), Value::Array(keys)] = parts.as_slice() else { panic!("{parts:?}") };
        found.extend(keys.iter().cloned());
        cursor = next.clone();
        if cursor == b"0" {
            return sorted(Value::Array(found));
        }
    }
}

/// Words parted by blanks; double quotes with escapes as in the rendering.
fn split(line: &str) -> Vec<Vec<u8>> {
    let (mut words, mut bytes) = (Vec::new(), line.bytes().peekable());
    loop {
        while bytes.next_if_eq(&b' ').is_some() {}
        let Some(first) = bytes.peek() else { return words };
        let quoted = *first == b'"';
        if quoted {
            bytes.next();
        }
        let mut word = Vec::new();
        while let Some(byte) = bytes.next_if(|byte| if quoted { *byte != b'"' } else { *byte != b' ' }) {
            if byte != b'\\' || !quoted {
                word.push(byte);
                continue;
            }
            word.push(match bytes.next().expect("an escape") {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    let digits = [bytes.next().expect("a digit"), bytes.next().expect("a digit")];
                    let digits = std::str::from_utf8(&digits).expect("hexadecimal digits");
                    u8::from_str_radix(digits, 16).expect("hexadecimal digits")
                }
                other => other,
            });
        }
        if quoted {
            assert_eq!(bytes.next(), Some(b'"'), "an unclosed quote in {line}");
        }
        words.push(word);
    }
}
