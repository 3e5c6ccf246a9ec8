//! Kinds of directives and their values: parsing text into a value, and a value back into the text of CONFIG GET.
//!
//! A refusal is worded twice: in Redis's words for CONFIG SET, which tools compare to the letter, and in words that
//! say what would be right, for files, environment and flags.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use super::limits::BufferLimits;
use super::save_points::SavePoints;
use commands::events::Events;

/// What a directive accepts.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Bytes, in Redis's units.
    Bytes {
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
    },
    /// Bytes, or a share of the memory that this process may use.
    Memory,
    /// A port; 0 for any free one.
    Port,
    /// A whole number.
    Number {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// `auto`, or a number of threads.
    Threads {
        /// Most threads.
        max: i64,
    },
    /// One of a few words.
    Enum(&'static [&'static str]),
    /// A name that tools know but whose feature is not here: only the values that mean "off".
    Fixed {
        /// What is accepted; the first is canonical.
        accepted: &'static [&'static str],
        /// Why nothing else is.
        why: &'static str,
    },
    /// Letters of keyspace events.
    Events,
    /// `yes` or `no`.
    Bool,
    /// A short name of letters, digits, dots, dashes and underscores; may be empty.
    Name,
    /// A path of the file system.
    Path,
    /// An IP address; `localhost` and `*` are understood.
    Address,
    /// An IP address, or nothing.
    AddressOrNone,
    /// Any number of `HOST:PORT`.
    HostPorts,
    /// Text that is never logged.
    Secret,
    /// The three classes of client-output-buffer-limit.
    BufferLimits,
    /// Pairs of seconds and changes.
    SavePoints,
}

/// Longest `node-id` and `zone`, in bytes: they travel in every gossip message.
pub const NAME_LEN_MAX: usize = 64;

/// A host name or address, and a port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HostPort {
    /// A DNS name or an IP address, without brackets.
    pub host: String,
    /// The port, never 0.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A password or key that does not show itself in logs.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The secret itself, for whoever must compare or derive from it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether none was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Secret(none)" } else { "Secret(***)" })
    }
}

/// The value of a directive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Of `Bytes`.
    Bytes(u64),
    /// Of `Port` and `Number`.
    Number(i64),
    /// Of `Threads`; `None` is `auto`.
    Threads(Option<i64>),
    /// Of `Enum` and `Fixed`.
    Word(&'static str),
    /// Of `Bool`.
    Bool(bool),
    /// Of `Name`.
    Name(String),
    /// Of `Path`.
    Path(PathBuf),
    /// Of `Address` and `AddressOrNone`.
    Address(Option<IpAddr>),
    /// Of `HostPorts`.
    HostPorts(Vec<HostPort>),
    /// Of `Secret`.
    Secret(Secret),
    /// Of `BufferLimits`.
    BufferLimits(BufferLimits),
    /// Of `Events`.
    Events(Events),
    /// Of `SavePoints`.
    SavePoints(SavePoints),
}

impl Value {
    /// The value as a number, for directives that threads read on every command; 0 for kinds that are not numbers.
    pub(super) fn bits(&self) -> u64 {
        match self {
            Value::Bytes(bytes) => *bytes,
            Value::Number(number) => number.cast_unsigned(),
            Value::Bool(yes) => u64::from(*yes),
            Value::Events(events) => u64::from(events.bits()),
            _ => 0,
        }
    }
}

/// The canonical text, as CONFIG GET shows it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bytes(bytes) => write!(f, "{bytes}"),
            Value::Number(number) => write!(f, "{number}"),
            Value::Threads(None) => f.write_str("auto"),
            Value::Threads(Some(threads)) => write!(f, "{threads}"),
            Value::Word(word) => f.write_str(word),
            Value::Bool(yes) => f.write_str(if *yes { "yes" } else { "no" }),
            Value::Name(name) => f.write_str(name),
            Value::Path(path) => write!(f, "{}", path.display()),
            Value::Address(None) => Ok(()),
            Value::Address(Some(address)) => write!(f, "{address}"),
            Value::HostPorts(list) => {
                for (index, one) in list.iter().enumerate() {
                    write!(f, "{}{one}", if index == 0 { "" } else { " " })?;
                }
                Ok(())
            }
            Value::Secret(secret) => f.write_str(secret.expose()),
            Value::BufferLimits(limits) => write!(f, "{limits}"),
            Value::Events(events) => f.write_str(&events.letters()),
            Value::SavePoints(points) => write!(f, "{points}"),
        }
    }
}

/// Why a text is not a value of a kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// What CONFIG SET says, after `CONFIG SET failed (possibly related to argument '...') - `.
    pub redis: String,
    /// What files, environment and flags say, after the directive's name.
    pub plain: String,
}

