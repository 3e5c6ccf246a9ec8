//! Named maxima that more than one crate has to agree on.

/// Databases of a server, as in Redis's default configuration.
pub const DATABASES: u8 = 16;
/// Longest key or string value, as Redis's `proto-max-bulk-len` default (512 MiB).
pub const BULK_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Most arguments of one command, as Redis's (1024 * 1024).
pub const ARGUMENTS_MAX: usize = 1024 * 1024;
/// Longest inline command, as Redis's `PROTO_INLINE_MAX_SIZE` (64 KiB).
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
/// Most partitions of a cluster: one slot each.
pub const PARTITIONS_MAX: u16 = 16_384;
/// Most nodes of a cluster that the map, the ring and the links are built for.
pub const NODES_MAX: usize = 1_000;
