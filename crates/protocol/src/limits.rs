//! What a parser accepts from one client, and the named maxima of this crate.
//!
//! The limits are a parameter of every parse rather than a property of the parser, because they change in the
//! middle of a connection: a client that has not authenticated yet may send only what AUTH and HELLO need.

/// Arguments of one command that are kept without allocating.
pub const ARGUMENTS_INLINE: usize = 16;
/// Arguments whose space an idle argument vector keeps; a larger one is given back before the next command.
pub const ARGUMENTS_KEPT_MAX: usize = 1_024;
/// Bytes that an idle argument vector keeps for unescaped inline commands.
pub const INLINE_BYTES_KEPT_MAX: usize = 4 * 1_024;
/// Longest command as a whole: positions inside one are 32 bits wide.
pub const COMMAND_BYTES_MAX: usize = u32::MAX as usize;
/// Most arguments of a command from a client that has not authenticated, as Redis's.
pub const UNAUTHENTICATED_ARGUMENTS_MAX: usize = 10;
/// Longest argument from a client that has not authenticated, as Redis's.
pub const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16 * 1_024;
/// Deepest nesting of a reply that the decoder builds; real replies stay below ten.
pub const NESTING_DEPTH_MAX: usize = 64;
/// Longest simple string, error or number line of a reply.
pub const REPLY_LINE_BYTES_MAX: usize = 1_024 * 1_024;
/// Most elements that one aggregate of a reply may announce.
pub const REPLY_ELEMENTS_MAX: usize = 1 << 32;
/// Elements for which the decoder reserves room on the word of a header alone.
pub const ELEMENTS_RESERVED_MAX: usize = 1_024;
/// Longest text that is read as a floating-point number, as Redis's `MAX_LONG_DOUBLE_CHARS`.
pub const FLOAT_BYTES_MAX: usize = 5 * 1_024;

/// The sizes that one client may send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Longest argument, in bytes (Redis's `proto-max-bulk-len`).
    pub bulk_bytes_max: usize,
    /// Most arguments of one command, its name included.
    pub arguments_max: usize,
    /// Longest inline command and longest length line, in bytes.
    pub inline_bytes_max: usize,
    /// Decides only how a refusal is worded: Redis has its own texts for clients that have not authenticated.
    pub authenticated: bool,
}

impl Limits {
    /// The limits of a client that still has to authenticate.
    pub const fn unauthenticated() -> Limits {
        Limits {
            bulk_bytes_max: UNAUTHENTICATED_BULK_BYTES_MAX,
            arguments_max: UNAUTHENTICATED_ARGUMENTS_MAX,
            inline_bytes_max: stdx::limits::INLINE_BYTES_MAX,
            authenticated: false,
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            bulk_bytes_max: stdx::limits::BULK_BYTES_MAX,
            arguments_max: stdx::limits::ARGUMENTS_MAX,
            inline_bytes_max: stdx::limits::INLINE_BYTES_MAX,
            authenticated: true,
        }
    }
}

const _: () = assert!(ARGUMENTS_INLINE <= ARGUMENTS_KEPT_MAX);
const _: () = assert!(UNAUTHENTICATED_ARGUMENTS_MAX < stdx::limits::ARGUMENTS_MAX);
const _: () = assert!(UNAUTHENTICATED_BULK_BYTES_MAX < stdx::limits::BULK_BYTES_MAX);
const _: () = assert!(stdx::limits::BULK_BYTES_MAX < COMMAND_BYTES_MAX);
