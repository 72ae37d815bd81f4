//! Consumer groups: who gets which event, what becomes of what is not acknowledged, and where a
//! group goes on. Most tests drive the groups themselves and own the clock.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "groups/world.rs"]
mod world;

use std::thread;
use std::time::Duration;

use annal::disk::Unsynced;
use annal::{
    EventFilter, FilterTarget, GroupError, GroupSettings, GroupSource, GroupStart, GroupStrategy,
    JoinOptions, MemberError, NackAction, Position, Revision,
};
use world::{FORGOTTEN, World, ids, name, revisions, stream, texts};

fn with(strategy: GroupStrategy) -> GroupSettings {
    GroupSettings {
        strategy,
        ..GroupSettings::default()
    }
}

fn members(count: u32) -> JoinOptions {
    JoinOptions {
        buffer_size: count,
        ..JoinOptions::default()
    }
}

#[test]
fn a_group_delivers_what_is_there_and_what_comes() {
    let world = World::new();
    world.append("a", 3);
    world.create("a", GroupSettings::default(), GroupStart::Start);
    let mut member = world.join("a", 10);
    assert_eq!(revisions(&world.take(&mut member)), [0, 1, 2]);
    world.append("b", 1);
    world.append("a", 2);
    assert_eq!(revisions(&world.take(&mut member)), [3, 4]);
    assert_eq!(member.subscription_id(), "a::g");
}

#[test]
fn a_group_begins_where_it_was_told_to_and_the_event_there_belongs_to_it() {
    let world = World::new();
    world.append("a", 3);
    let starts = [
        ("start", GroupStart::Start, vec![0, 1, 2, 3]),
        ("revision", GroupStart::Revision(Revision(1)), vec![1, 2, 3]),
        ("beyond", GroupStart::Revision(Revision(3)), vec![3]),
        ("end", GroupStart::End, vec![3]),
    ];
    for (group, start, _) in &starts {
        let settings = GroupSettings::default();
        world
            .groups()
            .create(stream("a"), name(group), settings, *start)
            .unwrap();
    }
    world.append("a", 1);
    for (group, _, expected) in &starts {
        let mut member = world
            .groups()
            .join(&stream("a"), &name(group), members(10))
            .unwrap();
        assert_eq!(revisions(&world.take(&mut member)), *expected, "{group}");
    }
}

#[test]
fn a_group_of_the_whole_log_takes_what_its_filter_chooses() {
    let world = World::new();
    world.append("a", 1);
    world.append("b", 1);
    world.append("ab", 1);
    let filter = EventFilter::prefixes(FilterTarget::Stream, ["a"]).unwrap();
    let source = GroupSource::All {
        filter: Some(filter),
    };
    let start = GroupStart::Position(Position(0));
    world
        .groups()
        .create(source, name("g"), GroupSettings::default(), start)
        .unwrap();
    let mut member = world
        .groups()
        .join(&GroupSource::ALL, &name("g"), members(10))
        .unwrap();
    assert_eq!(texts(&world.take(&mut member)), ["a 0", "ab 0"]);
    let info = world.groups().info(&GroupSource::ALL, &name("g")).unwrap();
    assert!(matches!(info.source, GroupSource::All { filter: Some(_) }));
    assert_eq!(info.start, start);
}

#[test]
fn a_category_is_a_source_like_any_stream() {
    let world = World::new();
    let settings = GroupSettings {
        resolve_links: true,
        ..GroupSettings::default()
    };
    world.append("order-1", 2);
    world.append("order-2", 1);
    world.create("$ce-order", settings, GroupStart::Start);
    let mut member = world.join("$ce-order", 10);
    let taken = world.take(&mut member);
    let targets: Vec<String> = taken
        .iter()
        .map(|one| one.event.event().unwrap())
        .map(|event| format!("{} {}", event.stream, event.revision))
        .collect();
    assert_eq!(targets, ["order-1 0", "order-1 1", "order-2 0"]);
    assert_eq!(texts(&taken), ["$ce-order 0", "$ce-order 1", "$ce-order 2"]);
    member.ack(&ids(&taken));
    world.drive();
    assert_eq!(world.info("$ce-order").in_flight_count, 0);
}

#[test]
fn no_member_holds_more_than_it_asked_for() {
    let world = World::new();
    world.append("a", 20);
    world.create("a", GroupSettings::default(), GroupStart::Start);
    let mut member = world.join("a", 3);
    let first = world.take(&mut member);
    assert_eq!(revisions(&first), [0, 1, 2]);
    member.ack(&[ids(&first)[1]]);
    assert_eq!(revisions(&world.take(&mut member)), [3]);
}

