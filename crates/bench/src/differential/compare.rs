//! Whether two replies are equal in the way that their command asks for.

use super::checks::{Check, check_of, groups};
use super::link::Words;
use super::rules::Rules;
use super::times::without_times;
use super::value::Value;

/// What a comparison says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Equal, or different in an allowed way.
    Same,
    /// Different in an allowed way that leaves both servers in different states.
    Parted,
    /// Different.
    Differs(String),
}

/// What is known while two servers run one program.
#[derive(Default)]
pub(super) struct Judge {
    /// How far apart both clocks may be, in milliseconds.
    pub(super) tolerance_ms: u64,
    /// The commands that wait for EXEC, for each connection.
    pub(super) queued: [Vec<Words>; super::servers::CONNECTIONS],
}

impl Judge {
    /// Compares the replies to one command and remembers what a transaction has queued.
    pub(super) fn judge(
        &mut self,
        words: &Words,
        connection: usize,
        theirs: &Value,
        ours: &Value,
        rules: &mut Rules,
    ) -> Verdict {
        let queued = std::mem::take(&mut self.queued[connection]);
        if *theirs == Value::Simple(b"QUEUED".to_vec()) {
            self.queued[connection] = queued;
            self.queued[connection].push(words.clone());
            return explained(words, Check::Exact, theirs, ours, theirs == ours, rules);
        }
        if check_of(words) == Check::Exec
            && let (Value::Array(theirs), Value::Array(ours)) = (theirs, ours)
            && theirs.len() == queued.len()
            && ours.len() == queued.len()
        {
            let verdict = self.judge_all(&queued, theirs, ours, rules);
            // Commands about all keys run after the others of their transaction.
            let spans = queued.iter().any(spans_databases);
            return if spans && verdict != Verdict::Same {
                rules.used_to_part("transaction-keyspace")
            } else {
                verdict
            };
        }
        // What fails inside a transaction does not end it.
        if theirs.error().is_some() && !ends_transaction(words) {
            self.queued[connection] = queued;
        }
        self.judge_reply(words, theirs, ours, rules)
    }

    fn judge_all(&self, queued: &[Words], theirs: &[Value], ours: &[Value], rules: &mut Rules) -> Verdict {
        let mut parted = false;
        for ((words, theirs), ours) in queued.iter().zip(theirs).zip(ours) {
            match self.judge_reply(words, theirs, ours, rules) {
                Verdict::Same => {}
                Verdict::Parted => parted = true,
                Verdict::Differs(why) => {
                    return Verdict::Differs(format!(
                        "inside EXEC, {}: {why}: {theirs} / {ours}",
                        words.first().map(|name| name.escape_ascii().to_string()).unwrap_or_default()
                    ));
                }
            }
            // What was taken at random cannot be made equal inside a transaction, nor an estimate that was noted.
            let check = check_of(words);
            let done = !theirs.is_null() && theirs.error().is_none();
            parted |= done && matches!(check, Check::Pop | Check::Estimate);
        }
        if parted { Verdict::Parted } else { Verdict::Same }
    }

    /// Compares the replies to one command by its check.
    pub(super) fn judge_reply(
        &self,
        words: &Words,
        theirs: &Value,
        ours: &Value,
        rules: &mut Rules,
    ) -> Verdict {
        let check = check_of(words);
        let same = theirs == ours || self.is_same(check, theirs, ours);
        explained(words, check, theirs, ours, same, rules)
    }

    fn is_same(&self, check: Check, theirs: &Value, ours: &Value) -> bool {
        // Null and error are exact for every check.
        if std::mem::discriminant(theirs) != std::mem::discriminant(ours) || theirs.error().is_some() {
            return false;
        }
        match check {
            Check::Exact | Check::Exec | Check::Estimate => false,
            Check::Unordered => sorted(theirs, 1) == sorted(ours, 1),
            Check::UnorderedPairs => sorted(theirs, 2) == sorted(ours, 2),
            Check::ButTimes => without_times(theirs) == without_times(ours),
            Check::Time { unit_ms } => is_near(theirs, ours, unit_ms, self.tolerance_ms),
            // Conversations are compared where they are held; inside transactions, where that cannot be, by their type.
            Check::Kind
            | Check::Random { .. }
            | Check::Pop
            | Check::Walk { .. }
            | Check::Dump
            | Check::Size => true,
        }
    }
}

