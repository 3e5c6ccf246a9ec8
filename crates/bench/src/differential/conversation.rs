//! Commands whose reply alone cannot be compared: what is random is checked for being possible, walks are walked to their
//! ends, and payloads are given to the other server.

use super::checks::{Check, Probe, groups};
use super::compare::{Judge, Verdict};
use super::link::{Link, Words};
use super::payload::as_version_10;
use super::rules::{Rules, is_same_in_numbers};
use super::state::compare_key;
use super::value::Value;
use crate::Result;

/// The type of a stream in payloads since Redis 7.2.
const STREAM_OF_7_2: u8 = 21;
const STEPS_MAX: usize = 100_000;

/// Both servers and what they answered to the command that began it.
pub(super) struct Conversation<'a> {
    /// The command.
    pub(super) words: &'a Words,
    /// The reference.
    pub(super) redis: &'a mut Link,
    /// Its reply.
    pub(super) theirs: &'a Value,
    /// What is compared.
    pub(super) link: &'a mut Link,
    /// Its reply.
    pub(super) ours: &'a Value,
}

impl Conversation<'_> {
    /// Finds out whether both replies are right, and makes both servers equal again.
    ///
    /// # Errors
    /// Those of the connections.
    pub(super) fn hold(&mut self, check: Check, judge: &Judge, rules: &mut Rules) -> Result<Verdict> {
        match check {
            Check::Estimate => return self.estimate(judge, rules),
            Check::Size => return self.size(judge, rules),
            _ => {}
        }
        // Null, errors and numbers leave nothing to find out.
        let plain = self.theirs.elements().is_none() && !matches!(self.theirs, Value::Bulk(_));
        if plain || std::mem::discriminant(self.theirs) != std::mem::discriminant(self.ours) {
            return Ok(judge.judge_reply(self.words, self.theirs, self.ours, rules));
        }
        let finding = match check {
            Check::Random { probe } => self.random(probe, judge, rules)?,
            Check::Pop => self.pop()?,
            Check::Walk { cursor, group } => self.walk(cursor, group, rules)?,
            Check::Dump => self.dump(judge, rules)?,
            _ => None,
        };
        Ok(finding.map_or(Verdict::Same, Verdict::Differs))
    }

    /// redis-server notes the estimate in bytes 8 to 15 of the sketch, as does every reader of it afterwards.
    fn estimate(&mut self, judge: &Judge, rules: &mut Rules) -> Result<Verdict> {
        let verdict = judge.judge_reply(self.words, self.theirs, self.ours, rules);
        let Some(key) = self.words.get(1).filter(|_| verdict == Verdict::Same) else { return Ok(verdict) };
        if self.theirs.error().is_some() {
            return Ok(verdict);
        }
        let asked: Words = [b"GETRANGE", &key[..], b"8", b"15"].map(<[u8]>::to_vec).to_vec();
        let (theirs, ours) = (self.redis.ask(&asked)?, self.link.ask(&asked)?);
        if let Value::Bulk(noted) = &theirs
            && theirs != ours
        {
            rules.note("hyperloglog-estimate");
            self.link.ask(&[b"SETRANGE", &key[..], b"8", noted])?;
        }
        Ok(verdict)
    }

    fn size(&mut self, judge: &Judge, rules: &mut Rules) -> Result<Verdict> {
        if self.theirs == self.ours {
            return Ok(Verdict::Same);
        }
        let asked = Probe::Keys.words(None);
        let (theirs, ours) = (self.redis.ask(&asked)?, self.link.ask(&asked)?);
        if judge.judge_reply(&asked, &theirs, &ours, rules) == Verdict::Same {
            rules.note("expired-keys-counted");
            return Ok(Verdict::Same);
        }
        Ok(Verdict::Differs(format!("keys: {theirs} / {ours}")))
    }

    fn random(&mut self, probe: Probe, judge: &Judge, rules: &mut Rules) -> Result<Option<String>> {
        let asked = probe.words(self.words.get(1));
        let all = [self.redis.ask(&asked)?, self.link.ask(&asked)?];
        if judge.judge_reply(&asked, &all[0], &all[1], rules) != Verdict::Same {
            return Ok(Some(format!("before it: {} / {}", all[0], all[1])));
        }
        let has_values = self.words.len() > 3;
        let all = groups(&all[1], probe.group());
        let taken = groups(self.ours, if has_values { probe.group() } else { 1 });
        if taken.len() != groups(self.theirs, if has_values { probe.group() } else { 1 }).len() {
            return Ok(Some("another number of elements".to_owned()));
        }
        let known = |element: &Vec<Value>| all.iter().any(|group| group.starts_with(element));
        if !taken.iter().all(known) {
            return Ok(Some("elements that are not there".to_owned()));
        }
        let distinct = self.words.get(2).is_some_and(|count| !count.starts_with(b"-"));
        Ok((distinct && has_repetition(&taken)).then(|| "the same element twice".to_owned()))
    }

    fn pop(&mut self) -> Result<Option<String>> {
        let key = self.words.get(1).cloned().unwrap_or_default();
        let asked = vec![b"SMEMBERS".to_vec(), key.clone()];
        let rest = [self.redis.ask(&asked)?, self.link.ask(&asked)?];
        let taken = [groups(self.theirs, 1), groups(self.ours, 1)];
        let before = [0, 1].map(|side| {
            let mut all = [taken[side].clone(), groups(&rest[side], 1)].concat();
            all.sort();
            all
        });
        if before[0] != before[1] || taken[0].len() != taken[1].len() {
            let shown = format!("taken and left: {} {} / {} {}", self.theirs, rest[0], self.ours, rest[1]);
            return Ok(Some(shown));
        }
        if groups(&rest[0], 1).is_empty() || taken[0].is_empty() {
            return Ok(None);
        }
        // The same members as in the reference: first all of them are back, so that the key never goes.
        for (name, members) in [("SADD", &taken[1]), ("SREM", &taken[0])] {
            let mut command = vec![name.as_bytes().to_vec(), key.clone()];
            command.extend(members.iter().flatten().filter_map(|member| member.bytes().map(<[u8]>::to_vec)));
            let reply = self.link.ask(&command)?;
            if reply != Value::Integer(taken[0].len() as i64) {
                return Ok(Some(format!("{name} afterwards: {reply}")));
            }
        }
        Ok(None)
    }

    fn walk(&mut self, cursor: usize, group: usize, rules: &mut Rules) -> Result<Option<String>> {
        if self.words.get(cursor).is_none_or(|cursor| cursor != b"0") {
            return Ok(None);
        }
        let theirs = walk_from(self.redis, self.words, self.theirs, cursor, group)?;
        let ours = walk_from(self.link, self.words, self.ours, cursor, group)?;
        Ok(match (theirs, ours) {
            (Ok(theirs), Ok(ours)) if theirs == ours => None,
            (Ok(theirs), Ok(ours)) if self.is_over_scores() && are_same_in_numbers(&theirs, &ours) => {
                rules.note("score-digits");
                None
            }
            (Ok(theirs), Ok(ours)) => Some(format!("walked: {theirs:?} / {ours:?}")),
            (Err(reply), _) | (_, Err(reply)) => Some(format!("a walk ends with {reply}")),
        })
    }

    fn is_over_scores(&self) -> bool {
        self.words.first().is_some_and(|name| name.eq_ignore_ascii_case(b"ZSCAN"))
    }

    fn dump(&mut self, judge: &Judge, rules: &mut Rules) -> Result<Option<String>> {
        let (Value::Bulk(theirs), Value::Bulk(ours)) = (self.theirs, self.ours) else { return Ok(None) };
        let mut copy = self.words.get(1).cloned().unwrap_or_default();
        copy.extend_from_slice(b"~copy");
        let restore = |payload: &[u8]| -> Words {
            [b"RESTORE", &copy[..], b"0", payload, b"REPLACE"].map(<[u8]>::to_vec).to_vec()
        };
        let ok = Value::Simple(b"OK".to_vec());
        // Redis 7.0 does not know the form in which Redis 7.2 writes streams: there the original must do.
        let is_newer = ours.first() == Some(&STREAM_OF_7_2);
        let mut original = self.words.get(1).cloned().unwrap_or_default();
        if is_newer {
            rules.note("stream-payload");
        } else {
            let reply = self.redis.ask(&restore(&as_version_10(ours)))?;
            if reply != ok {
                return Ok(Some(format!("our payload: {reply}")));
            }
            original.clone_from(&copy);
        }
        let reply = self.link.ask(&restore(theirs))?;
        if reply != ok {
            return Ok(Some(format!("their payload: {reply}")));
        }
        let unequal = compare_key((self.redis, &original), (self.link, &copy), judge, rules)?;
        let delete: Words = vec![b"DEL".to_vec(), copy.clone()];
        self.redis.ask(&delete)?;
        self.link.ask(&delete)?;
        Ok(unequal.map(|found| format!("restored, {}: {} / {}", found.asked, found.theirs, found.ours)))
    }
}

