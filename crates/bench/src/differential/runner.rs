//! Runs one program in the reference and in all that is compared with it, and stops at the first difference.

use super::checks::check_of;
use super::compare::{Judge, Verdict};
use super::conversation::Conversation;
use super::link::{Link, Words};
use super::program::{Line, Program};
use super::rules::Rules;
use super::servers::{CONNECTIONS, Party};
use super::state::compare_all;
use super::value::{Value, shown};
use crate::Result;
use std::thread::sleep;
use std::time::{Duration, Instant};

const BATCH_LINES_MAX: usize = 64;
const BATCH_BYTES_MAX: usize = 128 * 1024;
/// Clocks that are read in different moments may differ by this much at rest.
const CLOCKS_APART_MS: u64 = 2;
/// Errors by which a cluster says that it could not execute a command now.
const UNAVAILABLE: &[&str] = &["TRYAGAIN ", "CLUSTERDOWN ", "NOREPLICAS ", "INDOUBT "];

/// What a program has found.
#[derive(Clone)]
pub(super) struct Difference {
    /// Which of ours.
    pub(super) party: &'static str,
    /// The line of the program; `None` for what the servers hold after it.
    pub(super) line: Option<usize>,
    /// The command, shortened.
    pub(super) command: String,
    /// The reference's reply.
    pub(super) theirs: String,
    /// Ours.
    pub(super) ours: String,
    /// The check that failed, or what else was found.
    pub(super) why: String,
    /// Equal for differences that are probably one.
    pub(super) signature: String,
}

/// Counts of a whole run.
#[derive(Default)]
pub(super) struct Counts {
    /// Commands sent to the reference.
    pub(super) commands: u64,
    /// Replies compared, in each of ours.
    pub(super) compared: u64,
    /// Keys whose contents were compared.
    pub(super) keys: u64,
    /// Programs not run to their end in one of ours because it could not serve.
    pub(super) interrupted: u64,
}

/// What one run of a program needs.
pub(super) struct Runner<'a> {
    /// The reference.
    pub(super) redis: &'a mut Party,
    /// What is compared.
    pub(super) ours: Vec<&'a mut Party>,
    /// Allowed differences.
    pub(super) rules: &'a mut Rules,
    /// Counts so far.
    pub(super) counts: &'a mut Counts,
}

/// One of ours within a run.
struct Side<'a> {
    party: &'a mut Party,
    judge: Judge,
    /// Still the same as the reference.
    is_alike: bool,
}

/// Why a side cannot go on.
enum Stop {
    Different(Box<Difference>),
    /// The reference has failed, so there is nothing to compare with.
    Fatal(crate::Error),
}

impl Runner<'_> {
    /// Runs a program in empty servers.
    ///
    /// # Errors
    /// When the reference fails, or one of ours does not take connections any more.
    pub(super) fn run(self, program: &Program) -> Result<Option<Difference>> {
        let Runner { redis, ours, rules, counts } = self;
        redis.choose_node(0);
        prepare(redis, program.protocol)?;
        let mut sides = Vec::new();
        for party in ours {
            party.choose_node(program.seed);
            prepare(party, program.protocol)?;
            sides.push(Side { party, judge: Judge::default(), is_alike: true });
        }
        let mut run = Run { redis, sides, rules, counts, began: Instant::now() };
        match run.lines(&program.lines).and_then(|()| run.contents(program.protocol)) {
            Ok(()) => Ok(None),
            Err(Stop::Fatal(error)) => Err(error),
            Err(Stop::Different(difference)) => {
                // Whatever has not been read yet goes with the connections.
                run.redis.reconnect()?;
                run.sides.iter_mut().try_for_each(|side| side.party.reconnect())?;
                Ok(Some(*difference))
            }
        }
    }
}

/// Empties a server and brings its connections to the state of new ones.
fn prepare(party: &mut Party, protocol: u8) -> Result<()> {
    for connection in 0..CONNECTIONS {
        let link = party.link(connection);
        link.push(&["RESET"]);
        link.push(&["HELLO", &protocol.to_string()]);
        if connection == 0 {
            link.push(&["FLUSHALL"]);
        }
        link.flush()?;
        for _ in 0..2 + usize::from(connection == 0) {
            let reply = link.receive()?;
            if let Some(error) = reply.error() {
                return Err(format!("{}: {}", party.name, error.escape_ascii()).into());
            }
        }
    }
    Ok(())
}

