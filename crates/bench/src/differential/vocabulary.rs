//! The words that programs are made of: keys under one hash tag, values, and numbers of which many are odd.
//!
//! Numbers keep away from what would make a run depend on time or on memory: a time to live is either far away or over,
//! and no count asks for millions of elements. What is odd about the others, the servers must see for themselves.

use stdx::Random;

/// Keys of each family.
const KEYS: u64 = 5;
/// One key in so many belongs to another family of the program, so that types clash.
const FOREIGN_KEY_EVERY: u64 = 9;
/// Bytes of the values that are now and then big.
const BIG_BYTES: usize = 70_000;

/// Databases that programs use.
pub(super) const DATABASES: [u8; 4] = [0, 1, 2, 15];

/// Words that are no number, or one that parsers disagree about.
pub(super) const ODD: &[&str] = &[
    "",
    " ",
    "abc",
    " 1",
    "1 ",
    "+1",
    "-0",
    "0x10",
    "1.5",
    "-1.5",
    "1e400",
    "-1e400",
    "1e-400",
    "3.0e3",
    "nan",
    "inf",
    "-inf",
    "+inf",
    "infinity",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "\0",
    "(1",
    "[a",
    "*",
];

const MEMBERS: &[&str] = &[
    "",
    "a",
    "b",
    "c",
    "d",
    "e",
    "field",
    "f1",
    "f2",
    "f3",
    "1",
    "2",
    "3",
    "-7",
    "10",
    "255",
    "40000",
    "70000",
    "5000000000",
    "01",
    "1.5",
    "\0\u{1}",
];
const VALUES: &[&str] = &[
    "",
    "a",
    "abc",
    "abcabc",
    "0",
    "1",
    "10",
    "-3",
    "3.5",
    "-0.25",
    "007",
    "1e3",
    "9223372036854775806",
    "9223372036854775807",
    "-9223372036854775808",
    " 1",
    "foobar",
    "\0\u{1}\r\n",
];
const SCORES: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "-1",
    "1.5",
    "-2.25",
    "3.14159",
    "1e10",
    "1e-5",
    "inf",
    "-inf",
    "17976931348623157",
    "0.1",
];
const LEXICAL_BOUNDS: &[&str] =
    &["-", "+", "[a", "(a", "[b", "(c", "[f", "[", "(", "[f2", "(m1", "[m2", "a", "", "-inf", "[5", "[\0"];
/// Moments, and what is none.
const TIMEOUTS: &[&str] = &[
    "0.001",
    "0.005",
    "0.01",
    "1e-3",
    ".002",
    "-1",
    "abc",
    "",
    "inf",
    "nan",
    "1e400",
    "-0.5",
    "99999999999999999999",
];
const ENTRIES: &[&str] = &[
    "1-1",
    "1-2",
    "2-1",
    "3-1",
    "3-5",
    "5-0",
    "5-1",
    "5-2",
    "6",
    "7-0",
    "7-1",
    "8-0",
    "9-0",
    "9-1",
    "10-0",
    "11-0",
    "12-0",
    "20-0",
    "0-0",
    "0",
    "0-1",
    "18446744073709551615-18446744073709551615",
    "18446744073709551616-1",
    "1-x",
    "abc",
    "-",
    "",
    "1-1-1",
];
const ENTRY_BOUNDS: &[&str] =
    &["-", "+", "-", "+", "1-1", "3", "5-1", "(5-1", "(3", "9", "12-0", "(0-0", "(-", "x", "(+", "0"];
const PLACES: &[&str] = &[
    "13.361389 38.115556",
    "15.087269 37.502669",
    "2.3522 48.8566",
    "-122.4194 37.7749",
    "0 0",
    "179.9 80",
    "-179.9 -80",
    "180 85.05112878",
    "-180 -85.05112878",
    "181 0",
    "0 86",
    "13.4 38.2",
    "13.3 38.0",
    "1e2 1e1",
    "abc 1",
    "nan 1",
];
const RADII: &[&str] = &[
    "100 km",
    "200 km",
    "10 m",
    "5000 km",
    "300 mi",
    "1000000 ft",
    "0 m",
    "-1 m",
    "20000 KM",
    "abc m",
    "1 x",
    "1e6 m",
    "inf m",
    "0.5 km",
];
const PATTERNS: &[&str] = &["*", "*a*", "?", "f*", "*[0-9]", "[^a]*", "\\*", "", "a", "**b", "[a-", "*{*"];
const SECONDS: &[&str] =
    &["100", "1000", "100000", "0", "-1", "-100", "9223372036854775", "9223372036854775807", "9223372036854"];
const MILLISECONDS: &[&str] =
    &["100000", "100500", "1000000", "0", "-1", "-5000", "9223372036854775807", "9000000000000000000"];
/// In the past, in the year 2100, and beyond all times.
const AT_SECONDS: &[&str] =
    &["4102444800", "4102444801", "1", "0", "-1", "1000000000", "9223372036854775807"];
const AT_MILLISECONDS: &[&str] =
    &["4102444800123", "4102444801999", "1", "0", "-1", "1000000000000", "9223372036854775807"];
const BIT_TYPES: &[&str] =
    &["u1", "u8", "i8", "i16", "u63", "i64", "u64", "i65", "u0", "i5", "U8", "8", "x3"];
const DATABASE_WORDS: &[&str] = &["0", "1", "2", "15", "0", "1", "16", "-1", "x", ""];