impl Refusal {
    pub(super) fn new(redis: impl Into<String>, plain: impl Into<String>) -> Refusal {
        Refusal { redis: redis.into(), plain: plain.into() }
    }

    /// The same words for both.
    pub(super) fn same(text: impl Into<String>) -> Refusal {
        let text = text.into();
        Refusal { redis: text.clone(), plain: text }
    }
}

impl Kind {
    /// Parses `text`; `current` is what a partial value (of client-output-buffer-limit) is laid over.
    pub fn parse(self, text: &str, current: Option<&Value>) -> Result<Value, Refusal> {
        match self {
            Kind::Bytes { min, max } => bytes(text, min, max),
            Kind::Memory => match text.strip_suffix('%') {
                Some(share) => share_of_memory(share),
                None => bytes(text, 0, u64::MAX / 2),
            },
            Kind::Port => number(text, 0, 65_535, "a port"),
            Kind::Number { min, max } => number(text, min, max, "a whole number"),
            Kind::Threads { max: _ } if text == "auto" => Ok(Value::Threads(None)),
            Kind::Threads { max } => match number(text, 1, max, "`auto` or a number of threads")? {
                Value::Number(threads) => Ok(Value::Threads(Some(threads))),
                other => Ok(other),
            },
            Kind::Enum(words) => word(text, words),
            Kind::Fixed { accepted, why } => {
                match accepted.iter().find(|word| word.eq_ignore_ascii_case(text)) {
                    // Every accepted spelling means the first one.
                    Some(_) => Ok(Value::Word(accepted.first().copied().unwrap_or_default())),
                    None => Err(Refusal::new(
                        why,
                        format!("accepts only {:?}, got {text:?}: {why}", accepted.first().unwrap_or(&"")),
                    )),
                }
            }
            Kind::Bool => match text.to_ascii_lowercase().as_str() {
                "yes" => Ok(Value::Bool(true)),
                "no" => Ok(Value::Bool(false)),
                _ => Err(Refusal::new(
                    "argument must be 'yes' or 'no'",
                    format!("expects yes or no, got {text:?}"),
                )),
            },
            Kind::Events => match Events::parse(text) {
                Some(events) => Ok(Value::Events(events)),
                None => Err(Refusal::new(
                    "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.",
                    format!("expects letters out of Ag$lshzxeKEtmdn, got {text:?}"),
                )),
            },
            Kind::Name => name(text),
            Kind::Path => Ok(Value::Path(PathBuf::from(text))),
            Kind::Address => address(text).map(|address| Value::Address(Some(address))),
            Kind::AddressOrNone if text.is_empty() => Ok(Value::Address(None)),
            Kind::AddressOrNone => address(text).map(|address| Value::Address(Some(address))),
            Kind::HostPorts => host_ports(text),
            Kind::Secret => Ok(Value::Secret(Secret::new(text))),
            Kind::SavePoints => SavePoints::parse(text).map(Value::SavePoints),
            Kind::BufferLimits => {
                let base = match current {
                    Some(Value::BufferLimits(limits)) => *limits,
                    _ => BufferLimits::default(),
                };
                base.updated(text).map(Value::BufferLimits)
            }
        }
    }

    /// What is accepted, for documentation and help.
    pub fn describe(self) -> String {
        match self {
            Kind::Bytes { min: 0, .. } => "bytes (512mb, 2gb; 1kb = 1024, 1k = 1000)".into(),
            Kind::Bytes { min, max } => format!("bytes, {} to {}", short_bytes(min), short_bytes(max)),
            Kind::Memory => "bytes (512mb, 2gb; 1kb = 1024, 1k = 1000), or a share (75%)".into(),
            Kind::Port => "port, 0 to 65535".into(),
            Kind::Number { min, max } => format!("number, {min} to {max}"),
            Kind::Threads { max } => format!("auto, or 1 to {max}"),
            Kind::Enum(words) => words.join(" or "),
            Kind::Fixed { accepted, .. } => {
                format!("only {}", accepted.first().filter(|word| !word.is_empty()).unwrap_or(&"empty"))
            }
            Kind::Bool => "yes or no".into(),
            Kind::Events => "letters out of Ag$lshzxeKEtmdn".into(),
            Kind::Name => "name".into(),
            Kind::Path => "path".into(),
            Kind::Address => "IP address".into(),
            Kind::AddressOrNone => "IP address or empty".into(),
            Kind::HostPorts => "HOST:PORT, any number".into(),
            Kind::Secret => "text".into(),
            Kind::BufferLimits => "CLASS HARD SOFT SECONDS, up to three times".into(),
            Kind::SavePoints => "SECONDS CHANGES, any number of times".into(),
        }
    }

