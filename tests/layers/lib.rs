//! The layers up to `index`, from the very source of the store, without those that stand on them.
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the layers above, which use the rest, are left out"
)]

pub mod disk;
pub mod format;
mod index;
mod log;
pub mod model;
mod sync;
