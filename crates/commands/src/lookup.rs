//! The rows of all families joined, and the look-up that finds a row from a client's words.
//!
//! Both the joined table and an open-addressing index over it are computed at compile time: no initialisation, no
//! allocation, one hash and usually one comparison per command. Subcommands stand in the index under their full
//! name (`client|kill`), so that one hash over the words finds either.

use crate::args::Args;
use crate::table::{Command, Run};
use crate::transaction::EXEC_REFUSED;
use std::fmt;

/// Why no row was found. `to_string` is the whole error reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FindError {
    /// No such command.
    UnknownCommand(String),
    /// The container has no such subcommand.
    UnknownSubcommand(String),
    /// Too few or too many words.
    Arity(&'static str),
}

impl fmt::Display for FindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FindError::UnknownCommand(text) | FindError::UnknownSubcommand(text) => f.write_str(text),
            FindError::Arity("exec") => {
                write!(f, "{EXEC_REFUSED}wrong number of arguments for 'exec' command")
            }
            FindError::Arity(name) => write!(f, "ERR wrong number of arguments for '{name}' command"),
        }
    }
}

impl std::error::Error for FindError {}

/// Finds the row for a client's words and checks their number.
#[inline]
pub fn find(args: Args<'_>) -> Result<&'static Command, FindError> {
    let Some(mut command) = lookup(args.name()) else { return Err(unknown_command(args)) };
    if !command.subcommands.is_empty() && args.len() > 1 {
        command = lookup_subcommand(command, args.at(1)).ok_or_else(|| unknown_subcommand(args))?;
    }
    if is_complete(command, args.len()) { Ok(command) } else { Err(FindError::Arity(command.name)) }
}

/// The row of a command of `words` words, given its name and second word; `None` where [`find`] has an error.
#[inline]
pub fn find_row(name: &[u8], second: Option<&[u8]>, words: usize) -> Option<&'static Command> {
    let mut command = lookup(name)?;
    if !command.subcommands.is_empty()
        && let Some(second) = second
    {
        command = lookup_subcommand(command, second)?;
    }
    is_complete(command, words).then_some(command)
}

fn is_complete(command: &Command, words: usize) -> bool {
    let divides = match command.run {
        Run::Fanout { group, .. } if group > 1 => (words - 1).is_multiple_of(usize::from(group)),
        Run::Container => false,
        _ => true,
    };
    command.accepts(words) && divides
}

/// Finds a command by name, whatever its case; `container|subcommand` finds a subcommand.
#[inline]
pub fn lookup(name: &[u8]) -> Option<&'static Command> {
    probe(hash_name(HASH_START, name), |candidate| candidate.eq_ignore_ascii_case(name))
}

/// Finds a subcommand of `container`, whatever its case.
pub fn lookup_subcommand(container: &Command, name: &[u8]) -> Option<&'static Command> {
    let hash = hash_name(hash_name(hash_name(HASH_START, container.name.as_bytes()), b"|"), name);
    probe(hash, |candidate| {
        candidate.len() == container.name.len() + 1 + name.len()
            && candidate.starts_with(container.name.as_bytes())
            && candidate[container.name.len() + 1..].eq_ignore_ascii_case(name)
    })
}

/// The commands, without their subcommands.
pub fn table() -> impl Iterator<Item = &'static Command> + Clone {
    ROWS.iter().filter(|command| !command.name.contains('|'))
}

/// Every row, each container followed by its subcommands.
pub fn all() -> &'static [Command] {
    &ROWS
}

/// Number of rows, subcommands included.
pub fn count() -> usize {
    ROWS.len()
}

/// Place of a row of the joined table.
#[inline]
pub(crate) fn index_of(command: &Command) -> usize {
    let offset = std::ptr::from_ref(command).addr().wrapping_sub(ROWS.as_ptr().addr());
    let index = offset / size_of::<Command>();
    assert!(index < ROWS.len(), "a row of the joined table");
    index
}

const FAMILIES: &[&[Command]] = &[
    crate::string::get::COMMANDS,
    crate::string::set::COMMANDS,
    crate::string::many::COMMANDS,
    crate::string::number::COMMANDS,
    crate::string::range::COMMANDS,
    crate::string::lcs::COMMANDS,
    crate::bitmap::bit::COMMANDS,
    crate::bitmap::count::COMMANDS,
    crate::bitmap::combine::COMMANDS,
    crate::bitmap::field::COMMANDS,
    crate::hyperloglog::write::COMMANDS,
    crate::hyperloglog::read::COMMANDS,
    crate::hyperloglog::debug::COMMANDS,
    crate::generic::keys::COMMANDS,
    crate::generic::expire::COMMANDS,
    crate::generic::ttl::COMMANDS,
    crate::generic::rename::COMMANDS,
    crate::generic::dump::COMMANDS,
    crate::generic::scan::COMMANDS,
    crate::generic::object::COMMANDS,
    crate::generic::sort::COMMANDS,
    crate::generic::keyspace::COMMANDS,
    crate::hash::write::COMMANDS,
    crate::hash::number::COMMANDS,
    crate::hash::read::COMMANDS,
    crate::hash::random::COMMANDS,
    crate::list::ends::COMMANDS,
    crate::list::inner::COMMANDS,
    crate::list::read::COMMANDS,
    crate::list::transfer::COMMANDS,
    crate::list::blocking::COMMANDS,
    crate::set::write::COMMANDS,
    crate::set::read::COMMANDS,
    crate::set::random::COMMANDS,
    crate::set::algebra::COMMANDS,
    crate::sorted_set::add::COMMANDS,
    crate::sorted_set::read::COMMANDS,
    crate::sorted_set::range::COMMANDS,
    crate::sorted_set::remove::COMMANDS,
    crate::sorted_set::blocking::COMMANDS,
    crate::sorted_set::random::COMMANDS,
    crate::sorted_set::algebra::COMMANDS,
    crate::geo::points::COMMANDS,
    crate::geo::search::COMMANDS,
    crate::stream::write::COMMANDS,
    crate::stream::edit::COMMANDS,
    crate::stream::range::COMMANDS,
    crate::stream::read::COMMANDS,
    crate::stream::group::COMMANDS,
    crate::stream::pending::COMMANDS,
    crate::stream::claim::COMMANDS,
    crate::stream::info::COMMANDS,
    crate::filter::cuckoo_write::COMMANDS,
    crate::filter::cuckoo_read::COMMANDS,
    crate::filter::bloom_write::COMMANDS,
    crate::filter::bloom_read::COMMANDS,
    crate::filter::pieces::COMMANDS,
    crate::scripting::COMMANDS,
    crate::scripting::cache::COMMANDS,
    crate::connection::COMMANDS,
    crate::client::COMMANDS,
    crate::pubsub::COMMANDS,
    crate::transaction::COMMANDS,
    crate::server::COMMANDS,
    crate::server::refused::COMMANDS,
    crate::config_commands::COMMANDS,
    crate::slowlog::COMMANDS,
    crate::latency::COMMANDS,
    crate::cluster_commands::COMMANDS,
];

