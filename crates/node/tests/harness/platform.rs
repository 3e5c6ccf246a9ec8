//! The process around a node of the harness: no files, no password.

use commands::events::Events;
use commands::host::{Authentication, ConfigError, NodeHealth, SaveError, ShutdownMode};
use commands::info::InfoData;
use node::{Limits, Platform};
use std::sync::atomic::{AtomicU32, Ordering};
use stdx::NodeId;

#[derive(Default)]
pub(crate) struct TestPlatform {
    pub(crate) limits: Limits,
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

    fn authenticate(&self, user: &[u8], _password: &[u8]) -> Authentication {
        Authentication::Granted(String::from_utf8_lossy(user).into_owned())
    }

    fn requires_password(&self) -> bool {
        false
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