/// Whether these walks over sorted sets have found the same members and scores.
fn are_same_in_numbers(theirs: &[Vec<Value>], ours: &[Vec<Value>]) -> bool {
    let array = |groups: &[Vec<Value>]| Value::Array(groups.iter().cloned().map(Value::Array).collect());
    is_same_in_numbers(&array(theirs), &array(ours))
}

fn has_repetition(elements: &[Vec<Value>]) -> bool {
    let mut sorted: Vec<_> = elements.iter().filter_map(|element| element.first()).collect();
    sorted.sort();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

/// All elements of a walk, each once; the reply that is none if there is one.
fn walk_from(
    link: &mut Link,
    words: &Words,
    first: &Value,
    cursor: usize,
    group: usize,
) -> Result<std::result::Result<Vec<Vec<Value>>, Value>> {
    let (mut reply, mut words, mut found) = (first.clone(), words.clone(), Vec::new());
    for _ in 0..STEPS_MAX {
        let Some([Value::Bulk(next), elements]) = reply.elements() else { return Ok(Err(reply)) };
        found.extend(groups(elements, group));
        if next == b"0" {
            found.sort();
            found.dedup();
            return Ok(Ok(found));
        }
        words[cursor].clone_from(next);
        reply = link.ask(&words)?;
    }
    Ok(Err(reply))
}