#[test]
fn a_group_measures_by_its_clock_whoever_looks() {
    let world = World::new();
    world.create("a", GroupSettings::default(), GroupStart::Start);
    let mut member = world.join("a", 100);
    let looked = || {
        let info = world.info("a");
        let of_member = &info.members[0];
        let seen = (info.since_count, info.per_second);
        assert_eq!((of_member.since_count, of_member.per_second), seen);
        seen
    };
    // How many come, and how much later somebody looks, each time again and again.
    for (count, after_s, seen) in [
        (10, 1, (10, 10)),
        (10, 3, (20, 5)),
        (30, 1, (0, 10)),
        (30, 5, (0, 6)),
        (0, 2, (0, 4)),
        (0, 10, (0, 0)),
    ] {
        world.append("a", count);
        let taken = world.take(&mut member);
        member.ack(&ids(&taken));
        world.advance(Duration::from_secs(after_s));
        assert_eq!([looked(), looked()], [seen, seen], "{count} {after_s}");
    }
    assert_eq!(world.info("a").total_count, 80);
}

#[test]
fn members_take_turns() {
    let world = World::new();
    world.create("a", GroupSettings::default(), GroupStart::Start);
    let mut one = world.join("a", 10);
    let mut two = world.join("a", 10);
    world.append("a", 4);
    assert_eq!(revisions(&world.take(&mut one)), [0, 2]);
    assert_eq!(revisions(&world.take(&mut two)), [1, 3]);
}

#[test]
fn a_single_member_is_filled_before_the_next() {
    let world = World::new();
    world.create(
        "a",
        with(GroupStrategy::DispatchToSingle),
        GroupStart::Start,
    );
    let mut one = world.join("a", 2);
    let mut two = world.join("a", 10);
    world.append("a", 4);
    assert_eq!(revisions(&world.take(&mut one)), [0, 1]);
    assert_eq!(revisions(&world.take(&mut two)), [2, 3]);
}

#[test]
fn what_is_not_acknowledged_in_time_is_delivered_again_and_parked_in_the_end() {
    let world = World::new();
    let settings = GroupSettings {
        max_retry_count: 2,
        ..GroupSettings::default()
    };
    world.create("a", settings, GroupStart::Start);
    world.append("a", 1);
    let mut member = world.join("a", 10);
    for retry_count in 0..3 {
        let taken = world.take(&mut member);
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].retry_count, retry_count);
        world.advance(Duration::from_millis(29_999));
        assert_eq!(world.take(&mut member).len(), 0);
        world.advance(Duration::from_millis(1));
    }
    assert_eq!(world.take(&mut member).len(), 0);
    assert_eq!(world.info("a").parked_count, 1);
    assert_eq!(world.parked("a")[0].0, "0@a");
    assert_eq!(world.parked("a")[0].1, "Reached retry count of 2");
}

#[test]
fn a_refusal_says_what_becomes_of_the_event() {
    let world = World::new();
    world.create("a", GroupSettings::default(), GroupStart::Start);
    world.append("a", 5);
    let mut member = world.join("a", 10);
    let taken = world.take(&mut member);
    let ids = ids(&taken);
    member.nack(&[ids[0]], NackAction::Park, "broken");
    member.nack(&[ids[1]], NackAction::Retry, "");
    member.nack(&[ids[2]], NackAction::Skip, "");
    member.nack(&[ids[3]], NackAction::Stop, "");
    member.nack(&[ids[4]], NackAction::Unknown, "");
    let again = world.take(&mut member);
    assert_eq!(revisions(&again), [1, 4]);
    assert!(again.iter().all(|one| one.retry_count == 1));
    let parked = world.parked("a");
    let reason = "Client explicitly NAK'ed message.\nbroken";
    assert_eq!(parked, [("0@a".to_owned(), reason.to_owned(), 0)]);
}

#[test]
fn an_unknown_id_is_ignored() {
    let world = World::new();
    world.create("a", GroupSettings::default(), GroupStart::Start);
    world.append("a", 2);
    let mut one = world.join("a", 1);
    let mut two = world.join("a", 1);
    let at_one = world.take(&mut one);
    let at_two = world.take(&mut two);
    // What another member holds is as unknown as what nobody holds.
    one.ack(&ids(&at_two));
    one.ack(&[uuid::Uuid::nil()]);
    assert_eq!(world.info("a").in_flight_count, 2);
    one.ack(&ids(&at_one));
    assert_eq!(world.info("a").in_flight_count, 1);
}

