//! Single steps of the protocol, in the order in which they may go wrong.

use replication::{
    Applier, ChunkSource, Follower, FollowerStage, Log, Message, Primary, Records, Span, SpanDigest, Stage,
    Syncs,
};
use std::collections::BTreeMap;
use stdx::{Epoch, Mono, NodeId, Seq};

const PEER: NodeId = NodeId(2);
const OTHER: NodeId = NodeId(3);
const REIGN: Epoch = Epoch(5);
const NOW: Mono = Mono(0);

/// A copy that only counts what was applied; effects that start with `!` are corrupt.
#[derive(Default)]
struct Tally {
    applied: usize,
    cleared: usize,
    replaced: Vec<Span>,
    order: u64,
}

impl Applier for Tally {
    fn order(&self) -> u64 {
        self.order
    }

    fn begin(&mut self, _at: Seq, keep: bool) {
        self.cleared += usize::from(!keep);
    }

    /// Every second span differs.
    fn compare(&mut self, from: u64, spans: &[SpanDigest], _salt: u64) -> (u64, Vec<Span>) {
        let starts = std::iter::once(from).chain(spans.iter().map(|span| span.to));
        let all = starts.zip(spans).map(|(from, span)| Span { from, to: span.to });
        (spans.last().expect("never empty").to, all.step_by(2).collect())
    }

    fn record(&mut self, _seq: Seq, effects: &[u8]) -> bool {
        self.applied += 1;
        effects.first() != Some(&b'!')
    }

    fn chunk(&mut self, replaces: Option<Span>, effects: &[u8], _is_last: bool) -> bool {
        self.applied += 1;
        self.replaced.extend(replaces);
        effects.first() != Some(&b'!')
    }
}

struct OneChunk;

impl ChunkSource for OneChunk {
    fn chunk(&mut self, _cursor: Option<(u8, u64)>) -> (Vec<u8>, Option<(u8, u64)>) {
        (b"all".to_vec(), None)
    }

    fn order(&self) -> u64 {
        ORDER
    }

    /// Four spans.
    fn digests(&mut self, from: u64, _salt: u64) -> Vec<(SpanDigest, u64)> {
        assert_eq!(from, 0);
        [10, 20, 30, u64::MAX].map(|to| (SpanDigest { to, digest: [0; 2] }, 100)).into()
    }

    fn piece_of(&mut self, span: Span) -> (Vec<u8>, u64) {
        (b"some".to_vec(), span.to)
    }
}

/// The order of a copy that may be compared.
const ORDER: u64 = 77;

fn seq(epoch: u64, counter: u64) -> Seq {
    Seq { epoch: Epoch(epoch), counter }
}

fn record(epoch: u64, counter: u64, effects: &'static [u8]) -> (Seq, &'static [u8]) {
    (seq(epoch, counter), effects)
}

