//! What a node gives to its journal is enough to be what it was, nobody is told of what the journal may still lose, and a copy that
//! is taken while commands run is the partition as it was at its end.

#[allow(dead_code)]
mod single;

use cluster::map::MapCommand;
use node::{Journal, Key, NoCopy, Shared, Worker};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use stdx::{Clock, Epoch, PartitionId, Random, Seq, Wall};

const NOW: Wall = Wall(1_700_000_000_000);

/// What a journal was given of one partition since it was last emptied.
#[derive(Clone, Default)]
struct Page {
    born: Epoch,
    last: Seq,
    records: Vec<Vec<u8>>,
}

/// A journal in memory.
struct Book {
    pages: Mutex<BTreeMap<PartitionId, Page>>,
    given: Mutex<u64>,
    confirms: bool,
}

impl Book {
    fn new(confirms: bool) -> Arc<Book> {
        Arc::new(Book { pages: Mutex::default(), given: Mutex::new(0), confirms })
    }
}

impl Journal for Book {
    fn cluster(&self, cluster_id: u64, partitions: u16) {
        assert_eq!((cluster_id, partitions), (1, 256));
    }

    fn emptied(&self, partition: PartitionId, born: Epoch, at: Seq) {
        self.pages.lock().insert(partition, Page { born, last: at, records: Vec::new() });
    }

    fn copy_begun(&self, _: PartitionId, _: Epoch, _: Seq) {
        panic!("a node that is alone is not copied to");
    }

    fn copy_piece(&self, _: PartitionId, _: &[u8]) {}

    fn copy_ended(&self, _: PartitionId) {}

    fn dropped(&self, partition: PartitionId) {
        self.pages.lock().remove(&partition);
    }

    fn record(&self, partition: PartitionId, seq: Seq, effects: &[u8]) -> u64 {
        let mut pages = self.pages.lock();
        let page = pages.get_mut(&partition).expect("it was emptied first");
        assert_eq!(seq.counter, page.last.counter + 1, "no record is missing or comes twice");
        page.last = seq;
        page.records.push(effects.to_vec());
        let mut given = self.given.lock();
        *given += 1;
        *given
    }

    fn position(&self) -> u64 {
        *self.given.lock()
    }

    fn confirms(&self) -> bool {
        self.confirms
    }
}

/// A node with a client.
struct Node {
    shared: Arc<Shared>,
    worker: Worker,
    client: Key,
}

impl Node {
    /// One that finds `pages`, if any, and gives what changes from then on to `book`.
    fn start(book: &Arc<Book>, pages: &BTreeMap<PartitionId, Page>) -> Node {
        let platform = Arc::new(single::platform::TestPlatform::default());
        let shared = Shared::new(single::config(1), Clock::manual(NOW), platform, 7);
        let mut map = single::map();
        let mut recovered = Vec::new();
        for (partition, page) in pages {
            shared.restore_cluster(1, 256);
            assert!(page.records.iter().all(|effects| shared.restore(*partition, effects)));
            shared.restored(*partition, page.born, page.last);
            recovered.push((*partition, page.born));
        }
        if !recovered.is_empty() {
            let lost = map.apply(&MapCommand::Register { member: single::member(2, recovered) }).data_lost;
            assert!(lost.is_empty(), "{lost:?}");
        }
        shared.set_journal(Arc::clone(book) as Arc<dyn Journal>);
        shared.apply_map(Arc::new(map));
        let mut worker = Worker::new(0, Arc::clone(&shared));
        let client = worker.accept(String::new(), String::new(), 0).expect("room");
        Node { shared, worker, client }
    }

    /// What is answered at once.
    fn send(&mut self, client: Key, lines: &[&str]) -> String {
        let input = self.worker.input(client).expect("open");
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            protocol::encode_command(input, &words);
        }
        self.worker.begin_turn();
        self.worker.process(client);
        self.worker.end_turn();
        self.answers(client)
    }

    fn answers(&mut self, client: Key) -> String {
        self.worker.take_flush(&mut Vec::new());
        let output = std::mem::take(self.worker.output(client).expect("open"));
        String::from_utf8_lossy(&output).into_owned()
    }

    fn run(&mut self, lines: &[&str]) -> String {
        self.send(self.client, lines)
    }

    fn content(&self, partition: PartitionId) -> Vec<String> {
        content(&self.shared, partition)
    }
}

