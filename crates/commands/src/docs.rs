//! The command reference as Markdown, derived from the table; `docs/commands.md` is kept equal to it by a test, which also writes
//! it anew when `HYPERCACHE_UPDATE_DOCS` is set.

use crate::across::across;
use crate::table::{self, Blocking, Command, Find, Group, Run};

/// Groups in the order of the document.
const GROUPS: &[(Group, &str)] = &[
    (Group::Generic, "Keys"),
    (Group::String, "Strings"),
    (Group::Hash, "Hashes"),
    (Group::List, "Lists"),
    (Group::Set, "Sets"),
    (Group::SortedSet, "Sorted sets"),
    (Group::Stream, "Streams"),
    (Group::Bitmap, "Bitmaps"),
    (Group::HyperLogLog, "HyperLogLog"),
    (Group::Geo, "Geographical indexes"),
    (Group::Bloom, "Bloom filters"),
    (Group::Cuckoo, "Cuckoo filters"),
    (Group::PubSub, "Pub/sub"),
    (Group::Transactions, "Transactions"),
    (Group::Scripting, "Scripts and functions"),
    (Group::Connection, "Connection"),
    (Group::Server, "Server"),
    (Group::Cluster, "Cluster"),
];

/// What a reader who knows Redis has to know of a group, after its table.
const NOTES: &[(Group, &str)] = &[
    (
        Group::Generic,
        "The keys that BY and GET of SORT name may be on any node: they are fetched first, up to 100,000 of them. In a \
        transaction they must be in a slot of its own keys, as a hash tag before the `*` can make sure; otherwise the answer \
        is that of a Redis Cluster. Elements are compared byte by byte, whatever the locale.\n\n\
        WAITAOF asks for the log of the node that the client is connected to; writes that were made on other nodes are in \
        theirs. Replicas count only with `appendfsync always`, where they confirm what is on their disk.",
    ),
    (
        Group::String,
        "SET has the option `IFEQ value` of Valkey 8.1, which is compare-and-set: it writes if the key holds this value and \
        answers with null if not; `DELIFEQ` is that of Valkey 9.",
    ),
    (
        Group::Server,
        "SWAPDB writes the keys of both databases anew, so that its cost is that of all of them; each partition swaps in one \
        step, at most 512 MiB, and the partitions one after the other. What names a master or a replica (REPLICAOF, SYNC, \
        FAILOVER and their like), loads modules or debugs is refused. MONITOR shows the commands of clients of the node that \
        it is sent to, not of others.",
    ),
    (
        Group::Cluster,
        "Members decide who owns which slots: what changes the map by hand in Redis is refused with an error that says what \
        changes it here. CLUSTER NODES shows every node as a master; CLUSTER REPLICAS tells which nodes have copies of its \
        slots. CLUSTER LINKS is empty, because gossip goes by UDP, and CLUSTER COUNT-FAILURE-REPORTS is 1 of a node that is \
        suspected or down.",
    ),
    (
        Group::Bitmap,
        "No string gets longer than 512 MiB, not even by a field of BITFIELD that begins within and ends without; Redis lets \
        it. The result of BITOP is stored as SET would, so that OBJECT ENCODING may call it `int` or `embstr`.",
    ),
    (
        Group::HyperLogLog,
        "Sketches are strings in Redis's format, byte for byte, and count what they count there: GET, SET and the like carry \
        them from one server to the other. PFCOUNT does not write the count into the sketch, as Redis does to cache it, and \
        uses one that it finds there. PFSELFTEST tests less than Redis's.",
    ),
    (
        Group::Bloom,
        "A filter takes at most 512 MiB and 1,024 sub-filters. SCANDUMP and LOADCHUNK have our own format \
        ([bytes](formats/bloom.md)), as DUMP and RESTORE have: they do not exchange filters with RedisBloom, whose hash is \
        another one. Pieces are loaded in the order in which they were dumped, and until the last one most commands answer \
        that the filter is being loaded.",
    ),
    (
        Group::Cuckoo,
        "Buckets have four places each and fingerprints the bits that the rate of false positives needs: BUCKETSIZE only \
        decides this rate, the one that RedisBloom has with it (2/255 for each place), MAXITERATIONS is checked and has no \
        effect, and `CF.INFO` tells what is. The capacity is not rounded to a power of two. A filter takes at most 512 MiB. \
        The pieces of SCANDUMP are as with Bloom filters ([bytes](formats/cuckoo.md)).",
    ),
];

