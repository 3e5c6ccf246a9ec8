//! Differences that are meant to be there, each with its name, and how often it was met.
//!
//! HyperCache answers as Redis 7.2, the reference here is a Redis 7.0; and it is a cluster, which Redis alone is not.
//! Every rule stands in `docs/compatibility.md` with its reason; what no rule explains fails the run.

use super::compare::Verdict;
use super::link::Words;
use super::value::Value;

/// An allowed difference.
pub(super) struct Rule {
    /// Its name in `docs/compatibility.md`.
    pub(super) name: &'static str,
    /// Whether both servers have different contents afterwards, so that the rest of the program cannot be compared.
    parts: bool,
    /// Whether it explains these two replies to a command.
    explains: fn(&Call<'_>) -> bool,
}

/// One command with both replies.
struct Call<'a> {
    words: &'a Words,
    /// The first word in capitals.
    name: Vec<u8>,
    theirs: &'a Value,
    ours: &'a Value,
}

impl Call<'_> {
    fn is_one_of(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.name == name.as_bytes())
    }

    fn is_subcommand(&self, name: &str, second: &str) -> bool {
        self.is_one_of(&[name])
            && self.words.get(1).is_some_and(|word| word.eq_ignore_ascii_case(second.as_bytes()))
    }

    fn ours_is_error(&self, texts: &[&str]) -> bool {
        self.ours.error().is_some_and(|error| texts.iter().any(|text| error.starts_with(text.as_bytes())))
    }

    fn theirs_is_error(&self, text: &str) -> bool {
        self.theirs.error().is_some_and(|error| error.starts_with(text.as_bytes()))
    }

    /// Both texts of an encoding.
    fn encodings(&self) -> Option<(&str, &str)> {
        if !self.is_subcommand("OBJECT", "ENCODING") {
            return None;
        }
        let text = |value: &'_ Value| std::str::from_utf8(value.bytes()?).ok().map(str::to_owned);
        let known = |name: String| ENCODINGS.iter().find(|known| **known == name).copied();
        Some((known(text(self.theirs)?)?, known(text(self.ours)?)?))
    }
}

const ENCODINGS: &[&str] = &[
    "int",
    "embstr",
    "raw",
    "listpack",
    "hashtable",
    "quicklist",
    "intset",
    "skiplist",
    "stream",
    "ziplist",
];

/// Rules that are found by looking closer, not from two replies.
fn by_hand(_: &Call<'_>) -> bool {
    false
}

/// All rules.
pub(super) const RULES: &[Rule] = &[
    Rule { name: "cross-slot", parts: true, explains: |call| call.ours_is_error(&["CROSSSLOT "]) },
    Rule { name: "transaction-keyspace", parts: true, explains: by_hand },
    Rule { name: "hyperloglog-estimate", parts: false, explains: by_hand },
    Rule { name: "stream-payload", parts: false, explains: by_hand },
    Rule {
        name: "expired-keys-counted",
        parts: false,
        explains: |call| {
            call.is_subcommand("MEMORY", "USAGE") && call.ours.is_null() && call.theirs.error().is_none()
        },
    },
    Rule {
        name: "set-listpack",
        parts: false,
        explains: |call| call.encodings() == Some(("hashtable", "listpack")),
    },
    Rule {
        name: "set-rebuilt",
        parts: false,
        explains: |call| matches!(call.encodings(), Some(("intset", "listpack" | "hashtable"))),
    },
    Rule {
        name: "list-listpack",
        parts: false,
        explains: |call| call.encodings() == Some(("quicklist", "listpack")),
    },
    Rule {
        name: "string-encoding",
        parts: false,
        explains: |call| matches!(call.encodings(), Some(("embstr" | "raw", "int" | "embstr" | "raw"))),
    },
    Rule {
        name: "object-refcount",
        parts: false,
        explains: |call| {
            call.is_subcommand("OBJECT", "REFCOUNT")
                && *call.theirs == Value::Integer(1)
                && *call.ours == Value::Integer(i64::from(i32::MAX))
        },
    },
    Rule {
        name: "bit-arguments",
        parts: false,
        explains: |call| {
            let early = ["ERR syntax error", "ERR value is not an integer", "ERR The bit argument must be"];
            let late = call.theirs.error().is_none_or(|text| text.starts_with(b"WRONGTYPE"));
            call.is_one_of(&["BITCOUNT", "BITPOS"]) && call.ours_is_error(&early) && late
        },
    },
    Rule {
        name: "error-text",
        parts: false,
        explains: |call| match (call.theirs.error(), call.ours.error()) {
            (Some(theirs), Some(ours)) => String::from_utf8_lossy(theirs).as_bytes() == up_to_nul(ours),
            _ => false,
        },
    },
    Rule {
        name: "hyperloglog-damaged",
        parts: false,
        explains: |call| call.is_subcommand("PFDEBUG", "DECODE") && call.ours_is_error(&["INVALIDOBJ "]),
    },
    Rule {
        name: "score-digits",
        parts: false,
        explains: |call| {
            (call.name.starts_with(b"Z") || call.name.starts_with(b"BZ"))
                && is_same_in_numbers(call.theirs, call.ours)
        },
    },
    Rule {
        name: "timeout-range",
        parts: false,
        explains: |call| {
            call.ours_is_error(&["ERR timeout is out of range"])
                && call.theirs_is_error("ERR timeout is negative")
        },
    },
    Rule {
        name: "lpos-rank",
        parts: false,
        explains: |call| {
            call.is_one_of(&["LPOS"])
                && call.ours_is_error(&["ERR value is out of range, value must between"])
        },
    },
    Rule {
        name: "zrank-withscore",
        parts: true,
        explains: |call| {
            call.is_one_of(&["ZRANK", "ZREVRANK"])
                && call.words.len() == 4
                && call.theirs_is_error("ERR wrong number of arguments")
        },
    },
    Rule {
        name: "getkeys-arity",
        parts: true,
        explains: |call| {
            call.is_one_of(&["COMMAND"])
                && call.words.len() == 3
                && call.theirs_is_error("ERR wrong number of arguments for 'command|getkeys")
        },
    },
    Rule {
        name: "xread-arguments",
        parts: false,
        explains: |call| {
            call.is_one_of(&["XREAD"])
                && call.words.iter().any(|word| word.eq_ignore_ascii_case(b"BLOCK"))
                && call.ours_is_error(&["ERR Invalid stream ID", "ERR The > ID"])
                && call.theirs_is_error("WRONGTYPE")
        },
    },
    Rule {
        name: "xread-unbalanced",
        parts: false,
        explains: |call| {
            call.ours_is_error(&["ERR Unbalanced 'xread"]) && call.theirs_is_error("ERR Unbalanced XREAD")
        },
    },
    Rule {
        name: "long-double",
        parts: true,
        explains: |call| {
            let beyond = ["ERR value is not a valid float", "ERR hash value is not a float"];
            let is_huge = call.words.iter().any(|word| word.ends_with(b"400"))
                || call.theirs.bytes().is_some_and(|sum| sum.len() > 300);
            call.is_one_of(&["INCRBYFLOAT", "HINCRBYFLOAT"])
                && (is_huge && call.ours_is_error(&beyond) || is_nearly(call.theirs, call.ours))
        },
    },
];

