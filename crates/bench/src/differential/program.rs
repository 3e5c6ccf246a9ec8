//! Random programs: what is sent to all servers, the same for the same seed.
//!
//! All keys of a program begin with one hash tag, so that they share a primary in a cluster; some programs have no tag and their
//! keys lie anywhere. Commands come from the table of families, some with a slip of a careless
//! client: a word too many or too few, an odd number, another case. Between them stand transactions, other databases, and
//! keys whose time is over.

use super::families::{APART, EVERYWHERE, FAMILIES, Family, WAITING};
use super::grammar::expand;
use super::link::Words;
use super::vocabulary::{DATABASES, Vocabulary, odd};
use stdx::Random;

const LENGTH_MIN: u64 = 30;
const LENGTH_MAX: u64 = 220;
const FAMILIES_MAX: u64 = 3;
const BLOCK_LINES_MAX: u64 = 6;
/// How long a key with a time to live of a millisecond is waited for.
const EXPIRY_PAUSE_MS: u64 = 4;

/// One command of a program.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// What is sent.
    pub(super) words: Words,
    /// Over which connection.
    pub(super) connection: usize,
    /// How long everything rests afterwards.
    pub(super) pause_ms: u64,
    /// Opens or closes a transaction: cannot be left out alone.
    pub(super) is_edge: bool,
}

/// A whole program.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// What it was made from.
    pub(super) seed: u64,
    /// 2 or 3.
    pub(super) protocol: u8,
    /// The commands in their order.
    pub(super) lines: Vec<Line>,
}

/// Makes the program of a seed from some of the families; of all if none is named.
pub(super) fn generate(seed: u64, names: &[String]) -> Program {
    let mut random = Random::seeded(seed);
    let wanted: Vec<&Family> = FAMILIES
        .iter()
        .filter(|family| names.is_empty() || names.iter().any(|name| name == family.name))
        .collect();
    let mut families: Vec<&Family> = (0..1 + random.below(FAMILIES_MAX))
        .map(|_| wanted[random.below(wanted.len() as u64) as usize])
        .collect();
    let own = families.len();
    families.extend(FAMILIES.iter().filter(|family| family.name == EVERYWHERE));
    let is_tagged = random.chance(0.75);
    let tag = if is_tagged { format!("{{p{}}}", random.below(1_000_000)) } else { String::new() };
    let vocabulary = Vocabulary {
        tag: tag.into_bytes(),
        families: families.iter().map(|family| family.name).filter(|name| !APART.contains(name)).collect(),
        has_big_values: random.chance(0.03),
    };
    let protocol = if random.chance(0.5) { 2 } else { 3 };
    let length = LENGTH_MIN + random.below(LENGTH_MAX - LENGTH_MIN);
    let mut maker = Maker { random, vocabulary, families, own, lines: Vec::new() };
    while (maker.lines.len() as u64) < length {
        maker.add_next();
    }
    Program { seed, protocol, lines: maker.lines }
}

struct Maker {
    random: Random,
    vocabulary: Vocabulary,
    families: Vec<&'static Family>,
    /// How many of the families the program is about.
    own: usize,
    lines: Vec<Line>,
}

impl Maker {
    fn add_next(&mut self) {
        match self.random.below(200) {
            0..4 => self.add_transaction(),
            4 => self.add_expiry(),
            5..7 => self.add_select(),
            7 => self.add_misplaced(),
            8 => self.add_command(1),
            _ => self.add_command(0),
        }
    }

    fn push(&mut self, words: Words, connection: usize) {
        self.lines.push(Line { words, connection, pause_ms: 0, is_edge: false });
    }

    fn push_edge(&mut self, name: &str) {
        self.push(vec![name.as_bytes().to_vec()], 0);
        if let Some(line) = self.lines.last_mut() {
            line.is_edge = true;
        }
    }

    fn add_command(&mut self, connection: usize) {
        let words = self.command();
        for consumer in consumers_of(&words) {
            self.push(consumer, connection);
        }
        self.push(words, connection);
    }

    /// A command of one of the families, now and then with a slip.
    fn command(&mut self) -> Words {
        loop {
            let which = if self.random.chance(0.2) { self.families.len() } else { self.own };
            let family = self.families[self.random.below(which as u64) as usize];
            let shape = family.shapes[self.random.below(family.shapes.len() as u64) as usize];
            let mut words = expand(shape, family.name, &self.vocabulary, &mut self.random);
            // The table that LCS fills has the product of both lengths.
            if self.vocabulary.has_big_values && words[0] == b"LCS" {
                continue;
            }
            // A flush ends what a program has come to.
            if words[0] == b"FLUSHDB" && self.random.chance(0.8) {
                continue;
            }
            let waits = WAITING.iter().any(|name| name.as_bytes() == words[0]);
            if self.random.chance(0.04) && !waits {
                self.slip(&mut words);
            }
            return words;
        }
    }

