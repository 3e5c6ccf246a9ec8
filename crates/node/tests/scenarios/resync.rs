//! Copies that are compared rather than sent: a replica that comes back with older data, over more writes than the backlog
//! holds, has everything afterwards, nothing that is gone, and was sent little.

use crate::harness::client::ClientId;
use crate::harness::{Cluster, Setup, id};
use cluster::map::Role;
use commands::info::SyncInfo;
use std::time::Duration;
use stdx::PartitionId;

const KEYS: u64 = 4_000;
const KEEPS: Setup = Setup {
    nodes: 3,
    workers: 2,
    partitions: 16,
    copies: 2,
    seed: 1,
    forward_timeout: Duration::from_secs(2),
    keeps: true,
    limited: None,
};

/// A partition with a few thousand keys whose primary is node 0, its replica, and a client.
struct Scene {
    cluster: Cluster,
    tag: String,
    replica: usize,
    client: ClientId,
}

impl Scene {
    fn new(setup: Setup) -> Scene {
        let mut cluster = Cluster::settled(setup);
        let tag = cluster.key_on(0, "k");
        let replica = cluster.replicas_of(&tag)[0];
        let client = cluster.connect(0);
        let mut scene = Scene { cluster, tag, replica, client };
        for first in (0..KEYS).step_by(100) {
            scene.set(first..first + 100, "value-of-some-sixty-bytes-that-is-the-same-for-all-of-these-keys");
        }
        for number in 0..20 {
            scene.call(&format!("SET {}mortal:{number} v PX 1000000", scene.key("")));
            scene.call(&format!("CF.ADD {} item:{number}", scene.key("cuckoo")));
            scene.call(&format!("BF.ADD {} item:{number}", scene.key("bloom")));
        }
        for db in [3, 15] {
            scene.call(&format!("SELECT {db}"));
            scene.set(0..50, &format!("database-{db}"));
        }
        scene.call("SELECT 0");
        scene
    }

    fn key(&self, name: &str) -> String {
        format!("{{{}}}{name}", self.tag)
    }

    fn call(&mut self, command: &str) {
        let reply = self.cluster.call(self.client, command);
        assert!(!matches!(reply, protocol::Value::Error(_)), "{command}: {reply:?}");
    }

    fn set(&mut self, numbers: std::ops::Range<u64>, value: &str) {
        let pairs: Vec<String> =
            numbers.map(|number| format!("{} {value}", self.key(&number.to_string()))).collect();
        self.call(&format!("MSET {}", pairs.join(" ")));
    }

    /// Some of everything, and more bytes than the backlog of a partition holds.
    fn change_a_little(&mut self) {
        for number in [7, 1_300, 2_999] {
            self.call(&format!("DEL {}", self.key(&number.to_string())));
            self.set(number + 1..number + 2, "changed");
            self.set(KEYS + number..KEYS + number + 1, "new");
            self.call(&format!("APPEND {} -and-more", self.key(&(number + 2).to_string())));
        }
        // The value stays the same: only the deadline tells.
        self.call(&format!("PEXPIRE {} 2000000", self.key("mortal:0")));
        self.call(&format!("PERSIST {}", self.key("mortal:1")));
        self.call(&format!("CF.ADD {} another", self.key("cuckoo")));
        self.call(&format!("CF.DEL {} item:3", self.key("cuckoo")));
        self.call(&format!("BF.ADD {} another", self.key("bloom")));
        self.call("SELECT 15");
        self.call("FLUSHDB");
        self.call("SELECT 0");
        for _ in 0..8 {
            self.call(&format!("SET {} {}", self.key("large"), "x".repeat(100_000)));
        }
        self.call(&format!("DEL {}", self.key("large")));
    }

    fn partition(&self) -> PartitionId {
        self.cluster.partition_of(&self.tag)
    }

    fn is_back(&self) -> bool {
        self.cluster.control.map.role_of(id(self.replica), self.partition()) == Role::InSync
    }

    /// Ends the replica's process, and starts another once the map says so.
    fn crash(&mut self) {
        self.cluster.nodes[self.replica].paused = true;
        self.cluster.fail_over(self.replica);
        self.cluster.restart(self.replica);
    }

    /// Takes the replica back and lets it learn.
    fn begin_to_take_back(&mut self) {
        let node = &mut self.cluster.nodes[self.replica];
        (node.paused, node.isolated) = (false, false);
        self.cluster.take_back(self.replica);
        (self.cluster.control.plans, self.cluster.control.coordinates) = (true, true);
    }

    fn take_back(&mut self) {
        self.begin_to_take_back();
        self.cluster.until("the replica is back", |cluster| {
            cluster.control.map.role_of(id(self.replica), cluster.partition_of(&self.tag)) == Role::InSync
        });
        self.cluster.until_settled();
    }