struct Run<'a> {
    redis: &'a mut Party,
    sides: Vec<Side<'a>>,
    rules: &'a mut Rules,
    counts: &'a mut Counts,
    began: Instant,
}

impl Run<'_> {
    fn lines(&mut self, lines: &[Line]) -> std::result::Result<(), Stop> {
        let mut from = 0;
        while from < lines.len() {
            let to = batch_end(lines, from);
            self.batch(lines, from, to)?;
            if lines[to - 1].pause_ms > 0 {
                sleep(Duration::from_millis(lines[to - 1].pause_ms));
            }
            from = to;
        }
        Ok(())
    }

    /// Sends some lines to all, then reads and compares the replies.
    fn batch(&mut self, lines: &[Line], from: usize, to: usize) -> std::result::Result<(), Stop> {
        let (batch, connection) = (&lines[from..to], lines[from].connection);
        send(self.redis.link(connection), batch).map_err(Stop::Fatal)?;
        for side in self.sides.iter_mut().filter(|side| side.is_alike) {
            send(side.party.link(connection), batch)
                .map_err(|error| broken(side, Some(from), batch, &error))?;
        }
        let theirs =
            receive(self.redis.link(connection), batch.len()).map_err(|(_, error)| Stop::Fatal(error))?;
        let mut replies = Vec::new();
        for side in &mut self.sides {
            let expected = if side.is_alike { batch.len() } else { 0 };
            let received = receive(side.party.link(connection), expected);
            replies.push(
                received.map_err(|(read, error)| broken(side, Some(from + read), &batch[read..], &error))?,
            );
        }
        self.counts.commands += batch.len() as u64;
        for (side, ours) in self.sides.iter_mut().zip(&replies) {
            for (index, ((line, theirs), ours)) in batch.iter().zip(&theirs).zip(ours).enumerate() {
                if !side.is_alike {
                    break;
                }
                side.judge.tolerance_ms = self.began.elapsed().as_millis() as u64 + CLOCKS_APART_MS;
                self.counts.compared += 1;
                compare(side, self.redis, line, from + index, (theirs, ours), (self.rules, self.counts))?;
            }
        }
        Ok(())
    }

    /// Compares what the servers hold at the end.
    fn contents(&mut self, protocol: u8) -> std::result::Result<(), Stop> {
        for side in self.sides.iter_mut().filter(|side| side.is_alike) {
            for link in [self.redis.link(0), side.party.link(0)] {
                let restart = [words(&["RESET"]), words(&["HELLO", &protocol.to_string()])];
                link.ask_all(&restart).map_err(Stop::Fatal)?;
            }
            side.judge.tolerance_ms = self.began.elapsed().as_millis() as u64 + CLOCKS_APART_MS;
            let (theirs, ours) = (self.redis.link(0), side.party.link(0));
            let found = compare_all(theirs, ours, &side.judge, self.rules, &mut self.counts.keys)
                .map_err(|error| broken(side, None, &[], &error))?;
            if let Some(found) = found {
                let asked = words(&[&found.asked]);
                let why = "contents after the program".to_owned();
                return Err(different(side, None, &asked, (&found.theirs, &found.ours), why));
            }
        }
        Ok(())
    }
}

fn words(words: &[&str]) -> Words {
    words.iter().map(|word| word.as_bytes().to_vec()).collect()
}

/// Where the lines end that can be sent together with the first.
fn batch_end(lines: &[Line], from: usize) -> usize {
    let mut bytes = 0;
    for (index, line) in lines.iter().enumerate().skip(from) {
        bytes += line.words.iter().map(Vec::len).sum::<usize>();
        let alone = check_of(&line.words).is_conversation();
        let fits = index - from < BATCH_LINES_MAX && bytes < BATCH_BYTES_MAX;
        if index > from && (alone || !fits || line.connection != lines[from].connection) {
            return index;
        }
        if alone || line.pause_ms > 0 {
            return index + 1;
        }
    }
    lines.len()
}

