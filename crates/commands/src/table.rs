//! The command table: what a row says about a command.
//!
//! Every family's file holds its rows next to their functions; [`crate::lookup`] joins them into one table. What
//! other servers keep in several places (routing, ACL categories, COMMAND INFO and DOCS, the documentation) is
//! derived from the row. Subcommands are rows of their container.

use crate::args::Args;
use crate::context::{ReadCtx, WriteCtx};
pub use crate::flags::{Categories, Flags, KeyFlags};
use crate::gather::Gather;
use crate::host::Host;
pub use crate::lookup::{FindError, all, count, find, find_row, lookup, lookup_subcommand, table};
use crate::session::SessionCtx;
use protocol::Reply;
use std::fmt;
use std::time::Duration;

/// Runs a command that only reads.
pub type ReadFn = fn(&mut ReadCtx<'_>, Args<'_>, &mut Reply<'_>);
/// Runs a command that may write.
pub type WriteFn = fn(&mut WriteCtx<'_>, Args<'_>, &mut Reply<'_>);
/// Runs one partition's part of a command over all partitions.
pub type PartitionFn = fn(&mut WriteCtx<'_>, Args<'_>, &mut Gather);
/// Runs one node's part of a command over all nodes.
pub type NodeFn = fn(&mut dyn Host, Args<'_>, &mut Reply<'_>);
/// Works out a change of the users, which the cluster then agrees on; an error is the whole error reply.
pub type UsersFn = fn(&dyn Host, Args<'_>) -> Result<crate::acl::Plan, String>;
/// Runs a command of the session.
pub type SessionFn = fn(&mut SessionCtx<'_>, Args<'_>, &mut Reply<'_>);
/// Refuses wrong arguments before anything runs; the text is the whole error reply.
pub type ValidateFn = fn(Args<'_>) -> Result<(), String>;

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Command {
    /// Full name in lower case; a subcommand's is `container|subcommand`.
    pub name: &'static str,
    /// Words of the command, its name included; negative: at least so many. Redis's convention: a subcommand
    /// counts its container.
    pub arity: i32,
    /// As COMMAND INFO prints them.
    pub flags: Flags,
    /// Where the keys are.
    pub keys: Keys,
    /// Categories that the flags do not imply; see [`Command::acl`].
    pub categories: Categories,
    /// Group in COMMAND DOCS.
    pub group: Group,
    /// First version of Redis that has it.
    pub since: &'static str,
    /// Cost in COMMAND DOCS.
    pub complexity: &'static str,
    /// One line on what it does.
    pub summary: &'static str,
    /// Command tips of COMMAND INFO.
    pub tips: &'static [&'static str],
    /// Rows of its subcommands.
    pub subcommands: &'static [Command],
    /// What runs, and what it may touch.
    pub run: Run,
}

/// What a command may touch, and the function that does it.
#[derive(Clone, Copy)]
pub enum Run {
    /// Reads keys of one primary.
    Read(ReadFn),
    /// Writes keys of one primary.
    Write(WriteFn),
    /// Spans primaries: the node that was asked splits the arguments by primary, each primary runs `local` on its
    /// share, and the replies are merged.
    Fanout {
        /// A `Read` or `Write` that is right on any subset of the keys.
        local: &'static Run,
        /// Words per key: 1 (MGET, DEL) or 2 (MSET). [`find`] refuses a count of words that does not divide.
        group: u8,
        /// How the replies become one.
        merge: Merge,
    },
    /// Waits for data where there is none: see [`Blocking`].
    Blocking(&'static Blocking),
    /// Runs a script on keys of one primary; the node has the engine.
    Script(Scripted),
    /// Runs once in each partition, one locked at a time; the gathered results are merged over partitions and nodes.
    Partitions {
        /// One partition's part.
        local: PartitionFn,
        /// How the parts become one.
        merge: Merge,
        /// Refuses wrong arguments before anything runs.
        validate: ValidateFn,
    },
    /// SCAN: the cursor names the partition. The node drives it with the functions of [`crate::generic::scan`].
    Scan,
    /// Every node runs it; the replies are merged.
    Nodes {
        /// One node's part.
        local: NodeFn,
        /// How the replies become one.
        merge: Merge,
    },
    /// Changes the users of the cluster: the node that was asked plans, all of them follow.
    Users(UsersFn),
    /// Touches only the session and, through the host, the node.
    Session(SessionFn),
    /// The connection itself handles it: MULTI, EXEC, DISCARD, WATCH, UNWATCH, WAIT.
    Connection,
    /// Only a container of subcommands; [`find`] never yields it.
    Container,
}

/// How a script is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scripted {
    /// EVAL: the script itself.
    Eval,
    /// EVALSHA: its digest.
    EvalSha,
    /// EVAL_RO.
    EvalReadOnly,
    /// EVALSHA_RO.
    EvalShaReadOnly,
}

/// A command that may wait for data.
///
/// It is tried first. An attempt that finds nothing writes no reply and changes nothing; then, unless it may not wait (in a
/// transaction, or because its arguments say so), the client is blocked until one of its keys is ready or its time is over.
#[derive(Clone, Copy)]
pub struct Blocking {
    /// One attempt, `Read` or `Write`, which writes no reply where there is nothing.
    pub attempt: Run,
    /// How long it may wait; the error is the whole error reply.
    pub wait: fn(Args<'_>) -> Result<Wait, String>,
    /// Whether an attempt would find something, as far as can be told without one.
    pub ready: fn(&mut ReadCtx<'_>, Args<'_>) -> bool,
    /// The reply where there is nothing, and whether it has waited for something or may not.
    pub nothing: fn(&mut Reply<'_>, bool),
    /// The words of the same command on some of its keys, given by their positions; `None` if all keys must be at one
    /// primary.
    pub on_some: Option<OnSomeFn>,
    /// Answers with what the word [`BY_NOW`] in the place of a key's id stands for, for a command on one key: found out once, before the
    /// first attempt. `None` if there is no such word.
    pub by_now: Option<ReadFn>,
    /// Whether an attempt takes what it finds, so that one element serves one client only.
    pub takes: bool,
}

/// What is there when a command that waits begins, as XREAD has it.
pub const BY_NOW: &[u8] = b"$";

/// See [`Blocking::on_some`].
pub type OnSomeFn = fn(Args<'_>, &[usize]) -> Vec<Vec<u8>>;

/// How long a command may wait for data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Not at all.
    No,
    /// So long.
    For(Duration),
    /// For ever.
    Forever,
}

/// How partial replies or gathered parts become one reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Merge {
    /// Integers are added up.
    Sum,
    /// `OK` if every part is.
    Ok,
    /// Array elements go back to the order of the arguments.
    PerKey,
    /// Arrays are joined.
    Concat,
    /// Arrays are joined and doubles dropped.
    Union,
    /// Arrays of name, number, name, number: numbers of equal names are added up.
    SumPairs,
    /// One of the parts that are not null, by chance.
    AnyOne,
}

/// The group of a command in COMMAND DOCS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// Keys whatever their type.
    Generic,
    /// Strings.
    String,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Sorted sets.
    SortedSet,
    /// Hashes.
    Hash,
    /// Pub/sub.
    PubSub,
    /// Transactions.
    Transactions,
    /// The connection.
    Connection,
    /// The server.
    Server,
    /// Scripts.
    Scripting,
    /// HyperLogLog.
    HyperLogLog,
    /// The cluster.
    Cluster,
    /// Geographical indexes.
    Geo,
    /// Streams.
    Stream,
    /// Bitmaps.
    Bitmap,
    /// Bloom filters.
    Bloom,
    /// Cuckoo filters.
    Cuckoo,
}

impl Group {
    /// The name that COMMAND DOCS prints.
    pub fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Hash => "hash",
            Group::PubSub => "pubsub",
            Group::Transactions => "transactions",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Scripting => "scripting",
            Group::HyperLogLog => "hyperloglog",
            Group::Cluster => "cluster",
            Group::Geo => "geo",
            Group::Stream => "stream",
            Group::Bitmap => "bitmap",
            Group::Bloom => "bf",
            Group::Cuckoo => "cf",
        }
    }
}

/// One range of keys among the words of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeySpec {
    /// Index of the first key, at least 1; of the number of keys if they are counted; of the first word that may be the keyword
    /// if they stand behind one.
    pub first: u32,
    /// How the range is found from there.
    pub find: Find,
    /// What happens to these keys.
    pub flags: KeyFlags,
    /// The remark that COMMAND INFO prints, or empty.
    pub notes: &'static str,
}

/// How a range of keys is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Find {
    /// From the first key to the last, whose index is given; negative: from the end, -1 being the last word.
    Range {
        /// Index of the last key.
        last: i32,
        /// Words from one key to the next.
        step: u32,
    },
    /// As many words as the word before them says (ZUNION).
    Counted,
    /// Behind a keyword (STREAMS): `one` key, or the first half of all words behind it.
    Keyword {
        /// The keyword, in upper case.
        word: &'static str,
        /// Whether there is only one.
        one: bool,
    },
    /// Behind an option that may stand anywhere among others, the last of its kind; unknown to COMMAND INFO.
    Option {
        /// The option, in upper case.
        word: &'static str,
        /// The other options that have words of their own, and how many.
        others: &'static [(&'static str, usize)],
    },
    /// Not among the words at all: they follow from the content of other keys; unknown to COMMAND INFO.
    Nowhere,
}

