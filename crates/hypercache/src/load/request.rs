//! What is sent: templates encoded once, and the choice of keys that are patched into them.
//!
//! A key is `kkk...` and the hexadecimal digits of its number, so that every key has the same length and a template's
//! bytes never move. Zipf ranks cost a logarithm and two powers each, too much at millions per second: a long sequence of them
//! is drawn before the clock starts and read in a circle. Ranks are scattered over the key numbers, or the popular
//! keys would be those that were written first and lie side by side in the server's memory.

use super::{Command, Distribution, Options, Protocol};
use stdx::Random;

/// Hexadecimal digits of a key number.
const DIGITS: usize = 16;
/// Length of the drawn sequence of Zipf ranks: 16 MB, read in order, so that it costs no cache misses.
const DRAWN: usize = 1 << 22;
/// A prime above any number of keys, so that multiplying by it permutes them.
const SCATTER: u64 = 11_400_714_819_323_198_549;

/// An encoded request with holes for keys.
struct Template {
    bytes: Vec<u8>,
    /// Where in `bytes` the digits of each key begin.
    holes: Vec<usize>,
}

/// All requests that a run may send.
pub(super) struct Templates {
    get: Template,
    set: Template,
    mget: Template,
    ping: Template,
    /// Digits patched into each hole.
    digits: usize,
}

/// Which template to send.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Read one key.
    Get,
    /// Write one key.
    Set,
    /// Read several.
    Mget,
    /// No key.
    Ping,
}

impl Templates {
    /// Encodes the templates.
    ///
    /// # Errors
    /// When the protocol has no such command or keys are too short to be told apart.
    pub(super) fn new(options: &Options) -> Result<Templates, String> {
        let digits = options.key_size.min(DIGITS);
        let distinct =
            u32::try_from(digits).ok().and_then(|digits| 16u64.checked_pow(digits)).unwrap_or(u64::MAX);
        if options.keys > distinct {
            return Err(format!("{} keys of {} bytes cannot be told apart", options.keys, options.key_size));
        }
        let supported = match options.protocol {
            Protocol::Resp => true,
            Protocol::Memcached => options.command != Command::Ping,
            Protocol::Http => !matches!(options.command, Command::Ping | Command::Mget(_)),
        };
        if !supported || (options.wait.is_some() && options.protocol != Protocol::Resp) {
            return Err("this protocol has no such command: take --protocol resp".to_owned());
        }
        let many = if let Command::Mget(keys) = options.command { keys } else { 1 };
        let encode = match options.protocol {
            Protocol::Resp => resp,
            Protocol::Memcached => memcached,
            Protocol::Http => http,
        };
        Ok(Templates {
            get: encode(options, Kind::Get, 1),
            set: encode(options, Kind::Set, 1),
            mget: encode(options, Kind::Mget, many),
            ping: encode(options, Kind::Ping, 0),
            digits,
        })
    }

    /// Appends one request to `out`, with keys from `keys`.
    pub(super) fn append(&self, kind: Kind, keys: &mut Keys, out: &mut Vec<u8>) {
        let template = match kind {
            Kind::Get => &self.get,
            Kind::Set => &self.set,
            Kind::Mget => &self.mget,
            Kind::Ping => &self.ping,
        };
        let start = out.len();
        out.extend_from_slice(&template.bytes);
        for hole in &template.holes {
            let text = hexadecimal(keys.next());
            let at = start + hole;
            out[at..at + self.digits].copy_from_slice(&text[DIGITS - self.digits..]);
        }
    }
}

fn resp(options: &Options, kind: Kind, keys: usize) -> Template {
    let (key, value) = (key_text(options), value_text(options));
    let ttl = options.ttl_s.map(|ttl| ttl.to_string()).unwrap_or_default();
    let mut words: Vec<&[u8]> = match kind {
        Kind::Get => vec![b"GET"],
        Kind::Set => vec![b"SET"],
        Kind::Mget => vec![b"MGET"],
        Kind::Ping => vec![b"PING"],
    };
    let first_key = words.len();
    words.extend(std::iter::repeat_n(key.as_slice(), keys));
    if kind == Kind::Set {
        words.push(&value);
        if !ttl.is_empty() {
            words.extend([b"EX", ttl.as_bytes()]);
        }
    }
    let mut template = Template { bytes: format!("*{}\r\n", words.len()).into_bytes(), holes: Vec::new() };
    for (index, word) in words.iter().enumerate() {
        template.bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        if (first_key..first_key + keys).contains(&index) {
            template.push_key(word);
        } else {
            template.bytes.extend_from_slice(word);
        }
        template.bytes.extend_from_slice(b"\r\n");
    }
    template
}