    /// How replicas of node 0 were synced since `before`.
    fn syncs_since(&self, before: SyncInfo) -> SyncInfo {
        let now = self.cluster.nodes[0].shared.syncs();
        SyncInfo {
            by_backlog: now.by_backlog - before.by_backlog,
            by_difference: now.by_difference - before.by_difference,
            whole: now.whole - before.whole,
            bytes_sent: now.bytes_sent - before.bytes_sent,
            bytes_spared: now.bytes_spared - before.bytes_spared,
        }
    }

    fn syncs(&self) -> SyncInfo {
        self.cluster.nodes[0].shared.syncs()
    }

    /// All that a node holds of the partition, deadlines included, in an order that does not depend on how it came there.
    fn content(&self, node: usize) -> Vec<String> {
        content_of(&self.cluster.nodes[node].shared, self.partition())
    }

    /// Both copies are the same, and so is what a restart of the replica would find.
    #[track_caller]
    fn check_copies(&mut self) {
        self.cluster.until_settled();
        let expected = self.content(0);
        assert!(!expected.is_empty());
        assert!(expected == self.content(self.replica), "the copies differ");
        if self.cluster.setup.keeps {
            assert_eq!(
                self.cluster.nodes[self.replica]
                    .book
                    .as_ref()
                    .and_then(|book| book.is_whole(self.partition())),
                Some(true)
            );
            let found = {
                self.cluster.restart(self.replica);
                self.content(self.replica)
            };
            assert!(expected == found, "the journal has something else");
        }
    }
}

fn content_of(shared: &node::Shared, partition: PartitionId) -> Vec<String> {
    let pieces = shared.copy_partition(partition, |_| {}, |_| {}).expect("it is held").concat();
    let mut content: Vec<String> =
        effect::decode(&pieces).map(|effect| format!("{:?}", effect.expect("sound"))).collect();
    content.sort();
    content
}

/// A little was sent, and most was not.
#[track_caller]
fn check_is_cheap(syncs: SyncInfo) {
    assert!(syncs.by_difference >= 1 && syncs.whole == 0, "{syncs:?}");
    assert!(syncs.bytes_spared > 250_000 && syncs.bytes_sent * 8 < syncs.bytes_spared, "{syncs:?}");
}

#[test]
fn a_replica_that_restarts_with_its_data_gets_only_what_differs() {
    for seed in 0..3 {
        let mut scene = Scene::new(Setup { seed, ..KEEPS });
        let before = scene.syncs();
        scene.cluster.nodes[scene.replica].paused = true;
        scene.cluster.fail_over(scene.replica);
        scene.change_a_little();
        scene.cluster.restart(scene.replica);
        scene.take_back();
        check_is_cheap(scene.syncs_since(before));
        scene.check_copies();
    }
}

#[test]
fn a_replica_that_was_cut_off_gets_only_what_differs() {
    for seed in 0..3 {
        let mut scene = Scene::new(Setup { seed, keeps: seed == 0, ..KEEPS });
        let before = scene.syncs();
        scene.cluster.nodes[scene.replica].isolated = true;
        for other in (0..3).filter(|other| *other != scene.replica) {
            let now = scene.cluster.now();
            scene.cluster.net.sever(scene.replica, other, now, &mut scene.cluster.random);
        }
        scene.cluster.fail_over(scene.replica);
        scene.change_a_little();
        for other in (0..3).filter(|other| *other != scene.replica) {
            scene.cluster.net.mend(scene.replica, other);
        }
        scene.take_back();
        check_is_cheap(scene.syncs_since(before));
        scene.check_copies();
    }
}

#[test]
fn within_the_backlog_only_records_are_sent_also_to_a_replica_that_had_no_role_for_a_while() {
    for restarts in [true, false] {
        let mut scene = Scene::new(KEEPS);
        let before = scene.syncs();
        scene.cluster.nodes[scene.replica].paused = true;
        scene.cluster.fail_over(scene.replica);
        scene.set(5..8, "changed");
        if restarts {
            scene.cluster.restart(scene.replica);
        }
        scene.take_back();
        let syncs = scene.syncs_since(before);
        let by_record = SyncInfo { by_backlog: syncs.by_backlog, ..SyncInfo::default() };
        assert!(syncs.by_backlog >= 1 && syncs == by_record, "{syncs:?}");
        scene.check_copies();
    }
}