    /// The placeholder in `--help`.
    pub const fn placeholder(self) -> &'static str {
        match self {
            Kind::Bytes { .. } | Kind::Memory => "BYTES",
            Kind::Port => "PORT",
            Kind::Number { .. } => "NUMBER",
            Kind::Threads { .. } => "THREADS",
            Kind::Enum(_) | Kind::Fixed { .. } => "WORD",
            Kind::Bool => "yes|no",
            Kind::Name => "NAME",
            Kind::Events => "LETTERS",
            Kind::Path => "PATH",
            Kind::Address | Kind::AddressOrNone => "ADDRESS",
            Kind::HostPorts => "HOST:PORT",
            Kind::Secret => "SECRET",
            Kind::BufferLimits => "LIMITS",
            Kind::SavePoints => "POINTS",
        }
    }
}

/// Parses bytes in Redis's units: `1k` is 1000, `1kb` is 1024, and so on for m and g; case does not matter.
pub(super) fn memory(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A share of what the container or the machine has, in bytes.
fn share_of_memory(share: &str) -> Result<Value, Refusal> {
    match share.parse::<u64>().ok().filter(|share| (1..=100).contains(share)) {
        Some(share) => Ok(Value::Bytes(crate::platform::memory_limit_bytes() / 100 * share)),
        None => Err(Refusal::new(
            "argument must be a memory value",
            format!("expects a share from 1% to 100%, got {share:?}%"),
        )),
    }
}

/// The shortest exact text for `bytes` in Redis's binary units.
pub(super) fn short_bytes(bytes: u64) -> String {
    for (unit, shift) in [("gb", 30), ("mb", 20), ("kb", 10)] {
        if bytes != 0 && bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

fn bytes(text: &str, min: u64, max: u64) -> Result<Value, Refusal> {
    let Some(bytes) = memory(text) else {
        return Err(Refusal::new(
            "argument must be a memory value",
            format!("expects bytes such as 1048576, 512mb or 2gb, got {text:?}"),
        ));
    };
    if (min..=max).contains(&bytes) {
        return Ok(Value::Bytes(bytes));
    }
    Err(Refusal::new(
        format!("argument must be between {min} and {max} inclusive"),
        format!("expects {} to {}, got {text}", short_bytes(min), short_bytes(max)),
    ))
}

fn number(text: &str, min: i64, max: i64, what: &str) -> Result<Value, Refusal> {
    let Ok(number) = text.parse::<i64>() else {
        return Err(Refusal::new(
            "argument couldn't be parsed into an integer",
            format!("expects {what} from {min} to {max}, got {text:?}"),
        ));
    };
    if (min..=max).contains(&number) {
        return Ok(Value::Number(number));
    }
    Err(Refusal::new(
        format!("argument must be between {min} and {max} inclusive"),
        format!("expects {what} from {min} to {max}, got {number}"),
    ))
}

fn word(text: &str, words: &'static [&'static str]) -> Result<Value, Refusal> {
    match words.iter().find(|word| word.eq_ignore_ascii_case(text)) {
        Some(word) => Ok(Value::Word(word)),
        None => Err(Refusal::new(
            format!("argument(s) must be one of the following: {}", words.join(", ")),
            format!("expects one of {}, got {text:?}", words.join(", ")),
        )),
    }
}

fn name(text: &str) -> Result<Value, Refusal> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.len() <= NAME_LEN_MAX && text.bytes().all(allowed) {
        return Ok(Value::Name(text.to_string()));
    }
    Err(Refusal::same(format!(
        "expects at most {NAME_LEN_MAX} letters, digits, dots, dashes and underscores, got {text:?}"
    )))
}

fn address(text: &str) -> Result<IpAddr, Refusal> {
    match text {
        "localhost" => return Ok(IpAddr::from([127, 0, 0, 1])),
        "*" => return Ok(IpAddr::from([0, 0, 0, 0])),
        _ => {}
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().map_err(|_| {
        Refusal::same(format!("expects one IP address such as 127.0.0.1, 0.0.0.0 or ::1, got {text:?}"))
    })
}

fn host_ports(text: &str) -> Result<Value, Refusal> {
    text.split(|c: char| c == ',' || c.is_whitespace())
        .filter(|one| !one.is_empty())
        .map(host_port)
        .collect::<Result<Vec<_>, _>>()
        .map(Value::HostPorts)
}

fn host_port(text: &str) -> Result<HostPort, Refusal> {
    let wrong = || Refusal::same(format!("expects HOST:PORT such as 10.0.0.5:7946, got {text:?}"));
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(wrong)?,
        // A colon left over is an IPv6 address without its brackets: where it ends and the port begins is a guess.
        None if host.contains(':') => return Err(wrong()),
        None => host,
    };
    if host.is_empty() {
        return Err(wrong());
    }
    Ok(HostPort { host: host.to_string(), port })
}
