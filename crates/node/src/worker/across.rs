//! Commands on keys of different primaries, of those that are not merely split ([`super::gather`]).
//!
//! Either copies of all values are fetched, the command runs on them here, and what it changed is applied at the primaries
//! ([`commands::across`] has the details); or, where an element is moved from one key to another, it is taken and then added by
//! ordinary commands. In both cases one write decides: a command that ends before it has done nothing. What is not done at
//! one moment is not atomic: others may see an element in neither key.

use super::Worker;
use super::dispatch::{CROSS_SLOT, Meta, Outcome};
use super::gather::{Gathering, Kind};
use super::{IN_DOUBT, TRY_AGAIN};
use crate::frame::{Request, Scope, Words};
use crate::target::{Delivery, Target};
use commands::across::{self, APPLIED, Across, CHANGED};
use commands::generic::sort;
use commands::{Access, Args, Command, ReadCtx, Run, WriteCtx};
use effect::RecordBuilder;
use protocol::{Reply, Value, Version};
use smallvec::SmallVec;
use stdx::{Mono, PartitionId};
use store::Partition;

/// How often all of it begins anew because a value has changed meanwhile.
const TRIES_MAX: u32 = 20;
/// Most keys that follow from the content of others (SORT with BY or GET).
const DERIVED_KEYS_MAX: usize = 100_000;
const TOO_MANY_KEYS: &[u8] = b"-ERR BY and GET of SORT name too many keys of other slots\r\n";

/// A command under way.
pub(super) struct AcrossPlan {
    command: &'static Command,
    request: Request,
    deadline: Mono,
    tries: u32,
    step: Step,
}

enum Step {
    /// Values are being fetched.
    Fetch(Fetch),
    /// A change is being made, others follow; then this is the reply.
    Apply { left: Vec<Change>, reply: Vec<u8>, is_first: bool },
    /// Whether source and destination of an element are of the right type.
    Check(Transfer),
    /// The element is being taken.
    Take(Transfer),
    /// It is being added.
    Add { reply: Vec<u8> },
}

/// Keys and values.
#[derive(Default)]
struct Fetch {
    /// Those that have come, each as [`across::fetch`] answers.
    known: Vec<(Vec<u8>, Vec<u8>)>,
    /// Those that are under way.
    wanted: Vec<Vec<u8>>,
}

impl Fetch {
    /// The keys that the words of a command name.
    fn of(command: &Command, args: Args<'_>) -> Fetch {
        let mut wanted: Vec<Vec<u8>> = command.key_positions(args).map(|at| args.at(at).to_vec()).collect();
        wanted.sort();
        wanted.dedup();
        Fetch { known: Vec::new(), wanted }
    }

    /// Takes the answers; `None` if a node has answered with something that is no value.
    fn take(&mut self, parts: &[Vec<u8>]) -> Option<()> {
        for (key, part) in std::mem::take(&mut self.wanted).into_iter().zip(parts) {
            let Ok(Some((Value::Bulk(bytes), _))) = protocol::decode(part) else { return None };
            self.known.push((key, bytes));
        }
        Some(())
    }
}

/// What is to be changed about one key.
struct Change {
    key: Vec<u8>,
    condition: Vec<u8>,
    effects: Vec<u8>,
}

/// The commands of a transfer.
struct Transfer {
    take: Vec<Vec<u8>>,
    /// Without the element.
    add: Vec<Vec<u8>>,
    /// The element, where it is known beforehand.
    element: Option<Vec<u8>>,
}

