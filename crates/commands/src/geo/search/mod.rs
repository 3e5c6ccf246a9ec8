//! Members within a circle or a box, shown or stored: GEOSEARCH and its older and storing forms.

mod request;
mod rows;

use super::{Position, cell, reply_distance, reply_position};
use crate::args::Args;
use crate::context::{ReadCtx, WriteCtx};
use crate::error::{Outcome, answer};
use crate::sorted_set::sorted_set_of;
use effect::{ElementsBuilder, Kind};
use protocol::Reply;
use request::{Form, Request, Sort};
pub(crate) use rows::COMMANDS;
use std::cmp::Ordering;
use std::ops::Bound;
use store::{EntryRef, SortedSetRef};

/// A member that was found.
struct Point<'e> {
    member: &'e [u8],
    score: f64,
    position: Position,
    /// From the centre, in metres.
    distance: f64,
}

/// What is to be stored where.
struct Stored<'a> {
    key: &'a [u8],
    elements: ElementsBuilder,
    count: usize,
}

fn georadius(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    write(ctx, args, Form::AroundPosition(false), reply);
}

fn georadiusbymember(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    write(ctx, args, Form::AroundMember(false), reply);
}

fn geosearchstore(ctx: &mut WriteCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    write(ctx, args, Form::SearchStore, reply);
}

fn georadius_ro(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    read(ctx, args, Form::AroundPosition(true), reply);
}

fn georadiusbymember_ro(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    read(ctx, args, Form::AroundMember(true), reply);
}

fn geosearch(ctx: &mut ReadCtx<'_>, args: Args<'_>, reply: &mut Reply<'_>) {
    read(ctx, args, Form::Search, reply);
}

fn read(ctx: &mut ReadCtx<'_>, args: Args<'_>, form: Form, reply: &mut Reply<'_>) {
    let outcome = search(ctx.get(args.at(form.source())), args, form, reply).map(|_| ());
    answer(reply, outcome);
}

fn write(ctx: &mut WriteCtx<'_>, args: Args<'_>, form: Form, reply: &mut Reply<'_>) {
    let outcome = search(ctx.get(args.at(form.source())), args, form, reply).map(|stored| {
        if let Some(Stored { key, elements, count }) = stored {
            ctx.store_collection(key, Kind::SortedSet, elements.elements());
            reply.integer(count as i64);
        }
    });
    answer(reply, outcome);
}

/// Writes what is found, unless it is to be stored.
fn search<'a>(
    entry: Option<EntryRef<'_>>,
    args: Args<'a>,
    form: Form,
    reply: &mut Reply<'_>,
) -> Outcome<Option<Stored<'a>>> {
    let set = sorted_set_of(entry)?;
    let request = Request::parse(args, form, set)?;
    let points = set.map_or(Vec::new(), |set| find(set, &request));
    let Some(key) = request.store else {
        show(&points, &request, reply);
        return Ok(None);
    };
    let mut elements = ElementsBuilder::new();
    for point in &points {
        let score = if request.store_distance { point.distance / request.unit } else { point.score };
        elements.push(&score.to_le_bytes());
        elements.push(point.member);
    }
    Ok(Some(Stored { key, elements, count: points.len() }))
}

/// The members that are asked for, in the order that is asked for.
fn find<'e>(set: SortedSetRef<'e>, request: &Request<'_>) -> Vec<Point<'e>> {
    let Some(area) = request.area() else { return Vec::new() };
    let enough = if request.any { request.count } else { usize::MAX };
    let mut points = Vec::new();
    'cells: for cell in area.cells() {
        let (min, max) = cell.scores();
        let ranks = set.first_by_score(Bound::Included(min))..set.first_by_score(Bound::Included(max));
        for (score, member) in set.range(ranks) {
            let position = cell::position_of_score(score);
            if let Some(distance) = area.distance_inside(position) {
                points.push(Point { member, score, position, distance });
                if points.len() >= enough {
                    break 'cells;
                }
            }
        }
    }
    let nearer =
        |a: &Point<'_>, b: &Point<'_>| a.distance.partial_cmp(&b.distance).unwrap_or(Ordering::Equal);
    match request.sort {
        Sort::None => {}
        Sort::Ascending => points.sort_by(nearer),
        Sort::Descending => points.sort_by(|a, b| nearer(b, a)),
    }
    if request.count > 0 {
        points.truncate(request.count);
    }
    points
}

fn show(points: &[Point<'_>], request: &Request<'_>, reply: &mut Reply<'_>) {
    let Request { with_distance, with_hash, with_position, .. } = *request;
    let parts = usize::from(with_distance) + usize::from(with_hash) + usize::from(with_position);
    reply.array(points.len());
    for point in points {
        if parts > 0 {
            reply.array(parts + 1);
        }
        reply.bulk(point.member);
        if with_distance {
            reply_distance(reply, point.distance / request.unit);
        }
        if with_hash {
            reply.integer(point.score as i64);
        }
        if with_position {
            reply_position(reply, point.position);
        }
    }
}