    fn slip(&mut self, words: &mut Words) {
        let at = self.random.below(words.len() as u64) as usize;
        match self.random.below(6) {
            0 if words.len() > 1 => drop(words.pop()),
            1 => {
                let mut word = if self.random.chance(0.5) { self.vocabulary.tag.clone() } else { Vec::new() };
                word.extend(odd(&mut self.random));
                words.push(word);
            }
            2 => words.insert(at, words[at].clone()),
            3 if at > 0 && !self.is_key(&words[at]) => words[at] = odd(&mut self.random),
            _ => {
                for word in
                    words.iter_mut().filter(|word| !word.starts_with(&self.vocabulary.tag) || word.len() > 64)
                {
                    word.make_ascii_lowercase();
                }
                words[0].make_ascii_lowercase();
            }
        }
    }

    fn is_key(&self, word: &[u8]) -> bool {
        !self.vocabulary.tag.is_empty() && word.starts_with(&self.vocabulary.tag)
    }

    fn add_transaction(&mut self) {
        let watches = self.random.chance(0.5);
        if watches {
            let words = self.shaped("WATCH { %j }");
            self.push(words, 0);
            if self.random.chance(0.6) {
                let connection = usize::from(self.random.chance(0.6));
                self.add_command(connection);
                // With us a flush touches watched keys that were not there, too.
                let is_flush = |line: &Line| line.words[0].eq_ignore_ascii_case(b"FLUSHDB");
                if self.lines.last().is_some_and(is_flush) {
                    self.lines.pop();
                }
            }
        }
        self.push_edge("MULTI");
        for _ in 0..self.random.below(BLOCK_LINES_MAX) {
            let shape = match self.random.below(30) {
                0 => "MULTI",
                1 => "WATCH %j",
                2 => "UNWATCH",
                3 => "SELECT %d",
                _ => {
                    self.add_command(0);
                    continue;
                }
            };
            let words = self.shaped(shape);
            self.push(words, 0);
        }
        let end = if self.random.chance(0.85) { "EXEC" } else { "DISCARD" };
        self.push_edge(end);
        if watches && self.random.chance(0.2) {
            let words = self.shaped("UNWATCH");
            self.push(words, 0);
        }
    }

    /// A key whose time is over at once, and a rest until every server must see it.
    fn add_expiry(&mut self) {
        let shapes = ["PEXPIRE %j 1", "PSETEX %j 1 %v", "SET %j %v PX 1"];
        let shape = shapes[self.random.below(shapes.len() as u64) as usize];
        let words = self.shaped(shape);
        self.push(words, 0);
        if let Some(line) = self.lines.last_mut() {
            line.pause_ms = EXPIRY_PAUSE_MS;
        }
    }

    fn add_select(&mut self) {
        let words = self.shaped("SELECT %d");
        self.push(words, 0);
        // Most commands are to meet the keys of the others.
        if self.random.chance(0.7) {
            self.add_command(0);
            self.push(vec![b"SELECT".to_vec(), DATABASES[0].to_string().into_bytes()], 0);
        }
    }

    fn add_misplaced(&mut self) {
        let shapes = ["EXEC", "DISCARD", "UNWATCH", "EXEC %z", "MULTI %z", "WATCH"];
        let shape = shapes[self.random.below(shapes.len() as u64) as usize];
        let words = self.shaped(shape);
        self.push(words, 0);
    }

    fn shaped(&mut self, shape: &str) -> Words {
        expand(shape, EVERYWHERE, &self.vocabulary, &mut self.random)
    }
}

/// Makes the consumers of a command explicitly: Redis 7.0 makes one when it gets something, Redis 7.2 in any case.
fn consumers_of(words: &Words) -> Vec<Words> {
    let make = |key: &Vec<u8>, group: &Vec<u8>, consumer: &Vec<u8>| {
        let mut create: Words = vec![b"XGROUP".to_vec(), b"CREATECONSUMER".to_vec()];
        create.extend([key, group, consumer].map(Clone::clone));
        create
    };
    match (words.first().map(|name| name.to_ascii_uppercase()).as_deref(), words.get(1..4)) {
        (Some(b"XCLAIM" | b"XAUTOCLAIM"), Some([key, group, consumer])) => vec![make(key, group, consumer)],
        (Some(b"XREADGROUP"), Some([_, group, consumer])) => {
            let streams = words.iter().position(|word| word == b"STREAMS").map_or(words.len(), |at| at + 1);
            let keys = words[streams..].iter().take((words.len() - streams) / 2);
            keys.map(|key| make(key, group, consumer)).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_a_tag_is_kept() {
        for seed in 0..50 {
            let (program, again) = (generate(seed, &[]), generate(seed, &[]));
            assert_eq!(format!("{program:?}"), format!("{again:?}"));
            assert!(program.lines.len() as u64 >= LENGTH_MIN);
            let edges = program.lines.iter().filter(|line| line.is_edge).count();
            assert!(edges.is_multiple_of(2), "transactions end");
        }
    }
}