impl KeySpec {
    /// One key at `index`.
    pub const fn at(index: u32, flags: KeyFlags) -> KeySpec {
        KeySpec::range(index, index as i32, flags)
    }

    /// Every word from `first` to `last`.
    pub const fn range(first: u32, last: i32, flags: KeyFlags) -> KeySpec {
        KeySpec { first, find: Find::Range { last, step: 1 }, flags, notes: "" }
    }

    /// Every `step`-th word from `first` to the end.
    pub const fn from(first: u32, step: u32, flags: KeyFlags) -> KeySpec {
        KeySpec { first, find: Find::Range { last: -1, step }, flags, notes: "" }
    }

    /// As many keys as the word at `count` says, behind it.
    pub const fn counted(count: u32, flags: KeyFlags) -> KeySpec {
        KeySpec { first: count, find: Find::Counted, flags, notes: "" }
    }

    /// The key behind a keyword that stands at `from` or later.
    pub const fn keyword(from: u32, word: &'static str, flags: KeyFlags) -> KeySpec {
        KeySpec { first: from, find: Find::Keyword { word, one: true }, flags, notes: "" }
    }

    /// The first half of all words behind a keyword that stands at `from` or later.
    pub const fn halved(from: u32, word: &'static str, flags: KeyFlags) -> KeySpec {
        KeySpec { first: from, find: Find::Keyword { word, one: false }, flags, notes: "" }
    }

