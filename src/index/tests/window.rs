//! The window of ids: found while staged, when committed, and after a start.

use uuid::Uuid;

use super::{Fixture, options};
use crate::index::IndexError;
use crate::model::{Position, StreamName};

fn find(fixture: &Fixture, stream: &str, id: u128) -> Vec<u64> {
    let view = fixture.index.view(fixture.committed());
    let stream = StreamName::new(stream).unwrap();
    let found = view.find_ids(&stream, &[Uuid::from_u128(id)]).unwrap();
    found.iter().map(|(_, position)| position.0).collect()
}

#[test]
fn ids_are_found_within_the_window_whatever_was_flushed_merged_or_lost() {
    let mut fixture = Fixture::new(options());
    for number in 0..300u32 {
        fixture.stage(&format!("c-{}", number % 3), "made", &[], "");
        fixture.commit();
        if number % 11 == 0 {
            fixture.flush();
        }
        if number % 50 == 0 {
            fixture.merge();
        }
        if number % 70 == 0 {
            fixture.reopen();
        }
        let number = u64::from(number);
        for back in [0, 1, 50, 98, 99, 100, 150] {
            let Some(at) = number.checked_sub(back) else {
                continue;
            };
            let found = find(&fixture, &format!("c-{}", at % 3), u128::from(at));
            let expected = if back < 100 { vec![at] } else { Vec::new() };
            assert_eq!(found, expected, "{at} of {number}");
            assert_eq!(
                find(&fixture, &format!("c-{}", (at + 1) % 3), at.into()),
                [0; 0]
            );
        }
    }
    fixture.flush();
    for name in fixture.table_names() {
        fixture.disk.destroy(&name).unwrap();
    }
    fixture.reopen();
    let view = fixture.index.view(fixture.committed());
    let stream = StreamName::new("c-1").unwrap();
    let refused = view.find_ids(&stream, &[Uuid::from_u128(298)]);
    assert!(matches!(refused, Err(IndexError::Rebuilding { .. })));
    fixture.rebuild();
    assert_eq!(find(&fixture, "c-1", 298), [298]);
    assert_eq!(find(&fixture, "c-0", 201), [201]);
    assert_eq!(find(&fixture, "c-1", 199), [0; 0]);
}

#[test]
fn staged_ids_and_requests_are_seen_by_the_stage_alone() {
    let fixture = Fixture::new(options());
    fixture.stage("c-1", "made", &[], "");
    fixture.commit();
    fixture.stage_request("ann", 77, 1);
    fixture.stage("c-1", "made", &[], "");
    assert_eq!(find(&fixture, "c-1", 1), [0; 0]);
    let stream = StreamName::new("c-1").unwrap();
    let stage = fixture.index.stage();
    assert!(stage.id_seen_since(&stream, Uuid::from_u128(1), Position(1)));
    assert!(!stage.id_seen_since(&stream, Uuid::from_u128(0), Position(1)));
    let id = Uuid::from_u128(77);
    assert!(stage.request_since("ann", id, Position(1)).is_some());
    assert!(stage.request_since("ann", id, Position(2)).is_none());
    drop(stage);
    let request = |fixture: &Fixture| {
        let view = fixture.index.view(fixture.committed());
        view.find_request("ann", id).unwrap()
    };
    assert_eq!(request(&fixture), None);
    fixture.commit();
    assert_eq!(request(&fixture).map(|seen| seen.first), Some(1));
}

#[test]
fn the_last_requests_survive_a_start() {
    let mut fixture = Fixture::new(options());
    for number in 0..60u128 {
        fixture.stage_request("ann", number, 1);
        fixture.stage("c-1", "made", &[], "");
        fixture.commit();
        if number % 7 == 0 {
            fixture.flush();
            fixture.merge();
        }
    }
    for lost in [false, true] {
        if lost {
            fixture.disk.destroy(&fixture.table_names()[0]).unwrap();
        }
        fixture.reopen();
        fixture.rebuild();
        let view = fixture.index.view(fixture.committed());
        for number in 0..60u128 {
            let seen = view.find_request("ann", Uuid::from_u128(number)).unwrap();
            let first = seen.map(|seen| u128::from(seen.first));
            assert_eq!(first, (number >= 40).then_some(number));
        }
        assert_eq!(view.find_request("bob", Uuid::from_u128(59)).unwrap(), None);
    }
}
