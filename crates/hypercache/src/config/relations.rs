//! Values that are each right and together wrong: checked at start, by `config check`, and before CONFIG SET changes anything.

use std::net::IpAddr;

use super::source::{Mistake, Place, Settings};
use super::table::{DIRECTIVES, index_of};
use super::value::Value;

/// Every contradiction between the values of `settings`.
pub(super) fn contradictions(settings: &Settings) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut report = |indices: &[usize], text: String| {
        // Blame the first value that somebody wrote; a default is only to blame if all are defaults.
        let written =
            indices.iter().map(|index| settings.place(*index)).find(|place| **place != Place::Default);
        mistakes.push(Mistake { place: written.cloned().unwrap_or(Place::Default), text });
    };
    numbers(settings, &mut report);
    ports(settings, &mut report);
    exposure(settings, &mut report);
    mistakes
}

type Report<'a> = &'a mut dyn FnMut(&[usize], String);

fn numbers(settings: &Settings, report: Report<'_>) {
    let number = |index| settings.number(index);
    let partitions = const { index_of("partitions") };
    if number(partitions).count_ones() != 1 {
        let near = number(partitions).cast_unsigned().next_power_of_two();
        report(
            &[partitions],
            format!("partitions must be a power of two, such as {near}, not {}", number(partitions)),
        );
    }
    let mut at_most = |small: usize, factor: i64, large: usize, strictly: bool| {
        let (left, right) = (number(small) * factor, number(large));
        if left < right || (left == right && !strictly) {
            return;
        }
        let (small_name, large_name) = (DIRECTIVES[small].name, DIRECTIVES[large].name);
        let times = if factor == 1 { String::new() } else { format!("{factor} x ") };
        let relation = if strictly { "less than" } else { "at most" };
        let text =
            format!("{times}{small_name} ({}) must be {relation} {large_name} ({right})", number(small));
        report(&[small, large], text);
    };
    at_most(const { index_of("raft-election-min-ms") }, 1, const { index_of("raft-election-max-ms") }, true);
    at_most(const { index_of("raft-heartbeat-ms") }, 2, const { index_of("raft-election-min-ms") }, true);
    at_most(const { index_of("lease-renew-ms") }, 3, const { index_of("lease-ms") }, false);
    at_most(
        const { index_of("gossip-probe-timeout-ms") },
        2,
        const { index_of("gossip-probe-interval-ms") },
        true,
    );
    at_most(
        const { index_of("gossip-probe-interval-ms") },
        1,
        const { index_of("gossip-suspicion-ms") },
        false,
    );
}

fn ports(settings: &Settings, report: Report<'_>) {
    const PORTS: [usize; 3] = [index_of("port"), index_of("http-port"), index_of("gossip-port")];
    for (position, first) in PORTS.iter().enumerate() {
        for second in &PORTS[position + 1..] {
            let port = settings.number(*first);
            if port != 0 && port == settings.number(*second) {
                let (first_name, second_name) = (DIRECTIVES[*first].name, DIRECTIVES[*second].name);
                report(&[*second, *first], format!("{second_name} and {first_name} are both {port}"));
            }
        }
    }
}

/// Whether `address` can be reached from other machines.
pub(super) fn is_exposed(address: IpAddr) -> bool {
    !address.is_loopback()
}

fn exposure(settings: &Settings, report: Report<'_>) {
    const BIND: usize = index_of("bind");
    const JOIN: usize = index_of("join");
    const PASSWORD: usize = index_of("requirepass");
    const SECRET: usize = index_of("cluster-secret");
    const ADVERTISE: usize = index_of("advertise-address");
    const USER: usize = index_of("user");
    const FILE: usize = index_of("aclfile");
    let has_file = matches!(settings.value(FILE), Value::Path(path) if !path.as_os_str().is_empty());
    if has_file && !settings.secret(USER).is_empty() {
        report(
            &[USER, FILE],
            "users are described by user and by aclfile: only one of them is possible".to_owned(),
        );
    }
    if let Value::Address(Some(address)) = settings.value(ADVERTISE)
        && address.is_unspecified()
    {
        report(
            &[ADVERTISE],
            format!("advertise-address {address} is not an address that others could connect to"),
        );
    }
    let Value::Address(Some(bind)) = settings.value(BIND) else { return };
    let allowed = settings.value(const { index_of("allow-insecure-bind") }) == &Value::Bool(true);
    if !is_exposed(*bind) || allowed {
        return;
    }
    // Whether the default user that these make wants a password is seen when the server starts.
    let has_users = !settings.secret(USER).is_empty() || has_file;
    if settings.secret(PASSWORD).is_empty() && !has_users {
        let text = format!(
            "bind {bind} is open to other machines but requirepass is empty: set requirepass, or allow-insecure-bind yes"
        );
        report(&[BIND, PASSWORD], text);
    }
    let joins = matches!(settings.value(JOIN), Value::HostPorts(seeds) if !seeds.is_empty());
    if joins && settings.secret(SECRET).is_empty() {
        let text = format!(
            "bind {bind} is open to other machines and join is set but cluster-secret is empty: set cluster-secret, \
             or allow-insecure-bind yes"
        );
        report(&[JOIN, BIND], text);
    }
}