#[test]
fn what_a_member_leaves_behind_goes_to_others() {
    let world = World::new();
    world.create("a", GroupSettings::default(), GroupStart::Start);
    world.append("a", 3);
    let mut one = world.join("a", 10);
    assert_eq!(world.take(&mut one).len(), 3);
    let mut two = world.join("a", 10);
    drop(one);
    let taken = world.take(&mut two);
    assert_eq!(revisions(&taken), [0, 1, 2]);
    assert!(taken.iter().all(|one| one.retry_count == 1));
}

#[test]
fn parked_events_are_replayed_as_if_for_the_first_time() {
    let world = World::new();
    world.create("a", GroupSettings::default(), GroupStart::Start);
    world.append("a", 3);
    let mut member = world.join("a", 10);
    let taken = world.take(&mut member);
    member.nack(&ids(&taken)[..2], NackAction::Park, "");
    member.ack(&ids(&taken)[2..]);
    world.drive();
    assert_eq!(world.info("a").parked_count, 2);
    world
        .groups()
        .replay_parked(&stream("a"), &name("g"), None)
        .unwrap();
    let again = world.take(&mut member);
    let targets: Vec<u64> = again
        .iter()
        .map(|one| one.event.event().unwrap().revision.0)
        .collect();
    assert_eq!(targets, [0, 1]);
    assert!(again.iter().all(|one| one.retry_count == 0));
    assert_eq!(world.info("a").parked_count, 0);
    member.ack(&ids(&again));
    world.drive();
    assert_eq!(world.parked("a"), []);
}

#[test]
fn a_replay_stops_where_it_was_told_to_and_comes_before_everything_else() {
    let world = World::new();
    world.create("a", GroupSettings::default(), GroupStart::Start);
    world.append("a", 3);
    let mut member = world.join("a", 3);
    let taken = world.take(&mut member);
    member.nack(&ids(&taken), NackAction::Park, "");
    world.drive();
    drop(member);
    world.append("a", 1);
    world
        .groups()
        .replay_parked(&stream("a"), &name("g"), Some(2))
        .unwrap();
    world.drive();
    let mut member = world.join("a", 10);
    let taken = world.take(&mut member);
    let parked = "$persistentsubscription-a::g-parked";
    let expected = [format!("{parked} 0"), format!("{parked} 1"), "a 3".into()];
    assert_eq!(texts(&taken), expected);
    assert_eq!(world.info("a").parked_count, 1);
    let refused = world
        .groups()
        .replay_parked(&stream("a"), &name("g"), Some(-1));
    assert!(matches!(refused, Err(GroupError::NegativeStop(-1))));
}

#[test]
fn a_replay_that_was_not_handled_is_still_parked_after_a_restart() {
    let mut world = World::new();
    world.create("a", GroupSettings::default(), GroupStart::Start);
    world.append("a", 2);
    let mut member = world.join("a", 10);
    let taken = world.take(&mut member);
    member.nack(&ids(&taken), NackAction::Park, "");
    world.drive();
    world
        .groups()
        .replay_parked(&stream("a"), &name("g"), None)
        .unwrap();
    let again = world.take(&mut member);
    member.ack(&ids(&again)[..1]);
    world.drive();
    drop(member);
    world.cut(Unsynced::Lost);
    assert_eq!(world.info("a").parked_count, 2);
}

#[test]
fn parked_events_are_forgotten_when_that_is_asked_for() {
    let world = World::new();
    world.create("a", with(GroupStrategy::Ordered), GroupStart::Start);
    world.append("a", 2);
    world.append("a", 2);
    let mut member = world.join("a", 10);
    let taken = world.take(&mut member);
    member.nack(&ids(&taken), NackAction::Park, "");
    world.drive();
    assert_eq!(
        (
            world.info("a").parked_count,
            world.info("a").parked_streams_count
        ),
        (4, 1)
    );
    world
        .groups()
        .truncate_parked(&stream("a"), &name("g"), Some(1))
        .unwrap();
    world.drive();
    assert_eq!(
        (
            world.info("a").parked_count,
            world.info("a").parked_streams_count
        ),
        (3, 1)
    );
    world
        .groups()
        .truncate_parked(&stream("a"), &name("g"), None)
        .unwrap();
    world.drive();
    assert_eq!(
        (
            world.info("a").parked_count,
            world.info("a").parked_streams_count
        ),
        (0, 0)
    );
    world.append("a", 1);
    assert_eq!(revisions(&world.take(&mut member)), [4]);
}

