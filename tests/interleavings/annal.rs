//! The layers up to `subscription`, from the very source of the store, with locks, atomics, threads
//! and a clock that a scheduler moves: `sync.rs` stands in for `src/sync.rs`.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the fronts, which use the rest, are left out"
)]

#[path = "../../src/disk/mod.rs"]
pub mod disk;
#[path = "../../src/engine/mod.rs"]
pub mod engine;
#[path = "../../src/format/mod.rs"]
pub mod format;
#[path = "../../src/index/mod.rs"]
mod index;
#[path = "../../src/log/mod.rs"]
mod log;
#[path = "../../src/model/mod.rs"]
pub mod model;
#[path = "../../src/subscription/mod.rs"]
pub mod subscription;

mod sync;
