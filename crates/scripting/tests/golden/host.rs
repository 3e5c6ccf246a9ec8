//! A host with a map: the few commands that the scripts call, with the replies of Redis.

use protocol::Value;
use scripting::{Host, Level, Refusal, Tick};
use std::collections::{BTreeMap, BTreeSet};

const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";

enum Content {
    Text(Vec<u8>),
    List(Vec<Vec<u8>>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
    Set(BTreeSet<Vec<u8>>),
    Sorted(BTreeMap<Vec<u8>, f64>),
}

/// Keys and values in memory.
#[derive(Default)]
pub(crate) struct MemoryHost {
    keys: BTreeMap<Vec<u8>, Content>,
    /// What scripts have logged.
    pub(crate) logged: Vec<(Level, Vec<u8>)>,
    /// Writes are refused.
    pub(crate) is_read_only: bool,
    /// After as many questions the script is killed.
    pub(crate) ticks_max: Option<u32>,
    ticks: u32,
}

/// Name, smallest number of words, whether more may follow, whether it writes.
const COMMANDS: [(&str, usize, bool, bool); 19] = [
    ("ping", 1, true, false),
    ("echo", 2, false, false),
    ("get", 2, false, false),
    ("set", 3, true, true),
    ("append", 3, false, true),
    ("del", 2, true, true),
    ("exists", 2, true, false),
    ("incr", 2, false, true),
    ("mget", 2, true, false),
    ("lpush", 3, true, true),
    ("rpush", 3, true, true),
    ("lrange", 4, false, false),
    ("hset", 4, true, true),
    ("hgetall", 2, false, false),
    ("sadd", 3, true, true),
    ("smembers", 2, false, false),
    ("zadd", 4, false, true),
    ("zscore", 3, false, false),
    ("sismember", 3, false, false),
];

const NOT_FROM_SCRIPT: [&str; 4] = ["blpop", "subscribe", "eval", "multi"];

impl Host for MemoryHost {
    fn call(&mut self, words: &[&[u8]], resp3: bool) -> Value {
        let name = String::from_utf8_lossy(words[0]).to_ascii_lowercase();
        if NOT_FROM_SCRIPT.contains(&name.as_str()) {
            return Refusal::NotFromScript.into();
        }
        let Some((_, least, is_open, writes)) = COMMANDS.iter().find(|(known, ..)| *known == name) else {
            return Refusal::UnknownCommand.into();
        };
        if words.len() < *least || (words.len() > *least && !is_open) {
            return Refusal::WrongArity.into();
        }
        if *writes && self.is_read_only {
            return Refusal::ReadOnlyScript.into();
        }
        let result =
            if *writes { self.write(&name, &words[1..]) } else { self.read(&name, &words[1..], resp3) };
        result.unwrap_or_else(|text| Value::Error(text.as_bytes().to_vec()))
    }

    fn acl_check(&mut self, words: &[&[u8]]) -> Option<bool> {
        let name = String::from_utf8_lossy(words[0]).to_ascii_lowercase();
        COMMANDS.iter().any(|(known, ..)| *known == name).then_some(true)
    }

    fn log(&mut self, level: Level, text: &[u8]) {
        self.logged.push((level, text.to_vec()));
    }

