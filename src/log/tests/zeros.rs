//! Zeros that are written ahead of use, where they are not the reason for a failure.

use std::sync::Arc;

use crate::disk::{Fault, MemoryDisk, Operation, ProbeDisk, SimulatedHost};
use crate::log::tests::{append, check};
use crate::log::writer::ZERO_STEP_BYTES;
use crate::log::{Log, LogOptions, StorageError};
use crate::model::Position;

/// Only for want of space is a unit written again without them: what became of the bytes of another
/// failed write, nobody knows.
#[test]
fn a_write_that_failed_with_zeros_behind_it_is_not_tried_without_them() {
    const LEN: u64 = 200;
    let probe = ProbeDisk::new(Arc::new(MemoryDisk::new()));
    let options = LogOptions {
        segment_size_bytes: 16 * ZERO_STEP_BYTES,
        ..LogOptions::default()
    };
    let host = Arc::new(SimulatedHost::new(7));
    let mut opened = Log::open(Arc::new(probe.clone()), host, options, true).unwrap();
    probe.fail(Fault::at(Operation::Write).named("segment"));
    let events = u64::from(ZERO_STEP_BYTES) / LEN * 2;
    assert!(matches!(
        append(&mut opened, events, LEN),
        Err(StorageError::Io { .. })
    ));
    assert!(matches!(
        append(&mut opened, 1, LEN),
        Err(StorageError::Poisoned(_))
    ));
    check(&opened.log, Position::START, LEN);
}