fn encoded(records: Vec<(Seq, &'static [u8])>) -> Records<'static> {
    let mut encoded = Records::default();
    records.into_iter().for_each(|(seq, effects)| encoded.push(seq, effects));
    encoded
}

fn records(stream: u64, committed: u64, records: Vec<(Seq, &'static [u8])>) -> Message<'static> {
    Message::Records { reign: REIGN, stream, committed, records: encoded(records) }
}

fn attach(stream: u64) -> Message<'static> {
    Message::Attach { reign: REIGN, stream, last: seq(5, 9) }
}

fn position(stream: u64, last: Seq, usable: bool) -> Message<'static> {
    Message::Position { reign: REIGN, stream, last, usable, order: 0 }
}

fn ack(stream: u64, counter: u64, chunks: u32) -> Message<'static> {
    Message::Ack { reign: REIGN, stream, counter, chunks }
}

fn pump(primary: &mut Primary, attach: bool) -> Vec<(NodeId, Message<'static>)> {
    let mut sent = Vec::new();
    primary.pump(&mut OneChunk, attach, &mut |node, message| sent.push((node, message.into_owned())));
    sent
}

fn append(primary: &mut Primary, count: usize) {
    for _ in 0..count {
        primary.append(b"effects", NOW);
    }
}

/// A primary whose peers stream; `log` is what it and they begin with.
fn streaming(in_sync: &[NodeId], learners: &[NodeId]) -> Primary {
    let mut primary = Primary::new(REIGN, Log::default());
    primary.set_peers(REIGN, in_sync, learners, NOW);
    let streams: BTreeMap<NodeId, u64> = pump(&mut primary, false)
        .into_iter()
        .map(|(node, message)| (node, message.sent_by_primary().expect("an Attach").1))
        .collect();
    for (node, stream) in streams {
        primary.step(node, position(stream, Seq::default(), true), NOW);
    }
    assert!(primary.peers().iter().all(|peer| peer.stage == Stage::Streaming));
    primary
}

fn stage(primary: &Primary, node: NodeId) -> Stage {
    primary.peers().iter().find(|peer| peer.node == node).expect("a peer").stage
}

#[test]
fn rule_2_another_reign_is_refused() {
    let (mut follower, mut copy) =
        (Follower::new(REIGN, Log::default(), FollowerStage::Usable), Tally::default());
    let older = Message::Records {
        reign: Epoch(4),
        stream: 1,
        committed: 0,
        records: encoded(vec![record(4, 1, b"x")]),
    };
    assert_eq!(follower.step(older, &mut copy), Some(Message::Fenced { reign: REIGN }));
    let newer = Message::SyncBegin { reign: Epoch(6), stream: 3, at: seq(6, 1), keep: false };
    assert_eq!(follower.step(newer, &mut copy), Some(Message::Behind { reign: REIGN, stream: 3 }));
    assert_eq!((copy.applied, copy.cleared, follower.last()), (0, 0, Seq::default()));

    let mut primary = streaming(&[PEER], &[]);
    append(&mut primary, 1);
    primary.step(PEER, Message::Ack { reign: Epoch(4), stream: 1, counter: 1, chunks: 0 }, NOW);
    assert_eq!(primary.committed(), 0, "an acknowledgement of another reign counts for nothing");
    primary.step(PEER, Message::Fenced { reign: Epoch(6) }, NOW);
    assert!(primary.is_fenced());
}

#[test]
fn what_an_older_stream_delivers_late_is_ignored() {
    let (mut follower, mut copy) =
        (Follower::new(REIGN, Log::default(), FollowerStage::Usable), Tally::default());
    assert!(follower.step(attach(1), &mut copy).is_some());
    assert_eq!(follower.step(attach(2), &mut copy), Some(position(2, Seq::default(), true)));
    let late = Message::SyncBegin { reign: REIGN, stream: 1, at: seq(5, 7), keep: false };
    assert_eq!(follower.step(late, &mut copy), None);
    assert_eq!(follower.step(attach(1), &mut copy), None);
    assert_eq!((copy.cleared, follower.stage()), (0, FollowerStage::Usable));
    assert_eq!(follower.step(records(2, 0, vec![record(5, 1, b"x")]), &mut copy), Some(ack(2, 1, 0)));

    let mut primary = streaming(&[PEER], &[]);
    append(&mut primary, 2);
    primary.detach(PEER);
    let sent = pump(&mut primary, true);
    assert!(matches!(sent[..], [(PEER, Message::Attach { stream: 2, .. })]), "{sent:?}");
    primary.step(PEER, position(1, seq(5, 2), true), NOW);
    primary.step(PEER, ack(1, 2, 0), NOW);
    assert_eq!((stage(&primary, PEER), primary.committed()), (Stage::Attaching, 0));
}

#[test]
fn a_hole_is_reported_once_and_keeps_the_copy() {
    let (mut follower, mut copy) =
        (Follower::new(REIGN, Log::default(), FollowerStage::Usable), Tally::default());
    follower.step(attach(1), &mut copy);
    follower.step(records(1, 0, vec![record(5, 1, b"x")]), &mut copy);
    let complaint = follower.step(records(1, 0, vec![record(5, 3, b"x")]), &mut copy);
    assert_eq!(complaint, Some(position(1, seq(5, 1), true)), "what it holds is whole");
    assert_eq!(follower.step(records(1, 0, vec![record(5, 2, b"x")]), &mut copy), None);
    assert_eq!(follower.step(attach(2), &mut copy), Some(position(2, seq(5, 1), true)));
    // Corruption is another matter.
    let corrupt = records(2, 0, vec![record(5, 2, b"!")]);
    assert_eq!(follower.step(corrupt, &mut copy), Some(position(2, seq(5, 1), false)));
    assert_eq!(follower.stage(), FollowerStage::Syncing);
}

#[test]
fn a_learner_that_was_removed_and_added_again_unseen_starts_over() {
    let mut primary = streaming(&[], &[PEER]);
    append(&mut primary, 1);
    pump(&mut primary, false);
    primary.step(PEER, ack(1, 1, 0), NOW);
    primary.set_peers(Epoch(6), &[], &[PEER], NOW);
    assert_eq!(primary.promotable().collect::<Vec<_>>(), [PEER], "the next map says the same");
    primary.set_peers(Epoch(8), &[], &[PEER], NOW);
    assert_eq!((primary.require(PEER), stage(&primary, PEER)), (None, Stage::Detached));

    // At its end: a new follower hears a stream that it never attached to.
    let (mut follower, mut copy) =
        (Follower::new(REIGN, Log::default(), FollowerStage::Usable), Tally::default());
    let answer = follower.step(records(1, 0, vec![record(5, 2, b"x")]), &mut copy);
    assert_eq!(answer, Some(position(1, Seq::default(), true)));
    assert_eq!(follower.step(records(1, 0, vec![record(5, 1, b"x")]), &mut copy), None);
}

#[test]
fn a_complaint_makes_the_primary_attach_anew() {
    let mut primary = streaming(&[PEER], &[]);
    append(&mut primary, 3);
    pump(&mut primary, false);
    primary.step(PEER, position(1, seq(5, 1), true), NOW);
    assert_eq!(stage(&primary, PEER), Stage::Detached);
    assert!(pump(&mut primary, false).is_empty(), "only at the next retry");
    pump(&mut primary, true);
    primary.step(PEER, position(2, seq(5, 1), true), NOW);
    let sent = pump(&mut primary, false);
    let [(PEER, Message::Records { records, .. })] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(records.iter().map(|(seq, _)| seq.counter).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn rule_7_a_diverged_copy_is_usable_only_after_a_full_sync() {
    // Its last record was written by a primary of which nothing is known here.
    let mut primary = Primary::new(REIGN, Log::default());
    primary.set_peers(REIGN, &[PEER], &[], NOW);
    append(&mut primary, 4);
    pump(&mut primary, false);
    primary.step(PEER, position(1, seq(4, 2), true), NOW);
    assert_eq!(stage(&primary, PEER), Stage::Diverged);
    primary.step(PEER, ack(1, 4, 0), NOW);
    primary.detach(PEER);
    assert!(pump(&mut primary, true).is_empty(), "it has to leave the in-sync set first");
    assert_eq!((stage(&primary, PEER), primary.committed()), (Stage::Diverged, 0));

    primary.set_peers(Epoch(6), &[], &[PEER], NOW);
    assert_eq!(primary.committed(), 4, "committed without it, once the map says so");
    pump(&mut primary, true);
    primary.step(PEER, position(2, seq(4, 2), true), NOW);
    let sent = pump(&mut primary, false);
    assert!(matches!(&sent[..], [(_, Message::SyncBegin { .. }), (_, Message::Chunk { done: true, .. })]));
    assert_eq!(primary.promotable().count(), 0);

    let mut log = Log::starting_after(seq(4, 1));
    log.push(seq(4, 2), b"x");
    let (mut follower, mut copy) = (Follower::new(REIGN, log, FollowerStage::Usable), Tally::default());
    follower.step(attach(2), &mut copy);
    let mut answers = sent.into_iter().map(|(_, message)| follower.step(message, &mut copy));
    assert_eq!(answers.next(), Some(None));
    let last = answers.next().flatten().expect("chunks are acknowledged");
    assert_eq!((follower.stage(), copy.cleared, follower.last()), (FollowerStage::Usable, 1, seq(5, 4)));
    primary.step(PEER, last, NOW);
    assert_eq!(primary.promotable().collect::<Vec<_>>(), [PEER]);
}

#[test]
fn rule_5_a_new_primary_does_not_take_its_own_log_for_committed() {
    let mut log = Log::default();
    (1..=3).for_each(|counter| log.push(seq(4, counter), b"x"));
    log.trim(1);
    let mut primary = Primary::new(REIGN, log);
    primary.set_peers(REIGN, &[PEER, OTHER], &[], NOW);
    assert_eq!((primary.committed(), primary.unconfirmed().iter().count()), (1, 2));
    pump(&mut primary, false);
    primary.step(PEER, position(1, seq(4, 3), true), NOW);
    assert_eq!(primary.committed(), 1);
    // A peer that lacks some of them is continued, not copied anew.
    primary.step(OTHER, position(2, seq(4, 1), true), NOW);
    assert_eq!((stage(&primary, OTHER), primary.committed()), (Stage::Streaming, 1));
    pump(&mut primary, false);
    primary.step(OTHER, ack(2, 3, 0), NOW);
    assert_eq!((primary.committed(), primary.unconfirmed().iter().count()), (3, 0));
}

#[test]
fn a_promotion_waits_for_everything_written_before_it() {
    let mut primary = streaming(&[PEER], &[OTHER]);
    append(&mut primary, 3);
    pump(&mut primary, false);
    primary.step(PEER, ack(1, 3, 0), NOW);
    assert_eq!(primary.committed(), 3, "a learner is not waited for");
    assert_eq!(primary.require(OTHER), Some(3));
    append(&mut primary, 1);
    pump(&mut primary, false);
    primary.step(PEER, ack(1, 4, 0), NOW);
    assert_eq!(primary.committed(), 3, "from now on it is");
    assert!(!primary.has_confirmed(OTHER, 3));
    primary.step(OTHER, ack(2, 4, 0), NOW);
    assert!(primary.committed() == 4 && primary.has_confirmed(OTHER, 3));
    append(&mut primary, 1);
    pump(&mut primary, false);
    primary.step(PEER, ack(1, 5, 0), NOW);
    primary.unrequire(OTHER);
    assert_eq!(primary.committed(), 5);
    append(&mut primary, 100);
    assert_eq!(primary.require(OTHER), None, "too far behind");
}

#[test]
fn a_record_larger_than_the_log_still_reaches_peers_that_keep_up() {
    let mut primary = streaming(&[PEER], &[]);
    append(&mut primary, 1);
    pump(&mut primary, false);
    let huge = vec![0; replication::LOG_BYTES_MAX + 1];
    primary.append(&huge, NOW);
    let sent = pump(&mut primary, false);
    assert!(matches!(&sent[..], [(PEER, Message::Records { records, .. })] if records.iter().count() == 1));
    assert_eq!(stage(&primary, PEER), Stage::Streaming);
    primary.step(PEER, ack(1, 2, 0), NOW);
    assert_eq!(primary.committed(), 2);
}

#[test]
fn a_learner_further_back_than_the_log_is_copied_anew() {
    let mut primary = streaming(&[], &[PEER]);
    let large = vec![0; replication::LOG_BYTES_MAX / 2];
    for _ in 0..3 {
        primary.append(&large, NOW);
    }
    assert!(pump(&mut primary, false).is_empty());
    assert_eq!(stage(&primary, PEER), Stage::Detached);
    pump(&mut primary, true);
    primary.step(PEER, position(2, Seq::default(), true), NOW);
    assert!(matches!(&pump(&mut primary, false)[..], [(_, Message::SyncBegin { .. }), ..]));
}

#[test]
fn where_the_disk_counts_nothing_is_committed_before_it_is_there() {
    let mut alone = Primary::new(REIGN, Log::starting_after(seq(4, 9)));
    alone.require_disk();
    append(&mut alone, 3);
    assert_eq!((alone.last().counter, alone.committed()), (12, 9));
    alone.durable(11);
    assert_eq!(alone.committed(), 11);
    alone.durable(10);
    assert_eq!(alone.committed(), 11, "what is on the disk stays there");

    let mut primary = streaming(&[PEER], &[]);
    primary.require_disk();
    append(&mut primary, 2);
    pump(&mut primary, false);
    primary.step(PEER, ack(1, 2, 0), NOW);
    assert_eq!(primary.committed(), 0, "the peer has it, the disk has not");
    primary.durable(1);
    assert_eq!(primary.committed(), 1);
}

#[test]
fn a_follower_that_comes_back_soon_gets_only_what_it_missed() {
    let mut primary = streaming(&[PEER], &[]);
    primary.keep_backlog(1_000);
    append(&mut primary, 2);
    pump(&mut primary, false);
    primary.step(PEER, ack(1, 2, 0), NOW);
    primary.set_peers(Epoch(6), &[], &[], NOW);
    append(&mut primary, 3);
    assert_eq!(primary.committed(), 5);
    primary.set_peers(Epoch(7), &[], &[PEER], NOW);
    pump(&mut primary, false);
    primary.step(PEER, position(2, seq(5, 2), true), NOW);
    let sent = pump(&mut primary, false);
    let [(PEER, Message::Records { records, .. })] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(records.iter().map(|(seq, _)| seq.counter).collect::<Vec<_>>(), [3, 4, 5]);

    append(&mut primary, 1_000);
    primary.step(PEER, ack(2, 1_005, 0), NOW);
    let log = primary.into_log();
    assert_eq!((log.bytes(), log.last().counter), (0, 1_005), "the backlog is the primary's alone");
}

/// A learner that holds something, up to the end of a sync.
#[test]
fn a_copy_in_the_same_order_is_compared_and_only_what_differs_is_sent() {
    let mut primary = Primary::new(REIGN, Log::starting_after(seq(5, 9)));
    primary.set_peers(REIGN, &[], &[PEER], NOW);
    let log = Log::starting_after(seq(4, 3));
    let mut follower = Follower::new(REIGN, log, FollowerStage::Usable);
    let mut copy = Tally { order: ORDER, ..Tally::default() };
    let mut questions = 0;
    for _ in 0..10 {
        append(&mut primary, 1);
        for (_, message) in pump(&mut primary, false) {
            questions += usize::from(matches!(message, Message::Compare { .. }));
            if let Some(answer) = follower.step(message, &mut copy) {
                primary.step(PEER, answer, NOW);
            }
            let in_sync = stage(&primary, PEER) == Stage::Streaming;
            assert!(!in_sync || follower.stage() == FollowerStage::Usable, "counted before it was whole");
        }
    }
    assert_eq!((stage(&primary, PEER), questions, copy.cleared), (Stage::Streaming, 1, 0));
    assert_eq!(copy.replaced, [Span { from: 0, to: 10 }, Span { from: 20, to: 30 }]);
    assert_eq!(follower.last(), primary.last());
    let Syncs { by_backlog, by_difference, whole, bytes_sent, bytes_spared } = primary.take_syncs();
    assert_eq!((by_backlog, by_difference, whole, bytes_spared), (0, 1, 0, 200));
    assert_eq!(bytes_sent, 4 * 24 + 2 * 4);
}

#[test]
fn a_copy_in_another_order_is_not_compared() {
    for order in [0, ORDER + 1] {
        let mut primary = Primary::new(REIGN, Log::starting_after(seq(5, 9)));
        primary.set_peers(REIGN, &[], &[PEER], NOW);
        pump(&mut primary, false);
        let last = seq(4, 3);
        primary.step(PEER, Message::Position { reign: REIGN, stream: 1, last, usable: true, order }, NOW);
        let sent = pump(&mut primary, false);
        assert!(matches!(
            &sent[..],
            [(_, Message::SyncBegin { keep: false, .. }), (_, Message::Chunk { .. })]
        ));
        assert_eq!(primary.take_syncs().whole, 1);
    }
}

#[test]
fn an_answer_to_no_question_makes_the_primary_begin_anew() {
    let mut primary = Primary::new(REIGN, Log::starting_after(seq(5, 9)));
    primary.set_peers(REIGN, &[], &[PEER], NOW);
    pump(&mut primary, false);
    let position =
        Message::Position { reign: REIGN, stream: 1, last: seq(4, 3), usable: false, order: ORDER };
    primary.step(PEER, position, NOW);
    let sent = pump(&mut primary, false);
    assert!(matches!(&sent[..], [(_, Message::SyncBegin { keep: true, .. }), (_, Message::Compare { .. })]));
    let answer = |stream, reached| Message::Differing { reign: REIGN, stream, reached, spans: Vec::new() };
    primary.step(PEER, answer(9, 20), NOW);
    assert!(matches!(stage(&primary, PEER), Stage::Syncing { .. }), "of another stream");
    primary.step(PEER, answer(1, 0), NOW);
    assert_eq!(stage(&primary, PEER), Stage::Detached);
    let sent = pump(&mut primary, true);
    assert!(matches!(sent[..], [(PEER, Message::Attach { stream: 2, .. })]), "{sent:?}");
}