    /// The same with a remark.
    pub const fn noted(self, notes: &'static str) -> KeySpec {
        KeySpec { notes, ..self }
    }

    /// First key, end and step, given the number of words and each of them.
    fn resolve<'w>(&self, words: usize, word: &impl Fn(usize) -> Option<&'w [u8]>) -> (usize, usize, usize) {
        let first = self.first as usize;
        match self.find {
            Find::Range { last, step } => (first, range_end(last, words), step as usize),
            Find::Counted => {
                let count =
                    word(first).and_then(protocol::parse_i64).and_then(|count| usize::try_from(count).ok());
                // Keys that are not all there are for the handler to refuse.
                let end = count.and_then(|count| count.checked_add(first + 1)).filter(|end| *end <= words);
                (first + 1, end.unwrap_or(0), 1)
            }
            Find::Keyword { word: keyword, one } => {
                let is_it =
                    |at: &usize| word(*at).is_some_and(|it| it.eq_ignore_ascii_case(keyword.as_bytes()));
                // Of several keys that are one option's, the last counts.
                let at = if one { (first..words).rev().find(is_it) } else { (first..words).find(is_it) };
                match at {
                    None => (first, 0, 1),
                    Some(at) if one => (at + 1, (at + 2).min(words), 1),
                    Some(at) => (at + 1, at + 1 + (words - at - 1) / 2, 1),
                }
            }
            Find::Option { word: option, others } => {
                let is_it = |at, name: &str| {
                    word(at).is_some_and(|it: &[u8]| it.eq_ignore_ascii_case(name.as_bytes()))
                };
                let (mut at, mut end) = (first, 0);
                while at + 1 < words {
                    let other = others.iter().find(|(name, _)| is_it(at, name));
                    if other.is_none() && is_it(at, option) {
                        end = at + 2;
                        at += 1;
                    }
                    at += 1 + other.map_or(0, |(_, operands)| *operands);
                }
                (end.max(1) - 1, end, 1)
            }
            Find::Nowhere => (first, 0, 1),
        }
    }
}