impl Worker {
    /// Runs a command whose keys have different primaries. `None` if it cannot run now.
    pub(super) fn attempt_across(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        meta: &Meta<'_>,
        target: Target,
        out: &mut Vec<u8>,
    ) -> Option<Outcome> {
        let how = across::across(command);
        // Its destination may be in another database, which is another key.
        let leaves_database =
            command.name == "copy" && args.tail(3).iter().any(|word| word.eq_ignore_ascii_case(b"db"));
        if leaves_database || (how.is_none() && !matches!(command.run, Run::Read(_))) {
            Reply::new(out, meta.version).error(CROSS_SLOT);
            return Some(Outcome::Ready);
        }
        let (request, deadline) = (meta.request(args), meta.deadline);
        let step = match how {
            Some(Across::Transfer) => match transfer_of(command, args) {
                Ok(transfer) => Step::Check(transfer),
                Err(error) => {
                    Reply::new(out, meta.version).error(error);
                    return Some(Outcome::Ready);
                }
            },
            _ => Step::Fetch(Fetch::of(command, args)),
        };
        let plan = AcrossPlan { command, request, deadline, tries: TRIES_MAX, step };
        let outcome = self.start_across(plan, target);
        // What follows on the connection must find the change, which is made after the first step.
        Some(if how.is_some() { Outcome::Held } else { outcome })
    }

    /// Sends the requests of a step.
    fn start_across(&mut self, plan: AcrossPlan, target: Target) -> Outcome {
        let (version, deadline) = (plan.request.version, plan.deadline);
        let request =
            |scope, words: &[&[u8]]| Request { scope, words: Words::copy_of(words), ..plan.request.clone() };
        let requests: Vec<Request> = match &plan.step {
            Step::Fetch(fetch) => {
                fetch.wanted.iter().map(|key| request(Scope::Fetch, &[b"FETCH", key])).collect()
            }
            Step::Apply { left, .. } => left
                .first()
                .map(|change| {
                    request(Scope::Apply, &[b"APPLY", &change.key, &change.condition, &change.effects])
                })
                .into_iter()
                .collect(),
            Step::Check(transfer) => {
                let count: &[u8] = if transfer.element.is_some() { b"SCARD" } else { b"LLEN" };
                let of = |key: &[u8]| request(Scope::Keys, &[count, key]);
                vec![of(&transfer.take[1]), of(&transfer.add[1])]
            }
            Step::Take(transfer) => {
                let words: Vec<&[u8]> = transfer.take.iter().map(Vec::as_slice).collect();
                vec![request(Scope::Keys, &words)]
            }
            Step::Add { .. } => vec![Request { scope: Scope::Keys, ..plan.request.clone() }],
        };
        let commands: Vec<&'static Command> = requests.iter().map(command_of).collect();
        let key = self.gatherings.insert(Gathering::new(
            target,
            version,
            Kind::Across(Box::new(plan)),
            requests.len(),
        ));
        let mut held = false;
        for (part, (request, command)) in requests.into_iter().zip(commands).enumerate() {
            held |= self.start_part(key, part, command, request, deadline);
        }
        if held { Outcome::Held } else { Outcome::Elsewhere }
    }