#[test]
fn a_group_goes_on_behind_its_checkpoint() {
    let mut world = World::new();
    world.create("a", GroupSettings::default(), GroupStart::Start);
    world.append("a", 30);
    let mut member = world.join("a", 30);
    let taken = world.take(&mut member);
    let mut ids = ids(&taken);
    let unhandled = ids.remove(20);
    member.ack(&ids);
    world.advance(Duration::from_secs(2));
    world.drive();
    assert_eq!(
        world.info("a").last_checkpoint.unwrap().revision,
        Some(Revision(19))
    );
    drop(member);
    world.cut(Unsynced::Lost);
    let mut member = world.join("a", 30);
    let taken = world.take(&mut member);
    assert_eq!(revisions(&taken), (20..30).collect::<Vec<_>>());
    assert_eq!(world::ids(&taken)[0], unhandled);
}

#[test]
fn a_group_keeps_its_place_when_the_store_is_closed_while_it_lives() {
    let mut world = World::new();
    world.create("a", GroupSettings::default(), GroupStart::Start);
    world.append("a", 5);
    let mut member = world.join("a", 10);
    let taken = world.take(&mut member);
    member.ack(&ids(&taken)[..4]);
    world.store().clone().close().unwrap();
    drop(member);
    world.close_and_open();
    let mut member = world.join("a", 10);
    assert_eq!(revisions(&world.take(&mut member)), [4]);
}

#[test]
fn events_that_a_filter_leaves_out_advance_the_checkpoint() {
    let mut world = World::new();
    let filter = EventFilter::prefixes(FilterTarget::Stream, ["b"]).unwrap();
    let source = GroupSource::All {
        filter: Some(filter),
    };
    let settings = GroupSettings::default();
    world
        .groups()
        .create(source, name("g"), settings, GroupStart::Start)
        .unwrap();
    world.append("a", 10_000);
    world.drive();
    world.advance(Duration::from_secs(2));
    world.drive();
    world.cut(Unsynced::Lost);
    let info = world.groups().info(&GroupSource::ALL, &name("g")).unwrap();
    assert_eq!(info.last_checkpoint.unwrap().position, Position(9_999));
}

#[test]
fn changing_a_group_drops_its_members_and_keeps_its_place() {
    let world = World::new();
    world.create("a", GroupSettings::default(), GroupStart::Start);
    world.append("a", 3);
    let mut member = world.join("a", 10);
    let taken = world.take(&mut member);
    member.ack(&ids(&taken)[..2]);
    let settings = GroupSettings {
        max_retry_count: 3,
        ..GroupSettings::default()
    };
    world
        .groups()
        .update(&stream("a"), &name("g"), settings.clone(), GroupStart::End)
        .unwrap();
    assert_eq!(member.try_next(), Err(MemberError::GroupUpdated));
    assert_eq!(world.info("a").settings, settings);
    let mut member = world.join("a", 10);
    assert_eq!(revisions(&world.take(&mut member)), [2]);
}

#[test]
fn a_deleted_group_is_gone_with_what_it_parked() {
    let world = World::new();
    world.create("a", GroupSettings::default(), GroupStart::Start);
    world.append("a", 1);
    let mut member = world.join("a", 10);
    let taken = world.take(&mut member);
    member.nack(&ids(&taken), NackAction::Park, "");
    world.drive();
    world.groups().delete(&stream("a"), &name("g")).unwrap();
    assert_eq!(member.try_next(), Err(MemberError::GroupDeleted));
    let gone = world.groups().info(&stream("a"), &name("g"));
    assert!(matches!(gone, Err(GroupError::NotFound { .. })));
    world.create("a", GroupSettings::default(), GroupStart::Start);
    world.drive();
    assert_eq!(world.info("a").parked_count, 0);
    let mut member = world.join("a", 10);
    assert_eq!(revisions(&world.take(&mut member)), [0]);
}

#[test]
fn a_restart_drops_everybody() {
    let world = World::new();
    world.create("a", GroupSettings::default(), GroupStart::Start);
    let mut member = world.join("a", 10);
    world.groups().restart().unwrap();
    assert_eq!(member.try_next(), Err(MemberError::Restarted));
    world.append("a", 1);
    let mut member = world.join("a", 10);
    assert_eq!(revisions(&world.take(&mut member)), [0]);
}

