//! Tables of an older version answer for the kinds of keys that they have, while they are made
//! again.

use super::{Fixture, options};
use crate::index::{From, IndexError, Key, Step};
use crate::model::{Direction, Position};

fn ordinals(fixture: &Fixture, key: Key<'_>) -> Result<Vec<(u64, Position)>, IndexError> {
    let view = fixture.index.view(fixture.committed());
    let mut walk = view.seek(key, From::Ordinal(0), Direction::Forwards)?;
    let mut all = Vec::new();
    loop {
        let chunk = walk.next_chunk(usize::MAX)?;
        if chunk.is_empty() {
            return Ok(all);
        }
        all.extend(chunk);
    }
}

#[test]
fn an_older_table_is_used_until_all_of_it_was_made_again() {
    let mut fixture = Fixture::new(options());
    for number in 0..8 * 16 {
        let stream = format!("a-{}", number % 50);
        fixture.stage(&stream, "made", &[], "");
        if number % 16 == 15 {
            fixture.commit();
            fixture.flush();
        }
    }
    fixture.merge();
    let names = fixture.table_names();
    let old = names.first().unwrap().clone();
    let category = ordinals(&fixture, Key::Category("a")).unwrap();
    let streams = ordinals(&fixture, Key::CategoryStreams("a")).unwrap();
    assert_eq!((category.len(), streams.len()), (8 * 16, 50));
    fixture.make_old(&old);
    let mut steps = 0;
    while fixture.index.rebuild_step().unwrap() == Step::Worked {
        steps += 1;
        assert_eq!(ordinals(&fixture, Key::Category("a")).unwrap(), category);
        let newer = ordinals(&fixture, Key::CategoryStreams("a"));
        if fixture.index.wants_rebuild() {
            let refused = matches!(newer, Err(IndexError::Rebuilding { .. }));
            assert!(refused && fixture.table_names().contains(&old));
        }
    }
    // It held more than is made again in one step.
    assert!(steps > 2, "{steps}");
    assert!(!fixture.table_names().contains(&old));
    assert_eq!(
        ordinals(&fixture, Key::CategoryStreams("a")).unwrap(),
        streams
    );
    fixture.merge();
    fixture.reopen();
    assert_eq!(
        ordinals(&fixture, Key::CategoryStreams("a")).unwrap(),
        streams
    );
    assert_eq!(ordinals(&fixture, Key::Category("a")).unwrap(), category);
}