fn range_end(last: i32, words: usize) -> usize {
    match usize::try_from(last) {
        Ok(last) => (last + 1).min(words),
        Err(_) => (words + 1).saturating_sub(last.unsigned_abs() as usize),
    }
}

/// Where the keys of a command are: its key specifications.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keys(pub &'static [KeySpec]);

impl Keys {
    /// No keys.
    pub const NONE: Keys = Keys(&[]);

    /// The specifications.
    pub fn specs(self) -> &'static [KeySpec] {
        self.0
    }

    /// First key, last key and step in COMMAND INFO's old form, which knows only ranges; zeros if there are none.
    pub fn legacy(self) -> (i32, i32, i32) {
        let ranges = || {
            self.0.iter().filter_map(|spec| match spec.find {
                Find::Range { last, step } => Some((spec.first as i32, last, step as i32)),
                _ => None,
            })
        };
        let first = ranges().map(|(first, _, _)| first).min().unwrap_or(0);
        let open = ranges().map(|(_, last, _)| last).find(|last| *last < 0);
        let last = open.or_else(|| ranges().map(|(_, last, _)| last).max()).unwrap_or(0);
        (first, last, ranges().next().map_or(0, |(_, _, step)| step))
    }
}

impl Command {
    /// A row that says nothing yet: what the rows of a family start from.
    pub(crate) const BLANK: Command = Command {
        name: "",
        arity: 0,
        flags: Flags::NONE,
        keys: Keys::NONE,
        categories: Categories::NONE,
        group: Group::Generic,
        since: "",
        complexity: "",
        summary: "",
        tips: &[],
        subcommands: &[],
        run: Run::Container,
    };