/// A text whose quoted words end at their first NUL.
fn up_to_nul(text: &[u8]) -> Vec<u8> {
    let mut is_cut = false;
    let kept = text.iter().filter(|byte| {
        is_cut = **byte == 0 || is_cut && **byte != b'\'';
        !is_cut
    });
    kept.copied().collect()
}

/// Whether both are the same where numbers may be written in more digits than they need.
pub(super) fn is_same_in_numbers(theirs: &Value, ours: &Value) -> bool {
    let number = |value: &Value| std::str::from_utf8(value.bytes()?).ok()?.parse::<f64>().ok();
    match (theirs.elements(), ours.elements()) {
        (Some(left), Some(right)) => {
            std::mem::discriminant(theirs) == std::mem::discriminant(ours)
                && left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| left == right || is_same_in_numbers(left, right))
        }
        _ => {
            theirs == ours
                || std::mem::discriminant(theirs) == std::mem::discriminant(ours)
                    && number(theirs).is_some_and(|left| Some(left) == number(ours))
        }
    }
}

/// Whether both are the same number but for the last digits of a double.
fn is_nearly(theirs: &Value, ours: &Value) -> bool {
    let number = |value: &Value| std::str::from_utf8(value.bytes()?).ok()?.parse::<f64>().ok();
    match (number(theirs), number(ours)) {
        (Some(theirs), Some(ours)) => (theirs - ours).abs() <= theirs.abs() * 1e-15,
        _ => false,
    }
}

/// Counts how often each rule was used.
#[derive(Clone)]
pub(super) struct Rules {
    counts: Vec<u64>,
}

impl Default for Rules {
    fn default() -> Rules {
        Rules { counts: vec![0; RULES.len()] }
    }
}

impl Rules {
    /// Whether a rule explains two different replies, and if so whether the servers have parted.
    pub(super) fn explain(&mut self, words: &Words, theirs: &Value, ours: &Value) -> Option<bool> {
        let name = words.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
        let call = Call { words, name, theirs, ours };
        let index = RULES.iter().position(|rule| (rule.explains)(&call))?;
        self.counts[index] += 1;
        Some(RULES[index].parts)
    }

    /// Counts a rule that was found by looking closer.
    pub(super) fn note(&mut self, name: &str) {
        let index = RULES.iter().position(|rule| rule.name == name).expect("rules are noted by their names");
        self.counts[index] += 1;
    }

    /// The same for one that leaves both servers in different states.
    pub(super) fn used_to_part(&mut self, name: &str) -> Verdict {
        self.note(name);
        Verdict::Parted
    }

    /// The rules that were used, with their counts.
    pub(super) fn used(&self) -> impl Iterator<Item = (&'static str, u64)> {
        RULES
            .iter()
            .zip(&self.counts)
            .filter(|(_, count)| **count > 0)
            .map(|(rule, count)| (rule.name, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = include_str!("../../../../docs/compatibility.md");

    #[test]
    fn every_rule_is_documented() {
        for rule in RULES {
            assert!(DOCUMENT.contains(&format!("| `{}` |", rule.name)), "{}", rule.name);
        }
    }
}