    /// All answers of a step have come.
    pub(super) fn go_on_across(
        &mut self,
        plan: AcrossPlan,
        target: Target,
        version: Version,
        mut parts: Vec<Vec<u8>>,
    ) {
        let failed = parts.iter().position(|part| part.first() == Some(&b'-'));
        let AcrossPlan { command, request, deadline, tries, step } = plan;
        let next = |step| AcrossPlan { command, request: request.clone(), deadline, tries, step };
        let (plan, reply) = match (step, failed) {
            // The element is taken, and may not be where it was to go.
            (Step::Add { .. } | Step::Apply { is_first: false, .. }, Some(_)) => (None, IN_DOUBT.to_vec()),
            // Where there is nothing to take, the destination does not matter.
            (Step::Check(transfer), Some(1)) if parts[0] == b":0\r\n" => {
                (Some(next(Step::Take(transfer))), Vec::new())
            }
            (_, Some(failed)) => (None, parts.swap_remove(failed)),
            (Step::Fetch(fetch), None) => match self.fetched(command, &request, fetch, &parts) {
                Ok(step) => (Some(next(step)), Vec::new()),
                Err(reply) => (None, reply),
            },
            (Step::Apply { mut left, reply, .. }, None) if parts[0] == APPLIED => {
                left.remove(0);
                match left.is_empty() {
                    true => (None, reply),
                    false => (Some(next(Step::Apply { left, reply, is_first: false })), Vec::new()),
                }
            }
            (Step::Apply { .. }, None) if parts[0] == CHANGED && tries > 0 && self.now < deadline => {
                let words: SmallVec<[&[u8]; 16]> = request.words.iter().collect();
                let fetch = Fetch::of(command, Args::new(&words));
                (Some(AcrossPlan { tries: tries - 1, ..next(Step::Fetch(fetch)) }), Vec::new())
            }
            (Step::Apply { .. }, None) => (None, TRY_AGAIN.to_vec()),
            (Step::Check(transfer), None) => (Some(next(Step::Take(transfer))), Vec::new()),
            (Step::Take(transfer), None) => match added(&transfer, &parts[0], version) {
                // An attempt of a command that waits says nothing where there is nothing.
                Err(_) if request.scope == Scope::Attempt => (None, Vec::new()),
                Err(reply) => (None, reply),
                Ok((words, reply)) => {
                    let request = Request { words, ..request.clone() };
                    (Some(AcrossPlan { request, ..next(Step::Add { reply }) }), Vec::new())
                }
            },
            (Step::Add { reply }, None) => (None, reply),
        };
        match plan {
            Some(plan) => {
                self.start_across(plan, target);
            }
            None => self.deliveries.push_back((target, Delivery::Bytes(reply))),
        }
    }

    /// Values have come: the step that follows, or the reply.
    fn fetched(
        &mut self,
        command: &'static Command,
        request: &Request,
        mut fetch: Fetch,
        parts: &[Vec<u8>],
    ) -> Result<Step, Vec<u8>> {
        let is_first = fetch.known.is_empty();
        fetch.take(parts).ok_or(TRY_AGAIN)?;
        let mut scratch = self.scratch(&fetch.known).ok_or(TRY_AGAIN)?;
        if is_first && command.derives_keys() {
            let words: SmallVec<[&[u8]; 16]> = request.words.iter().collect();
            let (args, wall) = (Args::new(&words), self.wall);
            let source = scratch.peek(request.db, args.at(1), scratch.hash(args.at(1)), wall);
            let mut derived = sort::derived_keys(args, source);
            derived.retain(|key| fetch.known.iter().all(|(known, _)| known != key));
            if derived.len() > DERIVED_KEYS_MAX {
                return Err(TOO_MANY_KEYS.to_vec());
            }
            if !derived.is_empty() {
                fetch.wanted = derived;
                return Ok(Step::Fetch(fetch));
            }
        }
        let (reply, left) =
            self.run_on_copies(command, request, &fetch.known, &mut scratch).ok_or(TRY_AGAIN)?;
        if left.is_empty() { Err(reply) } else { Ok(Step::Apply { left, reply, is_first: true }) }
    }

    /// A partition made of fetched values; `None` if one is none.
    fn scratch(&mut self, known: &[(Vec<u8>, Vec<u8>)]) -> Option<Partition> {
        let mut scratch = Partition::new(self.random.next_u64());
        for effect in known.iter().flat_map(|(_, bytes)| effect::decode(bytes)) {
            let effect = effect.ok()?;
            let hash = scratch.hash(effect.key()?);
            scratch.apply(&effect, hash, self.wall);
        }
        Some(scratch)
    }

