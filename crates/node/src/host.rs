//! The node as commands see it: implements [`Host`] over the shared state and the platform.

use crate::partition::Role;
use crate::pubsub::{Outgoing, Subscriber};
use crate::routing::Routing;
use crate::shared::{Paused, Shared};
use crate::stats::Counter;
use crate::target::{Key, Mail};
use crate::worker::users::denied;
use cluster::map::{MemberState, Role as MapRole};
use commands::acl::{AclLog, Refused, Users};
use commands::host::{
    ClientInfo, ClusterNode, ClusterView, ConfigError, Host, LatencyEvent, NodeHealth, Pause, SaveError,
    ShutdownMode, SlotRange, SlowlogEntry, Unblock,
};
use commands::info::{CommandStats, InfoData, KeyspaceInfo, ReplicaInfo, SyncInfo};
use commands::session::ChannelKind;
use scripting::{Engine, Script, ScriptError, Settings};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use stdx::{Mono, NodeId, PartitionId, Slot, Wall};

/// A worker's view of the node for the duration of one command.
pub(crate) struct NodeHost<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) worker: u16,
    /// The connection that asks; `None` for a request of another node or of HTTP.
    pub(crate) connection: Option<Key>,
    /// Messages published by the command, for the worker to hand on.
    pub(crate) outgoing: &'a mut Vec<Outgoing>,
    pub(crate) now: Mono,
}

impl NodeHost<'_> {
    fn subscriber(&self) -> Option<Subscriber> {
        Some(Subscriber { worker: self.worker, connection: self.connection? })
    }
}

