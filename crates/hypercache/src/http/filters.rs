//! `GET /api/filter/stats`: the filters of this node, and what comparing digests of partitions has spared.
//!
//! `stats` has the names of the first HyperCache: `size`, `capacity`, `load_factor`, `memory_usage`. There they told of one filter in
//! front of the store; here, where there is none ([why](../../../../docs/design/0010-digests.md)), of all keys that are filters.

use super::Server;
use super::figures::FilterFigures;
use super::respond::{self, Body};
use hyper::Response;
use serde_json::{Value, json};

/// The response.
pub(crate) fn stats(server: &Server) -> Response<Body> {
    let FilterFigures { held, syncs } = server.backend.filters();
    let mut all = held.cuckoo;
    all += held.bloom;
    let mut stats = figures(all);
    stats["cuckoo"] = figures(held.cuckoo);
    stats["bloom"] = figures(held.bloom);
    let body = json!({
        "node": server.node_name,
        "stats": stats,
        "digests": {
            "syncs_by_backlog": syncs.by_backlog,
            "syncs_by_difference": syncs.by_difference,
            "syncs_whole": syncs.whole,
            "bytes_sent": syncs.bytes_sent,
            "bytes_spared": syncs.bytes_spared,
        },
    });
    respond::fresh("application/json", body.to_string())
}

fn figures(figures: store::FilterFigures) -> Value {
    let store::FilterFigures { filters, items, capacity, memory_bytes } = figures;
    let load_factor = if capacity == 0 { 0.0 } else { items as f64 / capacity as f64 };
    json!({
        "filters": filters,
        "size": items,
        "capacity": capacity,
        "load_factor": load_factor,
        "memory_usage": memory_bytes,
    })
}