/// All keys of a partition with their values, in an order that does not depend on how they came there.
fn content(shared: &Shared, partition: PartitionId) -> Vec<String> {
    let pieces = shared.copy_partition(partition, |_| {}, |_| {}).expect("it is held").concat();
    let mut content: Vec<String> =
        effect::decode(&pieces).map(|effect| format!("{:?}", effect.expect("sound"))).collect();
    content.sort();
    content
}

/// Without printing a whole partition.
#[track_caller]
fn same(left: &[String], right: &[String]) {
    let differing = left.iter().zip(right).find(|(left, right)| left != right);
    assert!(differing.is_none() && left.len() == right.len(), "{} and {} keys", left.len(), right.len());
}

#[test]
fn nobody_is_told_of_what_the_journal_may_still_lose() {
    let book = Book::new(true);
    let mut node = Node::start(&book, &BTreeMap::new());
    let other = node.worker.accept(String::new(), String::new(), 0).expect("room");
    assert_eq!(node.run(&["SET k 1", "SET l 2"]), "");
    assert_eq!(node.send(other, &["GET m"]), "$-1\r\n", "what was not written waits for nothing");
    assert_eq!(node.send(other, &["GET k"]), "", "somebody else must not see it either");
    let durable = |node: &mut Node, position| {
        node.shared.journal_is_durable(position);
        node.worker.receive_mail();
        (node.answers(node.client), node.answers(other))
    };
    assert_eq!(durable(&mut node, 0), (String::new(), String::new()));
    assert_eq!(durable(&mut node, 1), ("+OK\r\n".into(), "$1\r\n1\r\n".into()));
    assert_eq!(durable(&mut node, 2), ("+OK\r\n".into(), String::new()));
    assert_eq!(node.run(&["GET k"]), "$1\r\n1\r\n");
}

#[test]
fn who_waits_for_a_disk_that_failed_is_told() {
    let mut node = Node::start(&Book::new(true), &BTreeMap::new());
    assert_eq!(node.run(&["SET k 1", "GET k"]), "");
    node.shared.fence();
    node.worker.receive_mail();
    let told = node.answers(node.client);
    assert!(told.starts_with("-INDOUBT") && told.contains("-TRYAGAIN"), "{told}");
    assert_eq!(node.run(&["GET l"]), "", "held until it is given up: this node serves no more");
}

#[test]
fn waitaof_waits_for_the_log_of_this_node() {
    let mut node = Node::start(&Book::new(false), &BTreeMap::new());
    let none = "*2\r\n:0\r\n:0\r\n";
    let own = "*2\r\n:1\r\n:0\r\n";
    assert_eq!(node.run(&["WAITAOF 1 0 0"]), own, "nothing was written");
    assert_eq!(node.run(&["SET k 1", "SET l 2", "WAITAOF 0 0 0"]), format!("+OK\r\n+OK\r\n{none}"));
    assert_eq!(node.run(&["MULTI", "WAITAOF 1 0 0", "EXEC"]), format!("+OK\r\n+QUEUED\r\n*1\r\n{none}"));
    assert_eq!(node.run(&["WAITAOF 1 0 0"]), "");
    let after = |node: &mut Node, position, millis: u64| {
        node.shared.journal_is_durable(position);
        node.shared.clock().advance(Duration::from_millis(millis));
        node.worker.tick();
        node.worker.end_turn();
        node.answers(node.client)
    };
    assert_eq!(after(&mut node, 1, 500), "");
    assert_eq!(after(&mut node, 2, 500), own);
    assert_eq!(node.run(&["WAITAOF 1 1 1000"]), "");
    assert_eq!(after(&mut node, 2, 500), "");
    assert_eq!(after(&mut node, 2, 600), own, "there is no replica, and its time is over");
    for (words, error) in [
        ("x 0 0", "value is not an integer or out of range"),
        ("2 0 0", "value is out of range, must be between 0 and 1"),
        ("1 -1 0", "value is out of range, must be positive"),
        ("1 x 0", "value is not an integer or out of range"),
        ("1 0 x", "timeout is not an integer or out of range"),
        ("1 0 -1", "timeout is negative"),
    ] {
        assert_eq!(node.run(&[&format!("WAITAOF {words}")]), format!("-ERR {error}\r\n"));
    }
}

