//! What the judge makes of requests that were held and are found in the log.

use annal::Position;

use super::World;

/// Which of them share a unit nobody knows: damage to the last one may take all of them.
#[test]
fn the_last_unit_may_begin_with_the_first_of_the_held_requests_that_are_seen() {
    let mut world = World::new(0);
    let before = world.reference.end();
    let mut with = world.reference.clone();
    let mut ends = Vec::<Position>::new();
    while ends.len() < 3 {
        let ask = world.workload.ask(&mut world.dice, &world.mix);
        let mut next = with.clone();
        next.ask(&ask);
        if next.end() > with.end() {
            world.pending.push(ask);
            ends.push(next.end());
            with = next;
        }
    }
    world.held = true;
    world.see(Some(ends[1]));
    assert_eq!((world.reference.end(), world.pending.len()), (ends[1], 1));
    assert_eq!(world.before_last, before);
    // What is seen later is in another unit: it was not there before.
    world.see(Some(ends[2]));
    assert_eq!(world.reference.end(), ends[2]);
    assert_eq!(world.before_last, ends[1]);
}