const HEADER: &str = "# Commands\n\n\
    Generated from the command table; do not edit. Behaviour, replies and error texts are those of Redis 7.2 unless a \
    note says otherwise, those of the filters RedisBloom 2.6. *Since* is the version of Redis, or of RedisBloom, that \
    introduced the command. *Runs* says where:\n\n\
    - **primary**: on the primary of its keys, which must be one node (else `CROSSSLOT`);\n\
    - **gathered**: the keys may belong to several nodes. The node that is asked fetches the values, each as it is at some moment \
    meanwhile; a change that depends on what is there is made only if that is still so, else it begins anew (`RENAME`, `RENAMENX`, \
    `COPY`, `PFMERGE`), and others replace the destination in one write. `LMOVE` and `SMOVE` and their like take the element in \
    one write and add it in another: for a moment it is in neither key, and `INDOUBT` says that it could not be added;\n\
    - **spread**: the keys may belong to any number of nodes, each of which does its share;\n\
    - **cluster**: on every partition or node, the replies merged into one;\n\
    - **node**: on the node that the client is connected to.\n";

/// The whole document.
pub fn markdown() -> String {
    let mut text = String::from(HEADER);
    for (group, title) in GROUPS {
        let mut rows: Vec<&Command> =
            table::all().iter().filter(|row| row.group == *group && row.subcommands.is_empty()).collect();
        // COMMAND is both a command and a container.
        let runs_itself = |row: &&Command| !row.subcommands.is_empty() && !matches!(row.run, Run::Container);
        rows.extend(table::all().iter().filter(|row| row.group == *group).filter(runs_itself));
        rows.sort_by_key(|row| row.name);
        if rows.is_empty() {
            continue;
        }
        text.push_str(&format!("\n## {title}\n\n"));
        text.push_str("| command | arity | since | runs | complexity | what it does |\n");
        text.push_str("|---|---|---|---|---|---|\n");
        rows.iter().for_each(|row| text.push_str(&line(row)));
        for (_, note) in NOTES.iter().filter(|(of, _)| of == group) {
            text.push_str(&format!("\n{note}\n"));
        }
    }
    text
}

fn line(row: &Command) -> String {
    format!(
        "| `{}` | {} | {} | {} | {} | {} |\n",
        row.name.to_ascii_uppercase().replace('|', " "),
        row.arity,
        row.since,
        place(row),
        escaped(row.complexity),
        escaped(row.summary),
    )
}

fn place(row: &Command) -> &'static str {
    match &row.run {
        Run::Blocking(Blocking { on_some: Some(_), .. }) => "spread",
        Run::Read(_) if may_name_several_keys(row) => "gathered",
        Run::Write(_) | Run::Blocking(_) if across(row).is_some() => "gathered",
        Run::Read(_) | Run::Write(_) | Run::Blocking(_) | Run::Script(_) => "primary",
        Run::Fanout { .. } => "spread",
        Run::Partitions { .. } | Run::Scan | Run::Nodes { .. } | Run::Users(_) => "cluster",
        Run::Session(_) | Run::Connection | Run::Container => "node",
    }
}

fn may_name_several_keys(row: &Command) -> bool {
    row.keys.specs().iter().any(|spec| spec.find != Find::Range { last: spec.first as i32, step: 1 })
        || row.keys.specs().len() > 1
}

fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}
