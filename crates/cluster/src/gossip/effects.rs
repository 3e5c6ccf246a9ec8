//! What the engine asks for during a call, collected for the driver to carry out afterwards.
//!
//! The engine calls back in the middle of its own work; collecting keeps the driver's reactions (which call the
//! engine again) out of that.

use super::identity::Identity;
use foca::{Header, Message, Notification, Runtime, Timer};
use std::time::Duration;
use stdx::{NodeId, Random};

/// What the engine noticed.
#[derive(Debug)]
pub(super) enum Note {
    Up(Identity),
    Down(Identity),
    Renamed {
        old: Identity,
        new: Identity,
    },
    /// No live member is left.
    Alone,
    Rejoined(Identity),
    ProbeAnswered,
    ProbeFailed(NodeId),
    /// We send under this SWIM incarnation, which only refuting raises.
    Incarnation(u16),
}

/// Everything one call produced.
#[derive(Default, Debug)]
pub(super) struct Effects {
    pub(super) notes: Vec<Note>,
    pub(super) messages: Vec<(Identity, Vec<u8>)>,
    pub(super) timers: Vec<(Duration, Timer<Identity>)>,
}

impl Runtime<Identity> for Effects {
    fn notify(&mut self, notification: Notification<'_, Identity>) {
        let note = match notification {
            Notification::MemberUp(identity) => Note::Up(identity.clone()),
            Notification::MemberDown(identity) => Note::Down(identity.clone()),
            Notification::Rename(old, new) => Note::Renamed { old: old.clone(), new: new.clone() },
            Notification::Idle => Note::Alone,
            Notification::Rejoin(identity) => Note::Rejoined(identity.clone()),
            Notification::DataReceived(Header {
                message: Message::Ack(_) | Message::ForwardedAck { .. },
                ..
            }) => Note::ProbeAnswered,
            Notification::ProbeFailed(_, target) => Note::ProbeFailed(target.node),
            Notification::DataSent(header) => Note::Incarnation(header.src_incarnation),
            Notification::DataReceived(_) | Notification::Active | Notification::Defunct => return,
        };
        self.notes.push(note);
    }

    fn send_to(&mut self, to: Identity, message: &[u8]) {
        self.messages.push((to, message.to_vec()));
    }

    fn submit_after(&mut self, timer: Timer<Identity>, after: Duration) {
        self.timers.push((after, timer));
    }
}

/// The project's generator under the name by which the engine knows randomness.
#[derive(Debug)]
pub(super) struct Dice(pub(super) Random);

impl rand_core::TryRng for Dice {
    type Error = std::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        // The upper half: the better-mixed bits of the generator.
        Ok((self.0.next_u64() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.0.next_u64())
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        self.0.fill(out);
        Ok(())
    }
}
