//! What clients can make a server hold at worst, added up from its options. `docs/security.md`
//! shows the same table.

use annal::{GrpcOptions, ServerOptions, StoreOptions};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const DOCUMENT: &str = include_str!("../../docs/security.md");

fn size(len: usize) -> u64 {
    u64::try_from(len).unwrap()
}

/// What may be held, and how much of it, in bytes.
fn rows() -> Vec<(&'static str, u64)> {
    let (store, native) = (StoreOptions::default(), ServerOptions::default());
    let http = GrpcOptions::default();
    let caches = store.read_cache_bytes
        + store.recent_bytes
        + store.index_memory_bytes
        + store.index_cache_bytes;
    vec![
        (
            "caches of the store, the index in memory, state records",
            size(caches) + store.state_memory_bytes,
        ),
        (
            "appends that wait, as they are in memory: 4 x `waiting_len_bytes_max`",
            4 * size(store.waiting_len_bytes_max),
        ),
        (
            "native: large frames that arrive: 2 x `incoming_len_bytes_max`",
            2 * size(native.incoming_len_bytes_max),
        ),
        (
            "native: answers that wait to be sent: 6 x `all_outboxes_len_bytes`",
            6 * size(native.all_outboxes_len_bytes),
        ),
        (
            "native: connections, with a small frame of each: 192 KiB x `connections_max`",
            192 * KIB * size(native.connections_max),
        ),
        (
            "native: subscriptions: 6 KiB x `all_subscriptions_max`",
            6 * KIB * size(native.all_subscriptions_max),
        ),
        (
            "gRPC: large messages that arrive: 2 x `incoming_len_bytes_max`",
            2 * size(http.incoming_len_bytes_max),
        ),
        (
            "gRPC and HTTP: connections: 128 KiB x `connections_max`",
            128 * KIB * size(http.connections_max),
        ),
        (
            "gRPC: calls, with a small message of each: 96 KiB x `all_calls_max`",
            96 * KIB * size(http.all_calls_max),
        ),
    ]
}

/// All of it, in bytes.
pub(crate) fn memory_max() -> u64 {
    rows().iter().map(|(_, len)| len).sum()
}

#[test]
fn the_document_adds_up_what_the_options_allow() {
    let mut table = String::from("| what | MiB |\n| --- | ---: |\n");
    for (what, len) in rows() {
        table += &format!("| {what} | {} |\n", len / MIB);
    }
    table += &format!("| together | {} |\n", memory_max() / MIB);
    assert!(DOCUMENT.contains(&table), "there has to stand:\n\n{table}");
}