/// One span of the primary's is all that the replica holds.
#[test]
fn a_replica_that_holds_far_more_than_its_primary_is_emptied_step_by_step() {
    let mut scene = Scene::new(KEEPS);
    let before = scene.syncs();
    scene.cluster.nodes[scene.replica].paused = true;
    scene.cluster.fail_over(scene.replica);
    scene.change_a_little();
    for first in (0..KEYS).step_by(200) {
        let keys: Vec<String> = (first..first + 200).map(|number| scene.key(&number.to_string())).collect();
        scene.call(&format!("DEL {}", keys.join(" ")));
    }
    scene.cluster.restart(scene.replica);
    scene.take_back();
    let syncs = scene.syncs_since(before);
    assert!(syncs.by_difference >= 1 && syncs.whole == 0 && syncs.bytes_sent < 30_000, "{syncs:?}");
    scene.check_copies();
}

/// What was deleted while the replica was away is gone there too, once it rules alone.
#[test]
fn deleted_keys_stay_deleted_and_deadlines_stay_what_they_are() {
    let mut scene = Scene::new(KEEPS);
    scene.cluster.nodes[scene.replica].paused = true;
    scene.cluster.fail_over(scene.replica);
    scene.change_a_little();
    scene.cluster.restart(scene.replica);
    scene.take_back();
    (scene.cluster.control.plans, scene.cluster.control.coordinates) = (false, false);
    scene.cluster.nodes[0].paused = true;
    scene.cluster.fail_over(0);
    scene.client = scene.cluster.connect(scene.replica);
    let client = scene.client;
    for (command, expected) in [
        ("EXISTS @7 @1300 @2999 @large", "(0)"),
        ("GET @8", "\"changed\""),
        ("GET @5300", "\"new\""),
        ("STRLEN @9", "(73)"),
        ("PTTL @mortal:1", "(-1)"),
        ("CF.MEXISTS @cuckoo item:3 item:4 another", "[(0) (1) (1)]"),
        ("BF.MEXISTS @bloom item:3 another other", "[(1) (1) (0)]"),
    ] {
        let command = command.replace('@', &scene.key(""));
        scene.cluster.check(client, &command, expected);
    }
    let ttl = scene.cluster.call(client, &format!("PTTL {}", scene.key("mortal:0")));
    assert!(matches!(ttl, protocol::Value::Integer(1_900_000..=2_000_000)), "{ttl:?}");
    scene.cluster.check(client, "SELECT 15", "OK");
    scene.cluster.check(client, &format!("EXISTS {}", scene.key("1")), "(0)");
    scene.cluster.check(client, "SELECT 3", "OK");
    scene.cluster.check(client, &format!("GET {}", scene.key("1")), "\"database-3\"");
}

/// Writes go on, links break and the replica crashes in the middle, more than once.
#[test]
fn a_sync_that_breaks_off_begins_anew_and_leaves_no_copy_that_calls_itself_whole() {
    let (mut crashes, mut differences) = (0, 0);
    for seed in 0..6 {
        let mut scene = Scene::new(Setup { seed, ..KEEPS });
        scene.cluster.nodes[scene.replica].paused = true;
        scene.cluster.fail_over(scene.replica);
        scene.change_a_little();
        // So much differs that the sync takes a while.
        for first in (0..KEYS).step_by(200) {
            scene.set(first..first + 40, &format!("other-value-{}", "y".repeat(300)));
        }
        scene.cluster.restart(scene.replica);
        scene.begin_to_take_back();
        let mut rounds = 0;
        while !scene.is_back() {
            rounds += 1;
            assert!(rounds < 3_000, "never back");
            let number = scene.cluster.random.below(2 * KEYS);
            match scene.cluster.random.below(6) {
                0 => scene.call(&format!("DEL {}", scene.key(&number.to_string()))),
                1 => scene.call(&format!("APPEND {} -more", scene.key(&number.to_string()))),
                2 => scene.call(&format!("PEXPIRE {} 3000000", scene.key(&number.to_string()))),
                3 => scene.call(&format!("CF.ADD {} during:{number}", scene.key("cuckoo"))),
                _ => scene.set(number..number + 1, "during"),
            }
            let book = scene.cluster.nodes[scene.replica].book.as_ref().expect("it keeps one");
            let is_syncing = book.is_whole(scene.partition()) == Some(false);
            if is_syncing && rounds % 7 == 0 && seed % 2 == 0 && crashes < 6 {
                crashes += 1;
                scene.crash();
                scene.begin_to_take_back();
            } else if is_syncing && rounds % 5 == 0 && rounds < 200 {
                let now = scene.cluster.now();
                scene.cluster.net.break_links(0, scene.replica, now, &mut scene.cluster.random);
            }
        }
        differences += scene.syncs().by_difference;
        scene.check_copies();
    }
    assert!(crashes > 2 && differences > 12, "{crashes} crashes, {differences} syncs by difference");
}