impl Host for NodeHost<'_> {
    fn wall(&self) -> Wall {
        self.shared.clock.wall()
    }

    fn mono(&self) -> Mono {
        self.shared.clock.mono()
    }

    fn users(&self) -> Arc<Users> {
        self.shared.users.users()
    }

    fn all_channels_by_default(&self) -> bool {
        self.shared.platform.all_channels_by_default()
    }

    fn users_file(&self) -> Option<String> {
        self.shared.platform.users_file()
    }

    fn read_users(&self) -> Result<Vec<u8>, String> {
        self.shared.platform.read_users()
    }

    fn save_users(&mut self, text: &[u8]) -> Result<(), String> {
        self.shared.platform.save_users(text)
    }

    fn refused(&mut self, refused: Refused) {
        self.shared.count(usize::from(self.worker), denied(refused.reason), 1);
        let entries_max = self.shared.platform.limits().acl_log_len_max;
        self.shared.users.log.lock().add(refused, self.shared.clock.wall(), entries_max);
    }

    fn acl_log(&mut self, with: &mut dyn FnMut(&mut AclLog)) {
        with(&mut self.shared.users.log.lock());
    }

    fn cluster_enabled(&self) -> bool {
        // Clients see one server; those that ask for CLUSTER SLOTS get it all the same.
        false
    }

    fn config(&self) -> Vec<(String, String)> {
        self.shared.platform.config()
    }

    fn config_set(&mut self, pairs: &[(&str, &[u8])]) -> Result<(), ConfigError> {
        self.shared.platform.config_set(pairs)?;
        if let Some((_, password)) = pairs.iter().find(|(name, _)| *name == "requirepass") {
            self.shared.users.set_default_password(password);
            self.shared.changed();
        }
        if pairs.iter().any(|(name, _)| *name == "notify-keyspace-events") {
            self.shared.refresh_events();
            self.shared.post(usize::from(self.worker), Mail::WantEvents);
        }
        Ok(())
    }

    fn config_rewrite(&mut self) -> Result<(), String> {
        self.shared.platform.config_rewrite()
    }

    fn reset_statistics(&mut self) {
        self.shared.stats.reset();
    }

    fn info(&self) -> InfoData {
        self.shared.info()
    }

    fn command_stats(&self) -> Vec<CommandStats> {
        self.shared.stats.commands()
    }

    fn error_stats(&self) -> Vec<(String, u64)> {
        self.shared.stats.errors()
    }

    fn clients(&self) -> Vec<ClientInfo> {
        self.shared.clients.lock().values().map(|record| record.info.clone()).collect()
    }

    fn kill_client(&mut self, id: u64) -> bool {
        let place = self.shared.clients.lock().get(&id).map(|record| (record.worker, record.connection));
        match place {
            Some((worker, connection)) => {
                self.shared.post(usize::from(worker), Mail::Kill(connection));
                true
            }
            None => false,
        }
    }

    fn pause_clients(&mut self, until: Mono, what: Pause) {
        let paused = *self.shared.paused.lock();
        let merged = match paused {
            Some(now) if now.until > self.now => {
                Paused { until: now.until.max(until), what: now.what.max(what) }
            }
            _ => Paused { until, what },
        };
        self.shared.pause(Some(merged));
    }

    fn unpause_clients(&mut self) {
        self.shared.pause(None);
    }

    fn unblock_client(&mut self, id: u64, how: Unblock) -> bool {
        let place = self.shared.clients.lock().get(&id).map(|record| (record.worker, record.connection));
        let Some((worker, connection)) = place else { return false };
        let is_blocked = self.shared.blocked.lock().contains(&(worker, connection));
        if is_blocked {
            self.shared.post(usize::from(worker), Mail::Unblock(connection, how));
        }
        is_blocked
    }

    fn subscribe(&mut self, _session: u64, kind: ChannelKind, name: &[u8]) {
        if let Some(who) = self.subscriber() {
            self.shared.registry.subscribe(kind, name, who);
        }
    }

    fn unsubscribe(&mut self, _session: u64, kind: ChannelKind, name: &[u8]) {
        if let Some(who) = self.subscriber() {
            self.shared.registry.unsubscribe(kind, name, who);
        }
    }

    fn publish(&mut self, kind: ChannelKind, channel: &[u8], message: &[u8]) -> u64 {
        let outgoing = self.shared.registry.receivers(kind, channel, message);
        let receivers = outgoing.len() as u64;
        self.outgoing.extend(outgoing);
        receivers
    }

    fn subscribed_names(&self, kind: ChannelKind) -> Vec<Vec<u8>> {
        self.shared.registry.subscribed(kind)
    }

    fn subscriber_count(&self, kind: ChannelKind, name: &[u8]) -> u64 {
        self.shared.registry.count(kind, name)
    }

    fn script_load(&mut self, body: &[u8]) -> Result<String, String> {
        let text = |error: ScriptError| String::from_utf8_lossy(error.text()).into_owned();
        let script = Script::new(body).map_err(text)?;
        Engine::new(Settings::default()).check(&script).map_err(text)?;
        let script = self.shared.scripts.lock().add(body).map_err(text)?;
        Ok(String::from_utf8_lossy(script.sha()).into_owned())
    }

    fn script_exists(&self, digest: &[u8]) -> bool {
        self.shared.scripts.lock().get(digest).is_some()
    }

    fn script_flush(&mut self) {
        self.shared.scripts.lock().flush();
    }

    fn script_kill(&mut self) -> Result<(), String> {
        if self.shared.script_runs.load(Ordering::Relaxed) == 0 {
            return Err(scripting::Refusal::NotBusy.text().to_owned());
        }
        self.shared.script_is_killed.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn slowlog(&self, count: usize) -> Vec<SlowlogEntry> {
        self.shared.slowlog.lock().entries.iter().rev().take(count).cloned().collect()
    }

    fn slowlog_len(&self) -> usize {
        self.shared.slowlog.lock().entries.len()
    }

    fn slowlog_reset(&mut self) {
        self.shared.slowlog.lock().entries.clear();
    }

    fn latency_events(&self) -> Vec<LatencyEvent> {
        self.shared.latency_events.lock().values().cloned().collect()
    }

    fn latency_reset(&mut self, event: Option<&[u8]>) -> usize {
        let mut events = self.shared.latency_events.lock();
        let before = events.len();
        match event {
            None => events.clear(),
            Some(name) => events.retain(|event, _| event.as_bytes() != name),
        }
        before - events.len()
    }

    fn cluster_view(&self) -> ClusterView {
        self.shared.cluster_view()
    }

    fn count_keys_in_slot(&self, slot: Slot) -> u64 {
        let mut count = 0;
        self.shared.scan_slot(slot, &mut |_| {
            count += 1;
            true
        });
        count
    }

    fn keys_in_slot(&self, slot: Slot, count: usize) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        self.shared.scan_slot(slot, &mut |key| {
            if keys.len() < count {
                keys.push(key.to_vec());
            }
            keys.len() < count
        });
        keys
    }

    fn save(&mut self, wait: bool) -> Result<(), SaveError> {
        self.shared.platform.save(wait)
    }

    fn shutdown(&mut self, mode: ShutdownMode) -> Result<(), String> {
        self.shared.platform.shutdown(mode)
    }

    fn abort_shutdown(&mut self) -> bool {
        self.shared.platform.abort_shutdown()
    }

    fn purge_memory(&mut self) {
        self.shared.platform.purge_memory();
    }
}