/// Makes the words of one program.
pub(super) struct Vocabulary {
    /// Begins every key.
    pub(super) tag: Vec<u8>,
    /// The families whose keys all may use.
    pub(super) families: Vec<&'static str>,
    /// Whether values are big now and then.
    pub(super) has_big_values: bool,
}

impl Vocabulary {
    /// The words that a placeholder such as `%g` stands for: most stand for one.
    pub(super) fn words(&self, placeholder: &str, family: &str, random: &mut Random) -> Vec<Vec<u8>> {
        let pair = match placeholder {
            "%g" if random.chance(0.5) => {
                let degrees = |random: &mut Random, range: u64| {
                    format!("{:.6}", random.below(range * 2_000_000) as f64 / 1e6 - range as f64)
                };
                return [180, 85].map(|range| degrees(random, range).into_bytes()).to_vec();
            }
            "%g" => pick(PLACES, random),
            "%r" => pick(RADII, random),
            _ => return vec![self.word(placeholder, family, random)],
        };
        pair.split(|byte| *byte == b' ').map(<[u8]>::to_vec).collect()
    }

    /// The word that a placeholder such as `%k` stands for, in a command of a family.
    pub(super) fn word(&self, placeholder: &str, family: &str, random: &mut Random) -> Vec<u8> {
        match placeholder {
            "%k" if random.below(FOREIGN_KEY_EVERY) > 0 => self.key(family, random),
            "%K" => self.key(family, random),
            "%k" | "%j" => {
                let other = self.families[random.below(self.families.len() as u64) as usize];
                self.key(other, random)
            }
            "%v" => self.value(random),
            "%f" => member(random),
            "%n" => number(random, -3, 12),
            "%c" => number(random, 0, 6),
            "%i" => number(random, -40, 140),
            "%o" if random.chance(0.1) => number(random, 0, 20_000),
            "%o" => number(random, 0, 200),
            "%x" if random.chance(0.1) => odd(random),
            "%x" => pick(SCORES, random),
            "%t" => or_odd(SECONDS, random),
            "%T" => or_odd(MILLISECONDS, random),
            "%a" => or_odd(AT_SECONDS, random),
            "%A" => or_odd(AT_MILLISECONDS, random),
            "%d" => pick(DATABASE_WORDS, random),
            "%p" => pick(PATTERNS, random),
            "%b" => pick(BIT_TYPES, random),
            "%s" if random.chance(0.4) => [b"(".to_vec(), pick(SCORES, random)].concat(),
            "%s" => or_odd(SCORES, random),
            "%l" => pick(LEXICAL_BOUNDS, random),
            "%q" => pick(ENTRIES, random),
            "%u" => pick(ENTRY_BOUNDS, random),
            "%w" => pick(TIMEOUTS, random),
            "%z" => odd(random),
            fixed => fixed.replace('␣', " ").into_bytes(),
        }
    }

    fn key(&self, family: &str, random: &mut Random) -> Vec<u8> {
        let mut key = self.tag.clone();
        let number = random.below(KEYS);
        key.extend_from_slice(family.as_bytes());
        match number {
            0 => key.extend_from_slice(b"\x00\xff \r\n\"key"),
            _ => key.extend_from_slice(number.to_string().as_bytes()),
        }
        key
    }

    fn value(&self, random: &mut Random) -> Vec<u8> {
        match random.below(100) {
            0..50 => pick(VALUES, random),
            50..60 => (random.below(2_000) as i64 - 1_000).to_string().into_bytes(),
            60..78 => bytes(random.below(24) as usize, random),
            78..90 => "x".repeat(random.below(100) as usize).into_bytes(),
            // Numbers that only a long double holds are no values, or nobody could tell why they are refused.
            90..95 => Some(odd(random)).filter(|word| !word.ends_with(b"400")).unwrap_or_default(),
            95..98 => bytes(random.below(3_000) as usize, random),
            _ if self.has_big_values => bytes(BIG_BYTES, random),
            _ => member(random),
        }
    }
}

/// One of the odd words.
pub(super) fn odd(random: &mut Random) -> Vec<u8> {
    pick(ODD, random)
}

fn or_odd(list: &[&str], random: &mut Random) -> Vec<u8> {
    if random.chance(0.08) { odd(random) } else { pick(list, random) }
}

fn number(random: &mut Random, low: i64, high: i64) -> Vec<u8> {
    match random.below(100) {
        0..6 => odd(random),
        6..10 => b"100".to_vec(),
        _ => (low + random.below((high - low + 1) as u64) as i64).to_string().into_bytes(),
    }
}

/// A field of a hash or a member of a set: few enough to meet again, and now and then of many, so that collections grow.
fn member(random: &mut Random) -> Vec<u8> {
    match random.below(100) {
        0..70 => pick(MEMBERS, random),
        70..85 => random.below(700).to_string().into_bytes(),
        85..96 => format!("m{}", random.below(300)).into_bytes(),
        96..98 => "long".repeat(10 + random.below(12) as usize).into_bytes(),
        _ => bytes(random.below(90) as usize, random),
    }
}

fn bytes(length: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    // Half of them repeat a little, as values do.
    if random.chance(0.5) {
        bytes.iter_mut().for_each(|byte| *byte = b'a' + *byte % 3);
    }
    bytes
}

fn pick(list: &[&str], random: &mut Random) -> Vec<u8> {
    list[random.below(list.len() as u64) as usize].as_bytes().to_vec()
}
