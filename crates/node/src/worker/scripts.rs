//! EVAL and its forms on their way: from the node that knows the script to the primary of its keys.

use super::Worker;
use super::dispatch::{Meta, Outcome};
use crate::execute::{Executed, Refusal};
use crate::frame::Route;
use crate::script::NeedsAll;
use crate::target::Target;
use ::scripting::Refusal as Refused;
use commands::table::{Scripted, lookup};
use commands::{Args, Command, scripting};
use protocol::Reply;
use stdx::PartitionId;

/// Characters of a SHA1 digest in hexadecimal.
const DIGEST_CHARS: usize = 40;

impl Worker {
    /// Runs a script here or sends it on; one that is named by its digest goes as a whole, because the primary may not know it.
    pub(super) fn attempt_script(
        &mut self,
        command: &'static Command,
        scripted: Scripted,
        args: Args<'_>,
        meta: &Meta<'_>,
        target: Target,
        out: &mut Vec<u8>,
    ) -> Option<Outcome> {
        let mut refuse = |text: &str| {
            Reply::new(out, meta.version).error(text);
            Some(Outcome::Ready)
        };
        // As Redis does: what cannot be a digest is known before anything else is looked at.
        if scripted.is_by_digest() && args.at(1).len() != DIGEST_CHARS {
            return refuse(Refused::NoScript.text());
        }
        if let Err(error) = scripting::keys_and_arguments(args) {
            return refuse(&error.to_string());
        }
        let mut scripts = self.shared.scripts.lock();
        if !scripted.is_by_digest() {
            if scripts.get(&::scripting::sha1_hex(args.at(1))).is_none()
                && let Err(error) = scripts.add(args.at(1))
            {
                return refuse(&String::from_utf8_lossy(error.text()));
            }
            drop(scripts);
            return self.attempt_routed(command, args, meta, target, out);
        }
        let Some(script) = scripts.get(args.at(1)).cloned() else {
            return refuse(Refused::NoScript.text());
        };
        drop(scripts);
        let name: &[u8] = if scripted.is_read_only() { b"EVAL_RO" } else { b"EVAL" };
        let mut words = args.as_slice().to_vec();
        (words[0], words[1]) = (name, script.body());
        let command = lookup(name).expect("EVAL is in the table");
        self.attempt_routed(command, Args::new(&words), meta, target, out)
    }

    /// Runs a script on partitions of this node: on those of its keys, or on all if it names none or needs others.
    pub(super) fn run_script(
        &mut self,
        command: &'static Command,
        args: Args<'_>,
        meta: &Meta<'_>,
        routes: &[Route],
        target: Target,
        out: &mut Vec<u8>,
    ) -> Result<Executed, Refusal> {
        let mut reply = Reply::new(out, meta.version);
        if command.key_positions(args).next().is_some() {
            let ran = self.executor(meta, target, |executor| {
                executor.script(command, args, routes, false, &mut reply)
            })?;
            if let Ok(executed) = ran {
                return Ok(executed);
            }
        }
        let own: Vec<Route> = (0..self.routing.partitions())
            .map(PartitionId)
            .filter(|id| self.routing.own_reign(*id).is_some())
            .map(|id| self.routing.route(id))
            .collect();
        let ran =
            self.executor(meta, target, |executor| executor.script(command, args, &own, true, &mut reply))?;
        ran.map_err(|NeedsAll| Refusal::NotNow)
    }
}