impl Shared {
    /// The facts of INFO that the node knows, completed by the platform.
    pub fn info(&self) -> InfoData {
        let mut info = InfoData::default();
        let routing = self.routing();
        let now = self.clock.mono();
        info.server.uptime = now.since(self.started);
        info.server.now = self.clock.wall();
        info.server.tcp_port = self.config.resp_port;
        info.server.io_threads_active = self.config.workers > 1;
        info.memory.dataset = self.data_bytes();
        self.fill_clients(&mut info);
        self.fill_stats(&mut info);
        self.fill_hypercache(&mut info, &routing, now);
        info.replication.offset = self.replication_offset();
        for (node, (lag, detached)) in self.replication_lag() {
            if let Some(member) = routing.map.member(node) {
                info.replication.replicas.push(ReplicaInfo {
                    host: member.resp.ip().to_string(),
                    port: member.resp.port(),
                    online: detached == 0,
                    offset: info.replication.offset.saturating_sub(lag),
                    lag_seconds: 0,
                });
            }
        }
        for db in 0..stdx::limits::DATABASES {
            let (keys, expires) = self.keys_as_primary(db);
            if keys > 0 {
                info.keyspace.push(KeyspaceInfo { db, keys, expires, avg_ttl_ms: 0 });
            }
        }
        self.platform.complete_info(&mut info);
        info
    }

    fn fill_clients(&self, info: &mut InfoData) {
        let clients = self.clients.lock();
        info.clients.connected = clients.len() as u64;
        info.clients.maxclients = self.platform.limits().clients_max as u64;
        for ClientInfo { buffers, flags, .. } in clients.values().map(|record| &record.info) {
            info.clients.input_buffer_max = info.clients.input_buffer_max.max(buffers.query as u64);
            info.clients.output_buffer_max = info.clients.output_buffer_max.max(buffers.reply as u64);
            info.clients.pubsub += u64::from(flags.pubsub);
            info.memory.clients += (buffers.query + buffers.query_free + buffers.reply_capacity) as u64;
        }
    }

    fn fill_stats(&self, info: &mut InfoData) {
        let (stats, total) = (&mut info.stats, |counter| self.stats.total(counter));
        stats.connections_received = total(Counter::Connections);
        stats.rejected_connections = total(Counter::RejectedConnections);
        stats.commands_processed = total(Counter::Commands);
        stats.net_input_bytes = total(Counter::InputBytes);
        stats.net_output_bytes = total(Counter::OutputBytes);
        stats.net_repl_input_bytes = total(Counter::LinkInputBytes);
        stats.net_repl_output_bytes = total(Counter::LinkOutputBytes);
        stats.keyspace_hits = total(Counter::Hits);
        stats.keyspace_misses = total(Counter::Misses);
        stats.expired_keys = total(Counter::Expired);
        stats.evicted_keys = total(Counter::Evicted);
        stats.error_replies = total(Counter::Errors);
        stats.acl_access_denied_auth = total(Counter::DeniedAuthentications);
        stats.acl_access_denied_cmd = total(Counter::DeniedCommands);
        stats.acl_access_denied_key = total(Counter::DeniedKeys);
        stats.acl_access_denied_channel = total(Counter::DeniedChannels);
        stats.sync_full = total(Counter::FullSyncs);
        stats.sync_partial_ok = total(Counter::BacklogSyncs);
        info.replication.syncs = self.syncs();
        stats.reads_processed = total(Counter::Reads);
        stats.writes_processed = total(Counter::Writes);
        stats.output_buffer_limit_disconnections = total(Counter::OutputLimitCloses);
        stats.pubsub_channels = self.registry.len(ChannelKind::Channel);
        stats.pubsub_patterns = self.registry.len(ChannelKind::Pattern);
        stats.pubsub_shard_channels = self.registry.len(ChannelKind::Shard);
    }

