//! The table of families: which commands programs are made of, in the notation of [`super::grammar`].
//!
//! A shape that stands there twice comes twice as often. Commands that other servers do not have (filters, `SET IFEQ`)
//! are not compared here. Commands that wait do so for moments only: nobody else fills what they wait for.

mod collections;
mod scripts;
mod sorted;
mod streams;

/// Commands that belong together.
pub(super) struct Family {
    /// Its name on the command line, and the beginning of its keys.
    pub(super) name: &'static str,
    /// The shapes of its commands.
    pub(super) shapes: &'static [&'static str],
}

/// All families. `keys` takes part in every program.
pub(super) const FAMILIES: &[Family] = &[
    Family { name: "keys", shapes: KEYS },
    Family { name: "connection", shapes: CONNECTION },
    Family { name: "strings", shapes: STRINGS },
    Family { name: "bitmaps", shapes: BITMAPS },
    Family { name: "hyperloglog", shapes: HYPERLOGLOG },
    Family { name: "hashes", shapes: collections::HASHES },
    Family { name: "sets", shapes: collections::SETS },
    Family { name: "lists", shapes: collections::LISTS },
    Family { name: "sorted-sets", shapes: sorted::SORTED_SETS },
    Family { name: "lexical", shapes: sorted::LEXICAL },
    Family { name: "geo", shapes: sorted::GEO },
    Family { name: "streams", shapes: streams::STREAMS },
    Family { name: "scripts", shapes: scripts::SCRIPTS },
];

/// Commands that may wait for data: a slip of theirs could make them wait for ever.
pub(super) const WAITING: &[&str] = &[
    "BLPOP",
    "BRPOP",
    "BLMOVE",
    "BLMPOP",
    "BRPOPLPUSH",
    "BZPOPMIN",
    "BZPOPMAX",
    "BZMPOP",
    "XREAD",
    "XREADGROUP",
];

/// Families whose keys are left alone by all others: what a damaged sketch counts, or a range of members with different scores, is
/// not specified.
pub(super) const APART: &[&str] = &["hyperloglog", "lexical"];

/// The family that takes part in every program.
pub(super) const EVERYWHERE: &str = "keys";

const KEYS: &[&str] = &[
    "DEL { %j }",
    "DEL %j",
    "UNLINK { %j }",
    "EXISTS { %j }",
    "TOUCH { %j }",
    "TYPE %j",
    "TYPE %j",
    "EXPIRE %j %t [ NX|XX|GT|LT ]",
    "PEXPIRE %j %T [ NX|XX|GT|LT ]",
    "EXPIREAT %j %a [ NX|XX|GT|LT ] [ NX|XX|GT|LT ]",
    "PEXPIREAT %j %A [ NX|XX|GT|LT ]",
    "EXPIRE %j %t NX|XX|GT|LT|ZZ NX|XX|GT|LT",
    "TTL %j",
    "PTTL %j",
    "EXPIRETIME %j",
    "PEXPIRETIME %j",
    "PERSIST %j",
    "RENAME %j %j",
    "RENAMENX %j %j",
    "COPY %j %j [ REPLACE ]",
    "COPY %j %j DB %d [ REPLACE ]",
    "MOVE %j %d",
    "KEYS %p",
    "KEYS *",
    "SCAN 0 [ MATCH %p ] [ COUNT %n ] [ TYPE string|hash|set|list|zset|stream|STRING ]",
    "SCAN %n",
    "DBSIZE",
    "RANDOMKEY",
    "DUMP %j",
    "RESTORE %j %T %v",
    "OBJECT ENCODING %j",
    "OBJECT REFCOUNT %j",
    "OBJECT FREQ %j",
    "OBJECT IDLETIME %j",
    "OBJECT %z %j",
    "OBJECT",
    "MEMORY USAGE %j [ SAMPLES %n ]",
    "FLUSHDB [ ASYNC|SYNC|%z ]",
    "ECHO %v",
    "PING [ %v ] [ %v ]",
    "NOSUCHCOMMAND %v %v",
    "%z %v",
];