pub(crate) const ROWS_COUNT: usize = {
    let (mut total, mut family) = (0, 0);
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].len() {
            total += 1 + FAMILIES[family][row].subcommands.len();
            row += 1;
        }
        family += 1;
    }
    total
};

static ROWS: [Command; ROWS_COUNT] = {
    let mut rows = [FAMILIES[0][0]; ROWS_COUNT];
    let (mut at, mut family) = (0, 0);
    while family < FAMILIES.len() {
        let mut row = 0;
        while row < FAMILIES[family].len() {
            let command = FAMILIES[family][row];
            rows[at] = command;
            at += 1;
            let mut sub = 0;
            while sub < command.subcommands.len() {
                rows[at] = command.subcommands[sub];
                at += 1;
                sub += 1;
            }
            row += 1;
        }
        family += 1;
    }
    rows
};

static BRIEF: [bool; ROWS_COUNT] = {
    let mut brief = [false; ROWS_COUNT];
    let mut row = 0;
    while row < ROWS_COUNT {
        brief[row] = ROWS[row].derive_brief();
        row += 1;
    }
    brief
};

/// Whether the row at this place of the joined table is brief.
#[inline]
pub(crate) fn is_brief(index: usize) -> bool {
    BRIEF[index]
}

/// At most a quarter full, so that a probe rarely looks at a second place.
const INDEX_SIZE: usize = (ROWS_COUNT * 4).next_power_of_two();

/// Place of the row plus one; 0 is free.
static INDEX: [u16; INDEX_SIZE] = {
    let mut index = [0u16; INDEX_SIZE];
    let mut row = 0;
    while row < ROWS_COUNT {
        let mut at = hash_name(HASH_START, ROWS[row].name.as_bytes()) as usize % INDEX_SIZE;
        while index[at] != 0 {
            at = (at + 1) % INDEX_SIZE;
        }
        index[at] = row as u16 + 1;
        row += 1;
    }
    index
};

const HASH_START: u32 = 0x811c_9dc5;

/// FNV-1a over the lower-cased bytes, in pieces: the hash of `a|b` is the hash of `b` started at that of `a|`.
const fn hash_name(start: u32, name: &[u8]) -> u32 {
    let (mut hash, mut i) = (start, 0);
    while i < name.len() {
        hash = (hash ^ name[i].to_ascii_lowercase() as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    hash
}

#[inline]
fn probe(hash: u32, is: impl Fn(&[u8]) -> bool) -> Option<&'static Command> {
    let mut at = hash as usize % INDEX_SIZE;
    // The index always has free places, so this ends.
    while INDEX[at] != 0 {
        let command = &ROWS[usize::from(INDEX[at]) - 1];
        if is(command.name.as_bytes()) {
            return Some(command);
        }
        at = (at + 1) % INDEX_SIZE;
    }
    None
}

/// Most bytes of a client's words that an error repeats, as in Redis's `commandCheckExistence`.
const ECHO_BYTES_MAX: usize = 128;

/// What an error repeats of a word: as a C string, which ends at its first NUL.
fn echoed(word: &[u8], bytes_max: usize) -> &[u8] {
    let text = word.split(|byte| *byte == 0).next().unwrap_or_default();
    &text[..text.len().min(bytes_max)]
}

fn echo(word: &[u8], bytes_max: usize) -> String {
    String::from_utf8_lossy(echoed(word, bytes_max)).replace(['\r', '\n'], " ")
}

#[cold]
fn unknown_command(args: Args<'_>) -> FindError {
    let (mut listed, mut bytes) = (String::new(), 0);
    for word in args.iter().skip(1) {
        if bytes >= ECHO_BYTES_MAX {
            break;
        }
        listed.push_str(&format!("'{}' ", echo(word, ECHO_BYTES_MAX - bytes)));
        bytes += echoed(word, ECHO_BYTES_MAX - bytes).len() + "'' ".len();
    }
    let name = echo(args.name(), ECHO_BYTES_MAX);
    FindError::UnknownCommand(format!("ERR unknown command '{name}', with args beginning with: {listed}"))
}

#[cold]
fn unknown_subcommand(args: Args<'_>) -> FindError {
    let container = echo(args.name(), ECHO_BYTES_MAX).to_ascii_uppercase();
    let name = echo(args.at(1), ECHO_BYTES_MAX);
    FindError::UnknownSubcommand(format!("ERR unknown subcommand '{name}'. Try {container} HELP."))
}
