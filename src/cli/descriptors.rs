//! How many files the process may have open, and how many of them are left for connections: a flood
//! of these must not take from the store what it needs to go on.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the store has open beside its segments and tables, and what a process has open anyway.
const OTHERS: u64 = 64;

/// Takes as many as the system gives, and says how many connections each of so many fronts may
/// have, at most `wanted`: a front may have twice as many open, to tell those that are too many.
pub(super) fn connections_max(fronts: usize, wanted: usize, files_of_store: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    let given = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    share(given, fronts, wanted, files_of_store)
}

/// No limit is none.
fn share(given: Option<u64>, fronts: usize, wanted: usize, files_of_store: usize) -> usize {
    let given = given.map_or(usize::MAX, |given| {
        usize::try_from(given.saturating_sub(OTHERS)).unwrap_or(usize::MAX)
    });
    let left = given.saturating_sub(files_of_store).max(given / 4);
    (left / (2 * fronts.max(1))).clamp(1, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_keeps_its_files() {
        assert_eq!(share(None, 2, 4096, 256), 4096);
        assert_eq!(share(Some(1 << 20), 2, 4096, 256), 4096);
        assert_eq!(share(Some(1024), 2, 4096, 256), 176);
        assert_eq!(share(Some(1024), 1, 4096, 256), 352);
        assert_eq!(share(Some(10), 2, 4096, 256), 1);
    }
}