fn send(link: &mut Link, lines: &[Line]) -> Result<()> {
    lines.iter().for_each(|line| link.push(&line.words));
    link.flush()
}

/// Reads so many replies; how many there were before an error.
fn receive(link: &mut Link, count: usize) -> std::result::Result<Vec<Value>, (usize, crate::Error)> {
    let mut replies = Vec::with_capacity(count);
    while replies.len() < count {
        let reply = link.receive().map_err(|error| (replies.len(), error))?;
        replies.push(reply);
    }
    Ok(replies)
}

fn compare(
    side: &mut Side<'_>,
    redis: &mut Party,
    line: &Line,
    at: usize,
    (theirs, ours): (&Value, &Value),
    (rules, counts): (&mut Rules, &mut Counts),
) -> std::result::Result<(), Stop> {
    if ours.error().is_some_and(|error| UNAVAILABLE.iter().any(|word| error.starts_with(word.as_bytes()))) {
        counts.interrupted += 1;
        side.is_alike = false;
        return Ok(());
    }
    let check = check_of(&line.words);
    let queued = *theirs == Value::Simple(b"QUEUED".to_vec());
    let verdict = if check.is_conversation() && !queued {
        let (redis, link) = (redis.link(line.connection), side.party.link(line.connection));
        let mut conversation = Conversation { words: &line.words, redis, theirs, link, ours };
        let held = conversation.hold(check, &side.judge, rules);
        held.map_err(|error| broken(side, Some(at), std::slice::from_ref(line), &error))?
    } else {
        side.judge.judge(&line.words, line.connection, theirs, ours, rules)
    };
    match verdict {
        Verdict::Same => Ok(()),
        Verdict::Parted => {
            side.is_alike = false;
            Ok(())
        }
        Verdict::Differs(why) => Err(different(side, Some(at), &line.words, (theirs, ours), why)),
    }
}

fn different(
    side: &Side<'_>,
    line: Option<usize>,
    words: &Words,
    (theirs, ours): (&Value, &Value),
    why: String,
) -> Stop {
    let name =
        words.first().map(|word| word.to_ascii_uppercase().escape_ascii().to_string()).unwrap_or_default();
    let name = name.split(' ').next().unwrap_or_default().to_owned();
    let brief = |value: &Value| match value.error().map(|text| text.split(|byte| *byte == b'\'').next()) {
        Some(text) => shown(text.unwrap_or_default()),
        None => value.kind().to_owned(),
    };
    // Of a transaction it is the command inside it that counts.
    let inside = why.split(':').next().filter(|why| why.starts_with("inside"));
    let place = inside.unwrap_or(if line.is_some() { "" } else { "contents" });
    Stop::Different(Box::new(Difference {
        party: side.party.name,
        line,
        command: command_text(words),
        theirs: theirs.to_string(),
        ours: ours.to_string(),
        signature: format!("{place} {name}: {} / {}", brief(theirs), brief(ours)),
        why,
    }))
}

fn broken(side: &Side<'_>, line: Option<usize>, lines: &[Line], error: &crate::Error) -> Stop {
    let words = lines.first().map(|line| line.words.clone()).unwrap_or_default();
    let name =
        words.first().map(|word| word.to_ascii_uppercase().escape_ascii().to_string()).unwrap_or_default();
    Stop::Different(Box::new(Difference {
        party: side.party.name,
        line,
        command: command_text(&words),
        theirs: "a reply".to_owned(),
        ours: error.to_string(),
        why: "the connection failed".to_owned(),
        signature: format!("{name}: connection"),
    }))
}

/// A command as a person reads it.
pub(super) fn command_text(words: &Words) -> String {
    let plain =
        |word: &Vec<u8>| !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'"');
    let text = |word: &Vec<u8>| {
        if plain(word) && word.len() < 100 { word.escape_ascii().to_string() } else { shown(word) }
    };
    words.iter().map(text).collect::<Vec<_>>().join(" ")
}