#[test]
fn a_restart_finds_what_was_there() {
    for seed in 0..5 {
        let mut random = Random::seeded(seed);
        let (book, mut pages) = (Book::new(false), BTreeMap::new());
        for restart in 0..3 {
            let mut node = Node::start(&book, &pages);
            assert_eq!(node.run(&["GET before"]).starts_with("$-1"), restart == 0);
            for _ in 0..2_000 {
                let (key, value) = (random.below(300), random.below(1_000));
                let line = match random.below(9) {
                    0 => format!("DEL {key}"),
                    1 => format!("APPEND {key} {value}"),
                    2 => format!("SET {key} {value} EX {}", value + 1),
                    3 => format!("CF.ADD filter:{} {value}", key % 3),
                    4 => format!("CF.DEL filter:{} {value}", key % 3),
                    5 => format!("BF.ADD bloom:{} {value}", key % 3),
                    6 if value < 5 => "FLUSHALL".to_owned(),
                    7 => format!("PERSIST {key}"),
                    _ => format!("SET {key} {value}"),
                };
                node.run(&[&line]);
            }
            node.run(&["SET before 1"]);
            pages = book.pages.lock().clone();
            let again = Node::start(&Book::new(false), &pages);
            for partition in (0..256).map(PartitionId) {
                same(&again.content(partition), &node.content(partition));
            }
        }
    }
}

#[test]
fn a_copy_taken_while_commands_run_is_the_partition_at_its_end() {
    let book = Book::new(false);
    let mut node = Node::start(&book, &BTreeMap::new());
    let mut random = Random::seeded(3);
    let line = |random: &mut Random| {
        let (key, value) = (random.below(3_000), "x".repeat(random.below(400) as usize + 1));
        match random.below(6) {
            0 => format!("DEL {{t}}{key}"),
            1 => format!("APPEND {{t}}{key} {value}"),
            2 => format!("CF.ADD {{t}}filter:{} {value}", key % 50),
            3 => format!("EXPIRE {{t}}{key} 100"),
            _ => format!("SET {{t}}{key} {value}"),
        }
    };
    for _ in 0..6_000 {
        node.run(&[&line(&mut random)]);
    }
    let partition = PartitionId::of_key(b"{t}", 256);
    let shared = Arc::clone(&node.shared);
    let (mut pauses, mut ended) = (0, false);
    let between = |_: usize| {
        pauses += 1;
        for _ in 0..50 {
            node.run(&[&line(&mut random)]);
        }
    };
    let pieces = shared.copy_partition(partition, between, |_| ended = true).expect("it is held");
    assert!(pauses > 3 && ended, "{pauses} pauses");
    let copy = Shared::new(
        single::config(1),
        Clock::manual(NOW),
        Arc::new(single::platform::TestPlatform::default()),
        7,
    );
    copy.restore_cluster(1, 256);
    assert!(pieces.iter().all(|piece| copy.restore(partition, piece)));
    copy.restored(partition, single::map().assignments[usize::from(partition.0)].born, Seq::default());
    copy.set_journal(Book::new(false));
    copy.apply_map(Arc::new(single::map()));
    same(&content(&copy, partition), &node.content(partition));
    let nowhere = shared.copy_partition(PartitionId(300), |_| {}, |_| {});
    assert_eq!(nowhere, Err(NoCopy::NotHeld));
}