#[test]
fn what_cannot_be_is_refused() {
    let world = World::new();
    let groups = world.groups();
    let create =
        |settings: GroupSettings, start| groups.create(stream("a"), name("g"), settings, start);
    let settings = GroupSettings {
        read_batch_size: 200,
        history_buffer_size: 100,
        ..GroupSettings::default()
    };
    assert!(matches!(
        create(settings, GroupStart::Start),
        Err(GroupError::Invalid(_))
    ));
    let start = GroupStart::Position(Position(0));
    assert!(matches!(
        create(GroupSettings::default(), start),
        Err(GroupError::Invalid(_))
    ));
    create(GroupSettings::default(), GroupStart::Start).unwrap();
    let again = create(GroupSettings::default(), GroupStart::Start);
    assert!(matches!(again, Err(GroupError::Exists { .. })));
    let beyond = GroupStart::Position(Position(5));
    let beyond = groups.create(
        GroupSource::ALL,
        name("g"),
        GroupSettings::default(),
        beyond,
    );
    assert!(matches!(beyond, Err(GroupError::Invalid(_))));
    let strange = GroupStrategy::of_name("Strange");
    assert!(matches!(strange, Err(annal::InvalidGroup(text)) if text.contains("Strange")));
    let missing = groups.join(&stream("b"), &name("g"), members(1));
    assert!(matches!(missing, Err(GroupError::NotFound { .. })));
}

#[test]
fn a_group_takes_so_many_members() {
    let world = World::new();
    let settings = GroupSettings {
        max_member_count: 1,
        ..GroupSettings::default()
    };
    world.create("a", settings, GroupStart::Start);
    let one = world.join("a", 1);
    let refused = world.groups().join(&stream("a"), &name("g"), members(1));
    assert!(matches!(refused, Err(GroupError::TooManyMembers(1))));
    drop(one);
    world.join("a", 1);
}

#[test]
fn an_ordered_group_waits_for_the_predecessor_only() {
    let world = World::new();
    let source = GroupSource::ALL;
    let settings = with(GroupStrategy::Ordered);
    world
        .groups()
        .create(source.clone(), name("g"), settings, GroupStart::Start)
        .unwrap();
    world.append("a", 2);
    world.append("b", 2);
    let join = || {
        world
            .groups()
            .join(&source, &name("g"), members(10))
            .unwrap()
    };
    let (mut one, mut two) = (join(), join());
    let at_one = world.take(&mut one);
    let at_two = world.take(&mut two);
    assert_eq!(
        (texts(&at_one), texts(&at_two)),
        (vec!["a 0".into()], vec!["b 0".into()])
    );
    two.ack(&ids(&at_two));
    let next = [world.take(&mut one), world.take(&mut two)].concat();
    assert_eq!(texts(&next), ["b 1"]);
}

#[test]
fn an_ordered_group_parks_the_rest_of_a_stream_behind_a_poison_event() {
    let mut world = World::new();
    let source = GroupSource::ALL;
    let settings = with(GroupStrategy::Ordered);
    let filter = EventFilter::no_system_events();
    let all = GroupSource::All {
        filter: Some(filter),
    };
    world
        .groups()
        .create(all, name("g"), settings, GroupStart::Start)
        .unwrap();
    world.append("a", 3);
    world.append("b", 1);
    let mut member = world
        .groups()
        .join(&source, &name("g"), members(10))
        .unwrap();
    let taken = world.take(&mut member);
    assert_eq!(texts(&taken), ["a 0", "b 0"]);
    member.nack(&ids(&taken)[..1], NackAction::Park, "poison");
    member.ack(&ids(&taken)[1..]);
    assert_eq!(world.take(&mut member), []);
    let links = |world: &World| -> Vec<String> {
        world
            .parked("$all")
            .into_iter()
            .map(|(link, ..)| link)
            .collect()
    };
    assert_eq!(links(&world), ["0@a", "1@a", "2@a"]);
    // Also what comes later, and after a restart.
    drop(member);
    world.cut(Unsynced::Lost);
    let mut member = world
        .groups()
        .join(&source, &name("g"), members(10))
        .unwrap();
    world.append("a", 1);
    world.append("b", 1);
    let mut seen = Vec::new();
    loop {
        let taken = world.take(&mut member);
        if taken.is_empty() {
            break;
        }
        member.ack(&ids(&taken));
        seen.extend(texts(&taken));
    }
    assert_eq!(seen, ["b 0", "b 1"]);
    assert_eq!(links(&world).last().unwrap(), "3@a");
    // A replay goes on in order, and opens the stream again.
    world
        .groups()
        .replay_parked(&source, &name("g"), None)
        .unwrap();
    let mut seen = Vec::new();
    loop {
        let taken = world.take(&mut member);
        if taken.is_empty() {
            break;
        }
        assert!(taken.len() <= 2);
        member.ack(&ids(&taken));
        seen.extend(
            taken
                .iter()
                .map(|one| one.event.event().unwrap().revision.0),
        );
    }
    assert_eq!(
        (seen[..3].to_vec(), *seen.last().unwrap()),
        (vec![0, 1, 2], 3)
    );
    world.append("a", 1);
    assert_eq!(texts(&world.take(&mut member)), ["a 4"]);
}