fn memcached(options: &Options, kind: Kind, keys: usize) -> Template {
    let (key, value) = (key_text(options), value_text(options));
    let mut template = Template { bytes: Vec::new(), holes: Vec::new() };
    template.bytes.extend_from_slice(if kind == Kind::Set { b"set" } else { b"get" });
    for _ in 0..keys {
        template.bytes.push(b' ');
        template.push_key(&key);
    }
    if kind == Kind::Set {
        let ttl = options.ttl_s.unwrap_or_default();
        template.bytes.extend_from_slice(format!(" 0 {ttl} {}\r\n", value.len()).as_bytes());
        template.bytes.extend_from_slice(&value);
    }
    template.bytes.extend_from_slice(b"\r\n");
    template
}

fn http(options: &Options, kind: Kind, _keys: usize) -> Template {
    let key = key_text(options);
    let method = if kind == Kind::Set { "PUT" } else { "GET" };
    let mut template = Template { bytes: format!("{method} /api/cache/").into_bytes(), holes: Vec::new() };
    template.push_key(&key);
    template.bytes.extend_from_slice(format!(" HTTP/1.1\r\nHost: {}\r\n", options.host).as_bytes());
    if let Some(password) = &options.password {
        template.bytes.extend_from_slice(format!("Authorization: Bearer {password}\r\n").as_bytes());
    }
    if kind == Kind::Set {
        let value = value_text(options);
        let ttl = options.ttl_s.map(|ttl| format!(",\"ttl\":{ttl}")).unwrap_or_default();
        let body = format!("{{\"value\":\"{}\"{ttl}}}", String::from_utf8_lossy(&value));
        let head = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        template.bytes.extend_from_slice(head.as_bytes());
    } else {
        template.bytes.extend_from_slice(b"\r\n");
    }
    template
}

impl Template {
    /// Appends a key and remembers where its digits are.
    fn push_key(&mut self, key: &[u8]) {
        self.holes.push(self.bytes.len() + key.len() - key.len().min(DIGITS));
        self.bytes.extend_from_slice(key);
    }
}

fn key_text(options: &Options) -> Vec<u8> {
    vec![b'k'; options.key_size]
}

/// Letters and digits at random: nothing that compresses, nothing that JSON must escape, no integer.
fn value_text(options: &Options) -> Vec<u8> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut random = Random::seeded(options.seed);
    let mut value = vec![0; options.value_size];
    random.fill(&mut value);
    value.iter_mut().for_each(|byte| *byte = LETTERS[usize::from(*byte & 31)]);
    if let Some(first) = value.first_mut() {
        *first = b'v';
    }
    value
}

/// Sixteen hexadecimal digits, most significant first, without a loop over them.
fn hexadecimal(number: u64) -> [u8; DIGITS] {
    let (high, low) = (spread((number >> 32) as u32), spread(number as u32));
    let mut text = [0; DIGITS];
    text[..8].copy_from_slice(&high);
    text[8..].copy_from_slice(&low);
    text
}

