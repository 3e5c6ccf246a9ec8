//! Contents: the value of a key whatever its type, and everything that two servers hold.

use super::compare::{Judge, Verdict};
use super::link::{Link, Words};
use super::rules::Rules;
use super::value::Value;
use super::vocabulary::DATABASES;
use crate::Result;

/// Two servers that hold different things.
pub(super) struct Unequal {
    /// What was asked.
    pub(super) asked: String,
    /// The answer of the reference.
    pub(super) theirs: Value,
    /// Ours.
    pub(super) ours: Value,
}

/// The command that reads the whole value of a key of a type.
pub(super) fn reading(type_name: &[u8], key: &[u8]) -> Words {
    let words = |words: &[&[u8]]| words.iter().map(|word| word.to_vec()).collect();
    match type_name {
        b"hash" => words(&[b"HGETALL", key]),
        b"set" => words(&[b"SMEMBERS", key]),
        b"list" => words(&[b"LRANGE", key, b"0", b"-1"]),
        b"zset" => words(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]),
        b"stream" => words(&[b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0"]),
        _ => words(&[b"GET", key]),
    }
}

fn one(name: &str, word: &[u8]) -> Words {
    vec![name.as_bytes().to_vec(), word.to_vec()]
}

/// Compares one key in two servers; the key may have another name in each.
///
/// # Errors
/// Those of the connections.
pub(super) fn compare_key(
    (redis, their_key): (&mut Link, &[u8]),
    (ours, our_key): (&mut Link, &[u8]),
    judge: &Judge,
    rules: &mut Rules,
) -> Result<Option<Unequal>> {
    let kinds = (redis.ask(&one("TYPE", their_key))?, ours.ask(&one("TYPE", our_key))?);
    if kinds.0 != kinds.1 {
        return Ok(Some(Unequal { asked: "TYPE".to_owned(), theirs: kinds.0, ours: kinds.1 }));
    }
    let kind = kinds.0.bytes().unwrap_or_default().to_vec();
    let words = reading(&kind, their_key);
    let (theirs, ours) = (redis.ask(&words)?, ours.ask(&reading(&kind, our_key))?);
    Ok(unequal(&words, theirs, ours, judge, rules))
}

/// Compares all keys of all databases: names, types, times to live and values. Counts the keys.
///
/// # Errors
/// Those of the connections.
pub(super) fn compare_all(
    redis: &mut Link,
    ours: &mut Link,
    judge: &Judge,
    rules: &mut Rules,
    keys_seen: &mut u64,
) -> Result<Option<Unequal>> {
    let mut names = Vec::new();
    for db in DATABASES {
        names.extend([one("SELECT", db.to_string().as_bytes()), one("KEYS", b"*")]);
    }
    let replies = match both(redis, ours, &names, judge, rules)? {
        Ok(replies) => replies,
        Err(unequal) => return Ok(Some(unequal)),
    };
    for (db, reply) in DATABASES.iter().zip(replies.iter().skip(1).step_by(2)) {
        let keys: Vec<&[u8]> = reply.elements().unwrap_or_default().iter().filter_map(Value::bytes).collect();
        if keys.is_empty() {
            continue;
        }
        *keys_seen += keys.len() as u64;
        let mut asked = vec![one("SELECT", db.to_string().as_bytes())];
        asked.extend(keys.iter().flat_map(|key| [one("TYPE", key), one("PTTL", key)]));
        let kinds = match both(redis, ours, &asked, judge, rules)? {
            Ok(replies) => replies,
            Err(unequal) => return Ok(Some(unequal)),
        };
        let kinds = kinds.iter().skip(1).step_by(2).map(|kind| kind.bytes().unwrap_or_default());
        let asked: Vec<Words> = kinds.zip(keys).map(|(kind, key)| reading(kind, key)).collect();
        if let Err(unequal) = both(redis, ours, &asked, judge, rules)? {
            return Ok(Some(unequal));
        }
    }
    Ok(None)
}

/// Asks both; the replies of the reference if they are equal.
fn both(
    redis: &mut Link,
    ours: &mut Link,
    asked: &[Words],
    judge: &Judge,
    rules: &mut Rules,
) -> Result<std::result::Result<Vec<Value>, Unequal>> {
    let (theirs, ours) = (redis.ask_all(asked)?, ours.ask_all(asked)?);
    for ((words, theirs), ours) in asked.iter().zip(&theirs).zip(&ours) {
        if let Some(unequal) = unequal(words, theirs.clone(), ours.clone(), judge, rules) {
            return Ok(Err(unequal));
        }
    }
    Ok(Ok(theirs))
}

fn unequal(words: &Words, theirs: Value, ours: Value, judge: &Judge, rules: &mut Rules) -> Option<Unequal> {
    match judge.judge_reply(words, &theirs, &ours, rules) {
        Verdict::Differs(_) => {
            let asked =
                words.iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>().join(" ");
            Some(Unequal { asked, theirs, ours })
        }
        Verdict::Same | Verdict::Parted => None,
    }
}