    /// The name without its container's.
    pub fn short_name(&self) -> &'static str {
        self.name.split_once('|').map_or(self.name, |(_, short)| short)
    }

    /// Every ACL category: the row's own and those that its flags imply.
    pub fn acl(&self) -> Categories {
        self.categories.with(self.flags.categories())
    }

    /// The indices of the keys among `args`, in order.
    #[inline]
    pub fn key_positions(&self, args: Args<'_>) -> KeyIter {
        self.key_positions_among(args.len(), |index| args.get(index))
    }

    /// The indices of the keys among so many words, in order.
    #[inline]
    pub fn key_positions_among<'w>(&self, words: usize, word: impl Fn(usize) -> Option<&'w [u8]>) -> KeyIter {
        let mut keys = KeyIter { ranges: [(0, 0, 1); SPECS_MAX], left: 0, at: 0 };
        if let [KeySpec { first, find: Find::Range { last, step }, .. }] = self.keys.0 {
            keys.ranges[0] = (*first as usize, range_end(*last, words), *step as usize);
            keys.left = 1;
            return keys;
        }
        for (range, spec) in keys.ranges.iter_mut().zip(self.keys.0) {
            *range = spec.resolve(words, &word);
            keys.left += 1;
        }
        keys
    }

    /// Whether it may look at keys that follow from the content of others.
    pub fn derives_keys(&self) -> bool {
        self.keys.0.iter().any(|spec| spec.find == Find::Nowhere)
    }

    /// The indices of the keys among `args` with the flags of the specification that names each; what is only routed like
    /// a key is left out.
    pub fn keys_with_flags<'w>(&self, args: Args<'w>) -> impl Iterator<Item = (usize, KeyFlags)> + use<'w> {
        let keys = self.keys.0.iter().filter(|spec| !spec.flags.has(KeyFlags::NOT_KEY));
        keys.flat_map(move |spec| {
            let (first, end, step) = spec.resolve(args.len(), &|index| args.get(index));
            (first..end).step_by(step.max(1)).map(|index| (index, spec.flags))
        })
    }

    /// The same with only those keys that it waits for, if it waits: BLMOVE not for its destination.
    pub fn awaited(&self) -> Command {
        Command { keys: Keys(self.keys.0.get(..1).unwrap_or_default()), ..*self }
    }

    /// Whether it reads or writes exactly one key, its second word, in about constant time: then it may share the cost of
    /// locking, of the clock and of statistics with others like it.
    #[inline]
    pub fn is_brief(&self) -> bool {
        crate::lookup::is_brief(self.index())
    }

    pub(crate) const fn derive_brief(&self) -> bool {
        let one_key = matches!(self.keys.0, [KeySpec { first: 1, find: Find::Range { last: 1, .. }, .. }]);
        one_key
            && matches!(self.run, Run::Read(_) | Run::Write(_))
            && (matches!(self.complexity.as_bytes(), b"O(1)") || self.is_quick())
    }

    /// Whether a command on a collection takes about constant time with as few words as are usual: where it has many, it is merely
    /// the last of those with which it shares a look at the clock.
    const fn is_quick(&self) -> bool {
        matches!(
            self.name.as_bytes(),
            b"lpush"
                | b"rpush"
                | b"lpushx"
                | b"rpushx"
                | b"lpop"
                | b"rpop"
                | b"hset"
                | b"hmset"
                | b"hdel"
                | b"hmget"
                | b"sadd"
                | b"srem"
                | b"spop"
                | b"srandmember"
                | b"smismember"
                | b"zadd"
                | b"zincrby"
                | b"zrem"
                | b"zrank"
                | b"zrevrank"
                | b"zmscore"
                | b"zpopmin"
                | b"zpopmax"
                | b"xadd"
        )
    }

    /// Whether the number of words is right.
    #[inline]
    pub fn accepts(&self, words: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { words >= wanted } else { words == wanted }
    }

    /// Place of this row among all rows, subcommands included: for statistics kept in an array of [`count`].
    ///
    /// # Panics
    /// If the row does not come from [`find`], [`lookup`] or [`all`].
    #[inline]
    pub fn index(&self) -> usize {
        crate::lookup::index_of(self)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({})", self.name)
    }
}

/// Most key specifications of a row.
pub(crate) const SPECS_MAX: usize = 3;

/// Indices of the keys of one command; see [`Command::key_positions`].
#[derive(Clone, Debug)]
pub struct KeyIter {
    /// Next, end and step of each range.
    ranges: [(usize, usize, usize); SPECS_MAX],
    /// How many ranges there are.
    left: usize,
    /// The range that comes next.
    at: usize,
}

impl Iterator for KeyIter {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.at < self.left {
            let (next, end, step) = &mut self.ranges[self.at];
            if *next < *end {
                let index = *next;
                *next += *step;
                return Some(index);
            }
            self.at += 1;
        }
        None
    }
}