fn explained(
    words: &Words,
    check: Check,
    theirs: &Value,
    ours: &Value,
    same: bool,
    rules: &mut Rules,
) -> Verdict {
    if same {
        return Verdict::Same;
    }
    match rules.explain(words, theirs, ours) {
        Some(parts) if parts => Verdict::Parted,
        Some(_) => Verdict::Same,
        None => Verdict::Differs(format!("{check:?}")),
    }
}

fn spans_databases(words: &Words) -> bool {
    let name = words.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    [&b"KEYS"[..], b"DBSIZE", b"RANDOMKEY", b"SCAN", b"FLUSHDB", b"FLUSHALL"].contains(&&name[..])
}

fn ends_transaction(words: &Words) -> bool {
    let name = words.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
    words.len() == 1 && (name == b"EXEC" || name == b"DISCARD")
}

/// The elements in groups, in an order that both sides share.
pub(super) fn sorted(value: &Value, group: usize) -> Vec<Vec<Value>> {
    let mut groups = groups(value, group);
    groups.sort();
    groups
}

fn is_near(theirs: &Value, ours: &Value, unit_ms: u64, tolerance_ms: u64) -> bool {
    let (Value::Integer(theirs), Value::Integer(ours)) = (theirs, ours) else { return false };
    // -1 and -2 say that there is no time to live or no key; seconds are rounded.
    *theirs >= 0 && *ours >= 0 && theirs.abs_diff(*ours) <= tolerance_ms / unit_ms + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Words {
        text.split(' ').map(|word| word.as_bytes().to_vec()).collect()
    }

    fn bulks(text: &str) -> Vec<Value> {
        words(text).into_iter().map(Value::Bulk).collect()
    }

    #[test]
    fn order_matters_only_where_it_is_promised() {
        let judge = Judge::default();
        let mut rules = Rules::default();
        let mut same = |command: &str, theirs: Value, ours: Value| {
            judge.judge_reply(&words(command), &theirs, &ours, &mut rules) == Verdict::Same
        };
        let array = |text| Value::Array(bulks(text));
        assert!(same("SMEMBERS k", array("a b"), array("b a")));
        assert!(!same("SMEMBERS k", array("a b"), Value::Set(bulks("b a"))));
        assert!(!same("SMEMBERS k", array("a b"), array("b b")));
        assert!(!same("LRANGE k 0 -1", array("a b"), array("b a")));
        assert!(same("HGETALL k", array("a 1 b 2"), array("b 2 a 1")));
        assert!(!same("HGETALL k", array("a 1 b 2"), array("b 1 a 2")));
        assert!(same("PTTL k", Value::Integer(5), Value::Integer(6)));
        assert!(!same("PTTL k", Value::Integer(5), Value::Integer(7)));
        assert!(!same("PTTL k", Value::Integer(-1), Value::Integer(0)));
        assert!(!same("GET k", Value::NullBulk, Value::Null));
    }

    #[test]
    fn a_transaction_is_compared_command_by_command() {
        let (mut judge, mut rules) = (Judge::default(), Rules::default());
        let queued = Value::Simple(b"QUEUED".to_vec());
        for command in ["SMEMBERS k", "GET k"] {
            judge.judge(&words(command), 0, &queued, &queued, &mut rules);
        }
        let reply = |set: &str, value: &str| {
            Value::Array(vec![Value::Array(bulks(set)), Value::Bulk(value.as_bytes().to_vec())])
        };
        let mut again = Judge { queued: judge.queued.clone(), ..Judge::default() };
        let exec = words("exec");
        let verdict = judge.judge(&exec, 0, &reply("a b", "x"), &reply("b a", "x"), &mut rules);
        assert_eq!(verdict, Verdict::Same);
        let verdict = again.judge(&exec, 0, &reply("a b", "x"), &reply("b a", "y"), &mut rules);
        assert!(matches!(verdict, Verdict::Differs(_)));
        assert!(judge.queued[0].is_empty());
    }
}