    /// Runs the command on a partition made of the fetched values: its reply, and what it changed, by key in the order of the
    /// changes. `None` if it is no command on keys.
    fn run_on_copies(
        &mut self,
        command: &'static Command,
        request: &Request,
        fetched: &[(Vec<u8>, Vec<u8>)],
        scratch: &mut Partition,
    ) -> Option<(Vec<u8>, Vec<Change>)> {
        let (mut record, mut touched, mut out) = (RecordBuilder::new(), Vec::new(), Vec::new());
        let words: SmallVec<[&[u8]; 16]> = request.words.iter().collect();
        let (args, mut reply) = (Args::new(&words), Reply::new(&mut out, request.version));
        let mut accesses = [Access {
            id: PartitionId(0),
            store: scratch,
            record: &mut record,
            touched: &mut touched,
            log: true,
        }];
        match command.run {
            Run::Read(run) => {
                run(&mut ReadCtx::new(request.db, self.wall, 1, &mut accesses), args, &mut reply);
            }
            Run::Write(run) => {
                run(&mut WriteCtx::new(request.db, self.wall, 1, &mut accesses), args, &mut reply);
            }
            _ => return None,
        }
        let compares = across::across(command) == Some(Across::Compare);
        Some((out, changes(&record.take(), fetched, compares)))
    }
}

/// Encoded effects by key, in the order in which keys were first changed.
fn changes(record: &[u8], fetched: &[(Vec<u8>, Vec<u8>)], compares: bool) -> Vec<Change> {
    let mut changes: Vec<(Change, RecordBuilder)> = Vec::new();
    for effect in effect::decode(record).flatten() {
        let key = effect.key().unwrap_or_default();
        let at = changes.iter().position(|(change, _)| change.key == key).unwrap_or_else(|| {
            let former = fetched.iter().find(|(other, _)| *other == key).map_or(&[][..], |(_, bytes)| bytes);
            let condition = if compares { across::digest(former).to_vec() } else { across::ANY.to_vec() };
            changes
                .push((Change { key: key.to_vec(), condition, effects: Vec::new() }, RecordBuilder::new()));
            changes.len() - 1
        });
        changes[at].1.push(&effect);
    }
    changes.into_iter().map(|(change, mut record)| Change { effects: record.take(), ..change }).collect()
}

/// The row of a request that a step sends.
fn command_of(request: &Request) -> &'static Command {
    let words: SmallVec<[&[u8]; 16]> = request.words.iter().collect();
    let command = super::dispatch::find(request.scope, Args::new(&words));
    command.expect("a step is made of commands that exist")
}

/// The commands that a transfer consists of, or the error of its arguments.
fn transfer_of(command: &Command, args: Args<'_>) -> Result<Transfer, &'static str> {
    let (from, to) = (args.at(1).to_vec(), args.at(2).to_vec());
    let is_left = |at: usize| match () {
        () if args.is(at, "LEFT") => Ok(true),
        () if args.is(at, "RIGHT") => Ok(false),
        () => Err("ERR syntax error"),
    };
    let (pops_left, pushes_left) = match command.name {
        "lmove" | "blmove" => (is_left(3)?, is_left(4)?),
        "rpoplpush" | "brpoplpush" => (false, true),
        _ => {
            let element = args.at(3).to_vec();
            let take = vec![b"SREM".to_vec(), from, element.clone()];
            return Ok(Transfer { take, add: vec![b"SADD".to_vec(), to], element: Some(element) });
        }
    };
    let pop: &[u8] = if pops_left { b"LPOP" } else { b"RPOP" };
    let push: &[u8] = if pushes_left { b"LPUSH" } else { b"RPUSH" };
    Ok(Transfer { take: vec![pop.to_vec(), from], add: vec![push.to_vec(), to], element: None })
}

/// After taking: the command that adds and the reply after it, or the reply if there was nothing to take.
fn added(transfer: &Transfer, taken: &[u8], version: Version) -> Result<(Words, Vec<u8>), Vec<u8>> {
    let (element, reply) = match (protocol::decode(taken), &transfer.element) {
        (Ok(Some((Value::Integer(1), _))), Some(element)) => (element.clone(), taken.to_vec()),
        (Ok(Some((Value::Bulk(element), _))), None) => {
            let mut reply = Vec::new();
            Reply::new(&mut reply, version).bulk(&element);
            (element, reply)
        }
        _ => return Err(taken.to_vec()),
    };
    let words: Vec<&[u8]> = transfer.add.iter().map(Vec::as_slice).chain([&element[..]]).collect();
    Ok((Words::copy_of(&words), reply))
}