const CONNECTION: &[&str] = &[
    "PING [ %v ] [ %v ]",
    "ECHO %v",
    "CLIENT SETNAME %f",
    "CLIENT GETNAME",
    "CLIENT NO-EVICT on|OFF|%z",
    "CLIENT %z",
    "PUBLISH %f %v",
    "PUBSUB NUMSUB { %f }",
    "PUBSUB CHANNELS %p",
    "PUBSUB NUMPAT",
    "ACL WHOAMI",
    "AUTH %v",
    "AUTH %f %v",
    "HELLO 4|%z|2~AUTH~x|3~SETNAME",
    "CONFIG GET nosuch",
    "CONFIG SET nosuch %v",
    "TIME",
    "LASTSAVE",
    "COMMAND GETKEYS SET %k %v",
    "COMMAND GETKEYS MSET { %k %v }",
    "COMMAND GETKEYS DEL { %k }",
    "COMMAND GETKEYS ZUNIONSTORE %k 0|1|2|7|-1|abc { %k }",
    "COMMAND GETKEYS LMPOP 0|1|2|7|-1|abc { %k } LEFT",
    "COMMAND GETKEYS XREAD COUNT 1 STREAMS { %k %q }",
    "COMMAND GETKEYS BITOP AND %k { %k }",
    "COMMAND GETKEYS PING|%z|GET|MSET %k",
    "COMMAND GETKEYSANDFLAGS SET|GETSET|RENAME|COPY %k %k [ GET ]",
    "COMMAND GETKEYSANDFLAGS BITFIELD %k GET|SET|INCRBY u8 0 [ 1 ]",
    "SET %k %v",
    "GET %k",
];

const STRINGS: &[&str] = &[
    "SET %k %v",
    "SET %k %v",
    "SET %k %v",
    "SET %k %v [ NX|XX ] [ GET ] [ EX~%t|PX~%T|EXAT~%a|PXAT~%A|KEEPTTL ]",
    "SET %k %v [ EX~%t|PX~%T|KEEPTTL ] [ NX|XX|GET|get|Px~%T|ZZ ]",
    "SETNX %k %v",
    "SETEX %k %t %v",
    "PSETEX %k %T %v",
    "GET %k",
    "GET %k",
    "GETSET %k %v",
    "GETDEL %k",
    "GETEX %k [ EX~%t|PX~%T|EXAT~%a|PXAT~%A|PERSIST|KEEPTTL ] [ PERSIST|%z ]",
    "MGET { %k }",
    "MSET { %k %v }",
    "MSETNX { %k %v }",
    "APPEND %k %v",
    "APPEND %k %v",
    "STRLEN %k",
    "GETRANGE %k %i %i",
    "GETRANGE %k %n %n",
    "SUBSTR %k %n %n",
    "SETRANGE %k %c %v",
    "SETRANGE %k %n %v",
    "INCR %k",
    "DECR %k",
    "INCRBY %k %n",
    "DECRBY %k %n",
    "INCRBY %k %z",
    "DECRBY %k %z",
    "INCRBYFLOAT %k %x",
    "INCRBYFLOAT %k %n",
    "LCS %k %k [ LEN|IDX ] [ MINMATCHLEN~%n|WITHMATCHLEN|%z ] [ WITHMATCHLEN ]",
    "LCS %k %k IDX",
    "OBJECT ENCODING %k",
    "EXPIRE %k %t",
];

const BITMAPS: &[&str] = &[
    "SETBIT %k %o 0|1|1|%n",
    "SETBIT %k %o 1",
    "SETBIT %k %n %n",
    "GETBIT %k %o",
    "GETBIT %k %n",
    "BITCOUNT %k [ %i %i ] [ BYTE|BIT|byte|%z ]",
    "BITCOUNT %k %i",
    "BITPOS %k 0|1|%n [ %i ] [ %i ] [ BYTE|BIT|%z ]",
    "BITOP AND|OR|XOR|or|%z %k { %k }",
    "BITOP NOT %k %k [ %k ]",
    "BITFIELD %k { GET~%b~%o|SET~%b~%o~%n|INCRBY~%b~%o~%n|OVERFLOW~WRAP|OVERFLOW~SAT|OVERFLOW~FAIL|OVERFLOW~%z }",
    "BITFIELD %k { GET~%b~#1|SET~%b~#%c~%i|INCRBY~u2~#2~1|INCRBY~i63~%n~%z }",
    "BITFIELD %k SET u8|i8|u16 #%c|#1|#2|#0 %i INCRBY i9|u4 %o %i GET u20 3",
    "BITFIELD_RO %k { GET~%b~%o }",
    "BITFIELD_RO %k { GET~%b~%o|SET~%b~%o~%n }",
    "SET %k %v",
    "APPEND %k %v",
    "GET %k",
    "STRLEN %k",
    "GETRANGE %k %n %n",
];

const HYPERLOGLOG: &[&str] = &[
    "PFADD %K { %f }",
    "PFADD %K { %f }",
    "PFADD %K { %v }",
    "PFADD %K",
    "PFCOUNT { %k }",
    "PFCOUNT %K",
    "PFMERGE %K { %k }",
    "PFMERGE %K",
    "PFDEBUG ENCODING|TODENSE|DECODE|%z %K",
    "GET %K",
    "SET %K %v",
    "STRLEN %K",
    "COPY %K %K",
    "DUMP %K",
    "EXPIRE %K 100",
];
