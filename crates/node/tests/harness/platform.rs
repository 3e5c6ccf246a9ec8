//! The process around a node of the harness: no files, no password.

use cluster::map::UserUpdate;
use commands::events::Events;
use commands::host::{ConfigError, NodeHealth, SaveError, ShutdownMode};
use commands::info::InfoData;
use node::{Limits, Platform, UsersAnswer};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use stdx::NodeId;

#[derive(Default)]
pub(crate) struct TestPlatform {
    pub(crate) limits: Limits,
    /// Changes of users that nobody has decided on yet.
    pub(crate) proposals: Arc<Mutex<Vec<(UserUpdate, UsersAnswer)>>>,
    /// What CONFIG SET has asked for since.
    pub(crate) events: AtomicU32,
}

impl Platform for TestPlatform {
    fn config(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn config_set(&self, pairs: &[(&str, &[u8])]) -> Result<(), ConfigError> {
        if let [("notify-keyspace-events", letters)] = pairs
            && let Some(events) = std::str::from_utf8(letters).ok().and_then(Events::parse)
        {
            self.events.store(events.bits(), Ordering::Relaxed);
            return Ok(());
        }
        let name = pairs.first().map_or(String::new(), |(name, _)| (*name).to_owned());
        Err(ConfigError::Unknown { name })
    }

    fn config_rewrite(&self) -> Result<(), String> {
        Err("The server is running without a config file".to_owned())
    }

    fn propose_users(&self, update: UserUpdate, answer: UsersAnswer) {
        self.proposals.lock().expect("one thread").push((update, answer));
    }

    fn limits(&self) -> Limits {
        Limits { events: Events::from_bits(self.events.load(Ordering::Relaxed)), ..self.limits }
    }

    fn complete_info(&self, _info: &mut InfoData) {}

    fn health(&self, _node: NodeId) -> NodeHealth {
        NodeHealth::Up
    }

    fn save(&self, _wait: bool) -> Result<(), SaveError> {
        Err(SaveError::Failed("nothing is kept on disk".to_owned()))
    }

    fn shutdown(&self, _mode: ShutdownMode) -> Result<(), String> {
        Err("a test cannot be shut down".to_owned())
    }

    fn abort_shutdown(&self) -> bool {
        false
    }

    fn purge_memory(&self) {}
}