    /// How peers of this node came to be up to date.
    pub fn syncs(&self) -> SyncInfo {
        let total = |counter| self.stats.total(counter);
        SyncInfo {
            by_backlog: total(Counter::BacklogSyncs),
            by_difference: total(Counter::DifferenceSyncs),
            whole: total(Counter::FullSyncs),
            bytes_sent: total(Counter::SyncBytes),
            bytes_spared: total(Counter::SyncBytesSpared),
        }
    }

    fn fill_hypercache(&self, info: &mut InfoData, routing: &Routing, now: Mono) {
        let (own, map) = (&mut info.hypercache, &routing.map);
        let counts = map.counts_of(self.me());
        own.node_id = self.me().0;
        own.node_name.clone_from(&self.config.name);
        own.epoch = map.version.0;
        own.nodes = map.members.len() as u64;
        own.nodes_up = map.members.values().filter(|member| member.is_alive()).count() as u64;
        own.partitions = u64::from(map.partitions);
        own.partitions_primary = counts.primary as u64;
        own.partitions_replica = (counts.in_sync - counts.primary) as u64;
        own.partitions_learner = counts.learner as u64;
        own.replication_factor = u64::from(map.replication_factor);
        own.acks = if self.config.wait_for_in_sync { "insync" } else { "primary" }.to_owned();
        own.lease_held = self.may_serve(now);
        own.lease_remaining_ms = self.lease.until().since(now).as_millis().try_into().unwrap_or(u64::MAX);
        own.forwarded_commands = self.stats.total(Counter::Forwarded);
        own.replies_waiting = self.replies_waiting.load(Ordering::Relaxed);
    }

    pub(crate) fn cluster_view(&self) -> ClusterView {
        let routing = self.routing();
        let map = &routing.map;
        let index_of = |node: NodeId| map.members.keys().position(|other| *other == node);
        let nodes = map.members.values().map(|member| {
            let mut health = self.platform.health(member.node);
            if member.state == MemberState::Down {
                health = NodeHealth::Down;
            }
            ClusterNode {
                id: format!("{:040x}", member.node.0),
                name: member.name.clone(),
                host: member.resp.ip().to_string(),
                port: member.resp.port(),
                bus_port: member.gossip.port(),
                http_port: member.http.port(),
                health,
                epoch: map.version.0,
                replication_offset: if member.node == self.me() { self.replication_offset() } else { 0 },
                ..ClusterNode::default()
            }
        });
        let ranges = map.iter().filter_map(|(partition, assignment)| {
            let (first, last) = partition.slots(map.partitions);
            let primary = index_of(routing.primary(partition)?)?;
            // A cluster client gives every node one role: it would take a node that is primary of some slots for a
            // mere replica if it saw it listed as one of others. So only nodes that own nothing are listed as such.
            let is_primary = |node: &NodeId| map.assignments.iter().any(|a| a.primary == Some(*node));
            let replicas =
                assignment.replicas().filter(|node| !is_primary(node)).filter_map(index_of).collect();
            Some(SlotRange { first, last, primary, replicas })
        });
        ClusterView {
            nodes: nodes.collect(),
            myself: index_of(self.me()).unwrap_or(0),
            ranges: ranges.collect(),
            epoch: map.version.0,
            ok: map.is_bootstrapped()
                && map.unavailable().next().is_none()
                && self.may_serve(self.clock.mono()),
            ..ClusterView::default()
        }
    }

    /// Visits the keys of database 0 in `slot` that this node holds, until `visit` says no.
    fn scan_slot(&self, slot: Slot, visit: &mut dyn FnMut(&[u8]) -> bool) {
        const SCAN_STEP: usize = 256;
        let cells = self.cells();
        let partitions = cells.len();
        if partitions == 0 {
            return;
        }
        let partition = PartitionId::of_slot(slot, partitions);
        let Some(cell) = cells.get(partition) else { return };
        let (mut cursor, mut more, now) = (0, true, self.clock.wall());
        while more {
            let state = cell.state.lock();
            if matches!(state.role, Role::None) || self.map().role_of(self.me(), partition) == MapRole::None {
                return;
            }
            cursor = state.store.scan(0, cursor, SCAN_STEP, now, &mut |key, _| {
                if more && stdx::crc16::slot_of(key) == slot {
                    more = visit(key);
                }
            });
            more &= cursor != 0;
        }
    }
}