#[test]
fn a_group_says_what_it_waits_for() {
    let world = World::new();
    let settings = GroupSettings {
        extra_statistics: true,
        ..GroupSettings::default()
    };
    world.create("a", settings, GroupStart::Start);
    world.append("a", 5);
    let join = JoinOptions {
        buffer_size: 3,
        principal: "ann".into(),
        connection_name: "billing".into(),
        from: "10.0.0.1:9".into(),
    };
    let mut member = world.groups().join(&stream("a"), &name("g"), join).unwrap();
    let taken = world.take(&mut member);
    world.advance(Duration::from_secs(4));
    member.ack(&ids(&taken)[1..2]);
    world.take(&mut member);
    let info = world.info("a");
    assert_eq!(info.status.text(), "Live");
    assert_eq!((info.in_flight_count, info.live_buffer_count), (3, 1));
    let oldest = info.oldest_in_flight.unwrap();
    assert_eq!(
        (oldest.revision, &*oldest.connection_name),
        (Revision(0), "billing")
    );
    assert_eq!(info.last_delivered.unwrap().revision, Some(Revision(3)));
    assert_eq!(info.last_acknowledged.unwrap().revision, Some(Revision(1)));
    assert_eq!(info.last_known.unwrap().revision, Some(Revision(4)));
    assert_eq!((info.lag_count, info.lag_us), (Some(5), 4_000_000));
    let seen = &info.members[0];
    assert_eq!(
        (&*seen.principal, &*seen.from, seen.available_count),
        ("ann", "10.0.0.1:9", 0)
    );
    let names: Vec<&str> = seen.measurements.iter().map(|one| one.name).collect();
    assert!(
        names.contains(&"Quintile 3") && names.contains(&"99.9%"),
        "{names:?}"
    );
    assert!(seen.measurements.iter().all(|one| one.value_ms == 4_000));
}

#[test]
fn groups_go_on_by_themselves_where_the_store_has_threads() {
    let world = World::threaded();
    world.create("a", GroupSettings::default(), GroupStart::Start);
    let mut member = world.join("a", 10);
    let writer = thread::spawn({
        let store = world.store().clone();
        move || (0..100).for_each(|_| world::append(&store, "a", 1))
    });
    for revision in 0..100 {
        let one = member.next_timeout(FORGOTTEN).unwrap().unwrap();
        assert_eq!(one.event.original().revision.0, revision);
        match revision % 10 {
            3 if one.retry_count == 0 => {
                member.nack(&[one.event.original().id], NackAction::Park, "");
            }
            _ => member.ack(&[one.event.original().id]),
        }
    }
    writer.join().unwrap();
    while world.info("a").parked_count < 10 {
        thread::yield_now();
    }
    world
        .groups()
        .replay_parked(&stream("a"), &name("g"), None)
        .unwrap();
    for at in 0..10 {
        let one = member.next_timeout(FORGOTTEN).unwrap().unwrap();
        assert_eq!(one.event.event().unwrap().revision.0, 10 * at + 3);
        member.ack(&[one.event.original().id]);
    }
    world.store().clone().close().unwrap();
    assert_eq!(member.next_timeout(FORGOTTEN), Err(MemberError::Closed));
}

#[test]
fn what_is_kept_for_members_is_bounded() {
    let mut options = annal::GroupOptions::default();
    options.buffered_len_bytes_max = 10_000;
    options.in_flight_max = 12;
    let world = World::with(world::manual(), options);
    world.create("a", GroupSettings::default(), GroupStart::Start);
    world.append("a", 400);
    world.drive();
    let info = world.info("a");
    assert_eq!(info.live_buffer_count, 20);
    let mut member = world.join("a", 1_000);
    assert_eq!(world.take(&mut member).len(), 12);
}