    fn tick(&mut self) -> Tick {
        self.ticks += 1;
        match self.ticks_max {
            Some(max) if self.ticks > max => Tick::Kill,
            _ => Tick::Continue,
        }
    }
}

impl MemoryHost {
    fn read(&mut self, name: &str, words: &[&[u8]], resp3: bool) -> Result<Value, &'static str> {
        let null = if resp3 { Value::Null } else { Value::NullArray };
        Ok(match name {
            "ping" => Value::Simple(b"PONG".to_vec()),
            "echo" => Value::bulk(words[0]),
            "get" => match self.keys.get(words[0]) {
                None => Value::Null,
                Some(Content::Text(text)) => Value::bulk(text.clone()),
                Some(_) => return Err(WRONG_TYPE),
            },
            "exists" => {
                Value::Integer(words.iter().filter(|key| self.keys.contains_key(**key)).count() as i64)
            }
            "mget" => Value::Array(
                words
                    .iter()
                    .map(|key| match self.keys.get(*key) {
                        Some(Content::Text(text)) => Value::bulk(text.clone()),
                        _ => null.clone(),
                    })
                    .collect(),
            ),
            "lrange" => match self.keys.get(words[0]) {
                None => Value::Array(Vec::new()),
                Some(Content::List(items)) => {
                    Value::Array(items.iter().map(|item| Value::bulk(item.clone())).collect())
                }
                Some(_) => return Err(WRONG_TYPE),
            },
            "hgetall" => match self.keys.get(words[0]) {
                None => Value::Map(Vec::new()),
                Some(Content::Hash(fields)) => Value::Map(
                    fields.iter().map(|(k, v)| (Value::bulk(k.clone()), Value::bulk(v.clone()))).collect(),
                ),
                Some(_) => return Err(WRONG_TYPE),
            },
            "smembers" => match self.keys.get(words[0]) {
                None => Value::Set(Vec::new()),
                Some(Content::Set(members)) => {
                    Value::Set(members.iter().map(|member| Value::bulk(member.clone())).collect())
                }
                Some(_) => return Err(WRONG_TYPE),
            },
            "zscore" => match self.keys.get(words[0]) {
                Some(Content::Sorted(members)) => {
                    members.get(words[1]).map_or(Value::Null, |s| Value::Double(*s))
                }
                None => Value::Null,
                Some(_) => return Err(WRONG_TYPE),
            },
            "sismember" => match self.keys.get(words[0]) {
                Some(Content::Set(members)) => Value::Integer(i64::from(members.contains(words[1]))),
                None => Value::Integer(0),
                Some(_) => return Err(WRONG_TYPE),
            },
            other => unreachable!("{other} is not in the table"),
        })
    }

    fn write(&mut self, name: &str, words: &[&[u8]]) -> Result<Value, &'static str> {
        if name == "del" {
            return Ok(Value::Integer(
                words.iter().filter(|key| self.keys.remove(**key).is_some()).count() as i64
            ));
        }
        if name == "set" {
            self.keys.insert(words[0].to_vec(), Content::Text(words[1].to_vec()));
            return Ok(Value::Simple(b"OK".to_vec()));
        }
        let content = self.keys.entry(words[0].to_vec()).or_insert_with(|| match name {
            "incr" => Content::Text(b"0".to_vec()),
            "append" => Content::Text(Vec::new()),
            "hset" => Content::Hash(BTreeMap::new()),
            "sadd" => Content::Set(BTreeSet::new()),
            "zadd" => Content::Sorted(BTreeMap::new()),
            _ => Content::List(Vec::new()),
        });
        let count = match (name, content) {
            ("incr", Content::Text(text)) => {
                let number =
                    protocol::parse_i64(text).ok_or("ERR value is not an integer or out of range")? + 1;
                *text = number.to_string().into_bytes();
                number
            }
            ("append", Content::Text(text)) => {
                text.extend_from_slice(words[1]);
                text.len() as i64
            }
            ("lpush", Content::List(items)) => {
                words[1..].iter().for_each(|word| items.insert(0, word.to_vec()));
                items.len() as i64
            }
            ("rpush", Content::List(items)) => {
                items.extend(words[1..].iter().map(|word| word.to_vec()));
                items.len() as i64
            }
            ("hset", Content::Hash(fields)) => words[1..]
                .chunks_exact(2)
                .filter(|pair| fields.insert(pair[0].to_vec(), pair[1].to_vec()).is_none())
                .count() as i64,
            ("sadd", Content::Set(members)) => {
                words[1..].iter().filter(|word| members.insert(word.to_vec())).count() as i64
            }
            ("zadd", Content::Sorted(members)) => {
                let score = protocol::parse_f64(words[1]).ok_or("ERR value is not a valid float")?;
                i64::from(members.insert(words[2].to_vec(), score).is_none())
            }
            _ => return Err(WRONG_TYPE),
        };
        Ok(Value::Integer(count))
    }
}
