//! Users are changed by the Raft group, like the map that carries them.

use cluster::{MapCommand, Refusal, UserUpdate};
use node::UsersOutcome;
use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::rpc::{Answer, Request};

/// Longest wait for a change to be agreed on.
const PATIENCE: Duration = Duration::from_secs(4);

impl Core {
    /// Proposes a change of users.
    pub(super) async fn change_users(self: &Arc<Self>, update: UserUpdate) -> UsersOutcome {
        let version = update.expected + 1;
        match self.ask_leader(Request::Propose(MapCommand::SetUsers(update)), PATIENCE).await {
            Ok(Answer::Applied(applied)) => match applied.refused {
                None => UsersOutcome::Agreed(version),
                Some(Refusal::StaleUsers) => UsersOutcome::Stale,
                Some(Refusal::Invalid) => {
                    UsersOutcome::Failed("there are too many, or too long ones".to_owned())
                }
                Some(Refusal::NotBootstrapped) => UsersOutcome::Failed("there is no cluster yet".to_owned()),
                Some(other) => UsersOutcome::Failed(format!("refused: {other:?}")),
            },
            Ok(Answer::Refused(reason)) => UsersOutcome::Failed(reason),
            Ok(other) => UsersOutcome::Failed(format!("unexpected answer {other:?}")),
            Err(obstacle) => UsersOutcome::Failed(obstacle),
        }
    }
}