/// The eight hexadecimal digits of a word: each nibble is moved to a byte of its own, and all become letters at once.
fn spread(word: u32) -> [u8; 8] {
    let mut wide = u64::from(word);
    wide = (wide | wide << 16) & 0x0000_ffff_0000_ffff;
    wide = (wide | wide << 8) & 0x00ff_00ff_00ff_00ff;
    wide = (wide | wide << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    // A byte of 1 where the nibble is above 9: adding 6 carries it into the next bit.
    let letters = ((wide + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    let text = wide + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'9' - 1);
    text.to_be_bytes()
}

/// The sequence of key numbers of one thread.
pub(super) struct Keys {
    choice: Choice,
    count: u64,
    random: Random,
}

enum Choice {
    Uniform,
    Drawn { numbers: Vec<u32>, at: usize },
    Sequential { next: u64, step: u64 },
}

impl Keys {
    /// The keys of `thread` out of `threads`.
    pub(super) fn new(distribution: Distribution, options: &Options, thread: usize, threads: usize) -> Keys {
        let mut random = Random::seeded(options.seed.wrapping_add(thread as u64));
        let count = options.keys.max(1);
        let choice = match distribution {
            Distribution::Uniform => Choice::Uniform,
            Distribution::Zipf(theta) => {
                let zipf = Zipf::new(count, theta);
                // Fits: there are at most KEYS_MAX keys.
                let numbers = (0..DRAWN).map(|_| scatter(zipf.draw(&mut random), count) as u32).collect();
                Choice::Drawn { numbers, at: 0 }
            }
            Distribution::Sequential => {
                Choice::Sequential { next: thread as u64 % count, step: threads as u64 }
            }
        };
        Keys { choice, count, random }
    }

    /// The next key number.
    fn next(&mut self) -> u64 {
        match &mut self.choice {
            Choice::Uniform => self.random.below(self.count),
            Choice::Drawn { numbers, at } => {
                let number = numbers[*at];
                *at = (*at + 1) % DRAWN;
                u64::from(number)
            }
            Choice::Sequential { next, step } => {
                let number = *next;
                *next = (*next + *step) % self.count;
                number
            }
        }
    }

    /// True with probability `share`.
    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.random.chance(share)
    }
}

/// Maps ranks to key numbers one to one.
fn scatter(rank: u64, count: u64) -> u64 {
    (u128::from(rank) * u128::from(SCATTER) % u128::from(count)) as u64
}

/// Draws ranks 0.. with a probability proportional to 1 / (rank + 1)^theta.
///
/// Rejection-inversion after W. Hörmann and G. Derflinger, "Rejection-inversion to generate variates from monotone
/// discrete distributions" (1996): no table, exact for any theta.
struct Zipf {
    theta: f64,
    count: f64,
    low: f64,
    high: f64,
    shortcut: f64,
}

impl Zipf {
    fn new(count: u64, theta: f64) -> Zipf {
        let mut zipf = Zipf { theta, count: count as f64, low: 0.0, high: 0.0, shortcut: 0.0 };
        zipf.low = zipf.integral(1.5) - 1.0;
        zipf.high = zipf.integral(zipf.count + 0.5);
        zipf.shortcut = 2.0 - zipf.inverse(zipf.integral(2.5) - 2f64.powf(-theta));
        zipf
    }

    fn draw(&self, random: &mut Random) -> u64 {
        loop {
            let unit = (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            let area = self.high + unit * (self.low - self.high);
            let x = self.inverse(area);
            let rank = x.round().clamp(1.0, self.count);
            if rank - x <= self.shortcut || area >= self.integral(rank + 0.5) - rank.powf(-self.theta) {
                return rank as u64 - 1;
            }
        }
    }

    /// The integral of x^-theta.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        if (1.0 - self.theta).abs() < 1e-9 {
            log
        } else {
            ((1.0 - self.theta) * log).exp_m1() / (1.0 - self.theta)
        }
    }

    fn inverse(&self, area: f64) -> f64 {
        if (1.0 - self.theta).abs() < 1e-9 {
            return area.exp();
        }
        // Rounding may take the argument below -1, where there is no logarithm.
        let argument = (area * (1.0 - self.theta)).max(-1.0);
        (argument.ln_1p() / (1.0 - self.theta)).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_formatter() {
        for number in [0, 9, 10, 15, 16, 0xdead_beef, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(hexadecimal(number), format!("{number:016x}").as_bytes());
        }
    }

    #[test]
    fn scattering_loses_no_key() {
        for count in [1u64, 2, 999, 4_096, 10_007] {
            let mut numbers: Vec<u64> = (0..count).map(|rank| scatter(rank, count)).collect();
            numbers.sort_unstable();
            assert!(numbers.iter().enumerate().all(|(index, number)| index as u64 == *number));
        }
    }

    #[test]
    fn zipf_has_the_shares_it_should() {
        const COUNT: u64 = 1_000;
        const DRAWS: usize = 400_000;
        for theta in [0.5, 0.99, 1.0, 1.3] {
            let zipf = Zipf::new(COUNT, theta);
            let mut random = Random::seeded(7);
            let mut seen = vec![0u32; COUNT as usize];
            (0..DRAWS).for_each(|_| seen[zipf.draw(&mut random) as usize] += 1);
            let norm: f64 = (1..=COUNT).map(|rank| (rank as f64).powf(-theta)).sum();
            for rank in [0, 1, 2, 9] {
                let expected = ((rank + 1) as f64).powf(-theta) / norm * DRAWS as f64;
                let share = f64::from(seen[rank]) / expected;
                assert!((0.9..1.1).contains(&share), "theta {theta}, rank {rank}: {share}");
            }
        }
    }
}
