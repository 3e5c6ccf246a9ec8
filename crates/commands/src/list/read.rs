//! Commands that only read a list: LLEN, LRANGE, LINDEX and LPOS. A walk goes from element to element in either direction,
//! whatever the list's length.

use super::{ROW, list_of, range};
use crate::args::Args;
use crate::context::ReadCtx;
use crate::error::{CommandError, Outcome, answer, answer_integer, integer};
use crate::table::{Command, Flags, KeyFlags, KeySpec, Keys, Run};
use protocol::Reply;
use store::ListRef;

pub(crate) const COMMANDS: &[Command] = &[
    Command {
        name: "llen",
        arity: 2,
        flags: Flags::READONLY.with(Flags::FAST),
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO)]),
        since: "1.0.0",
        complexity: "O(1)",
        summary: "Returns the length of a list.",
        run: Run::Read(llen),
        ..ROW
    },
    Command {
        name: "lrange",
        arity: 4,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "1.0.0",
        complexity: "O(S+N) where S is the distance of start offset from HEAD for small lists, from nearest \
            end (HEAD or TAIL) for large lists; and N is the number of elements in the specified range.",
        summary: "Returns a range of elements from a list.",
        run: Run::Read(lrange),
        ..ROW
    },
    Command {
        name: "lindex",
        arity: 3,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "1.0.0",
        complexity: "O(N) where N is the number of elements to traverse to get to the element at index. \
            This makes asking for the first or the last element of the list O(1).",
        summary: "Returns an element from a list by its index.",
        run: Run::Read(lindex),
        ..ROW
    },
    Command {
        name: "lpos",
        arity: -3,
        flags: Flags::READONLY,
        keys: Keys(&[KeySpec::at(1, KeyFlags::RO.with(KeyFlags::ACCESS))]),
        since: "6.0.6",
        complexity: "O(N) where N is the number of elements in the list, for the average case. When \
            searching for elements near the head or the tail of the list, or when the MAXLEN option is \
            provided, the command may run in constant time.",
        summary: "Returns the index of matching elements in a list.",
        run: Run::Read(lpos),
        ..ROW
    },
];

fn llen(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = list_of(ctx.get(args.at(1))).map(|list| list.map_or(0, |list| list.len() as i64));
    answer_integer(reply, outcome);
}

fn lrange(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = reply_range(ctx, args, reply);
    answer(reply, outcome);
}

fn reply_range(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let (start, end) = (integer(args.at(2))?, integer(args.at(3))?);
    let Some(list) = list_of(ctx.get(args.at(1)))? else {
        reply.array(0);
        return Ok(());
    };
    let range = range(start, end, list.len());
    reply.array(range.len());
    list.iter_from(range.start).take(range.len()).for_each(|element| reply.bulk(element));
    Ok(())
}

fn lindex(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = reply_element(ctx, args, reply);
    answer(reply, outcome);
}

fn reply_element(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let Some(list) = list_of(ctx.get(args.at(1)))? else {
        reply.null();
        return Ok(());
    };
    let element = super::place(integer(args.at(2))?, list.len()).and_then(|index| list.get(index));
    match element {
        None => reply.null(),
        Some(element) => reply.bulk(element),
    }
    Ok(())
}

fn lpos(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    let outcome = reply_positions(ctx, args, reply);
    answer(reply, outcome);
}

/// The options of LPOS.
struct Search {
    from_right: bool,
    /// Which match is the first to count, from 1.
    rank: u64,
    /// How many matches are wanted, 0 for all; `None` for one and a reply that is no array.
    count: Option<u64>,
    /// Most elements to compare; 0 for all.
    length_max: u64,
}

impl Search {
    fn parse(args: Args<'_>) -> Outcome<Search> {
        let mut search = Search { from_right: false, rank: 1, count: None, length_max: 0 };
        let mut options = args.tail(3).chunks_exact(2);
        for option in &mut options {
            let (name, value) = (option[0], option[1]);
            if name.eq_ignore_ascii_case(b"rank") {
                (search.from_right, search.rank) = rank(value)?;
            } else if name.eq_ignore_ascii_case(b"count") {
                search.count = Some(not_negative(value, "COUNT can't be negative")?);
            } else if name.eq_ignore_ascii_case(b"maxlen") {
                search.length_max = not_negative(value, "MAXLEN can't be negative")?;
            } else {
                return Err(CommandError::Syntax);
            }
        }
        if options.remainder().is_empty() { Ok(search) } else { Err(CommandError::Syntax) }
    }

    /// Visits the indices of the matches that are wanted.
    fn run(&self, list: &ListRef<'_>, element: &[u8], visit: &mut dyn FnMut(usize)) {
        let len = list.len();
        if self.from_right {
            let places = (0..len).rev();
            self.walk(places.zip(list.iter_back_from(usize::MAX)), element, visit);
        } else {
            self.walk((0..len).zip(list.iter()), element, visit);
        }
    }

    fn walk<'e>(
        &self,
        elements: impl Iterator<Item = (usize, &'e [u8])>,
        element: &[u8],
        visit: &mut dyn FnMut(usize),
    ) {
        let bound = |number: u64| if number == 0 { usize::MAX } else { number as usize };
        let matches = elements.take(bound(self.length_max)).filter(|(_, other)| *other == element);
        let wanted = matches.skip(self.rank as usize - 1).take(bound(self.count.unwrap_or(1)));
        wanted.for_each(|(place, _)| visit(place));
    }
}

fn rank(word: &[u8]) -> Outcome<(bool, u64)> {
    match integer(word)? {
        0 => Err(CommandError::Other(
            "RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use \
            negative to start from the end of the list",
        )),
        i64::MIN => Err(CommandError::Other(
            "value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        )),
        rank => Ok((rank < 0, rank.unsigned_abs())),
    }
}

fn not_negative(word: &[u8], error: &'static str) -> Outcome<u64> {
    let number = protocol::parse_i64(word).and_then(|number| u64::try_from(number).ok());
    number.ok_or(CommandError::Other(error))
}

fn reply_positions(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) -> Outcome<()> {
    let (search, element) = (Search::parse(args)?, args.at(2));
    let Some(list) = list_of(ctx.get(args.at(1)))? else {
        match search.count {
            None => reply.null(),
            Some(_) => reply.array(0),
        }
        return Ok(());
    };
    if search.count.is_some() {
        let (begin, mut found) = (reply.array_begin(), 0);
        search.run(&list, element, &mut |place| {
            reply.integer(place as i64);
            found += 1;
        });
        reply.array_end(begin, found);
        return Ok(());
    }
    let mut first = None;
    search.run(&list, element, &mut |place| first = Some(place));
    match first {
        None => reply.null(),
        Some(place) => reply.integer(place as i64),
    }
    Ok(())
}
