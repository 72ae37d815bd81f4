//! Groups that pin: all events of one stream, or of one conversation, go to one member, as long as
//! the same members are there.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "groups/world.rs"]
mod world;

use std::collections::{BTreeSet, HashMap};

use annal::{GroupSettings, GroupSource, GroupStart, GroupStrategy, JoinOptions, Member};
use world::{World, append_to, ids, name};

fn with(strategy: GroupStrategy) -> GroupSettings {
    GroupSettings {
        strategy,
        ..GroupSettings::default()
    }
}

#[test]
fn streams_stay_with_their_member() {
    let world = World::new();
    world.create("$ce-x", with(GroupStrategy::Pinned), GroupStart::Start);
    let mut members = [world.join("$ce-x", 100), world.join("$ce-x", 100)];
    for _ in 0..3 {
        (0..8).for_each(|stream| world.append(&format!("x-{stream}"), 1));
    }
    let mut owners = HashMap::new();
    for (at, member) in members.iter_mut().enumerate() {
        let taken = world.take(member);
        assert!(!taken.is_empty());
        for one in taken {
            let link = String::from_utf8(one.event.original().data.to_vec()).unwrap();
            let stream = link.split_once('@').unwrap().1.to_owned();
            assert_eq!(*owners.entry(stream).or_insert(at), at);
        }
    }
    assert_eq!(owners.len(), 8);
}

#[test]
fn a_stream_that_moves_waits_for_what_is_still_where_it_was() {
    let world = World::new();
    world.create("a", with(GroupStrategy::Pinned), GroupStart::Start);
    world.append("a", 1);
    let mut old = world.join("a", 10);
    let held = world.take(&mut old);
    assert_eq!(held.len(), 1);
    // With so many members the stream is almost certainly moved.
    let mut new: Vec<_> = (0..7).map(|_| world.join("a", 10)).collect();
    world.append("a", 1);
    let taken = |new: &mut Vec<Member>| -> usize {
        new.iter_mut().map(|member| world.take(member).len()).sum()
    };
    if world.take(&mut old).is_empty() {
        assert_eq!(taken(&mut new), 0);
        old.ack(&ids(&held));
        assert_eq!(taken(&mut new), 1);
    }
}

/// A world with a group of the whole log that is pinned by conversations.
fn by_conversation() -> World {
    let world = World::new();
    let settings = with(GroupStrategy::PinnedByCorrelation);
    let (source, start) = (GroupSource::ALL, GroupStart::Start);
    world
        .groups()
        .create(source, name("g"), settings, start)
        .unwrap();
    world
}

fn join(world: &World) -> Member {
    let options = JoinOptions {
        buffer_size: 100,
        ..JoinOptions::default()
    };
    let member = world.groups().join(&GroupSource::ALL, &name("g"), options);
    member.unwrap()
}

/// Of each event that waits for a member: its conversation, or its stream if it is of none; and
/// its place in the log.
fn taken(world: &World, member: &mut Member) -> Vec<(String, u64)> {
    let taken = world.take(member);
    member.ack(&ids(&taken));
    let shown = taken.iter().map(|one| {
        let event = one.event.original();
        let metadata = String::from_utf8(event.metadata.to_vec()).unwrap();
        let conversation = metadata.split('"').nth(3).map(str::to_owned);
        let lane = conversation.unwrap_or_else(|| event.stream.to_string());
        (lane, event.position.0)
    });
    shown.collect()
}

#[test]
fn a_conversation_goes_to_one_member_in_order_whatever_its_streams() {
    let world = by_conversation();
    let mut members = [join(&world), join(&world), join(&world)];
    for number in 0..60_u32 {
        let conversation = (number % 4 > 0).then(|| format!("talk-{}", number % 7));
        append_to(
            world.store(),
            &format!("s-{}", number % 5),
            conversation.as_deref(),
        );
    }
    let mut owners = HashMap::new();
    let mut streams = BTreeSet::new();
    for (at, member) in members.iter_mut().enumerate() {
        let mut last = HashMap::new();
        for (lane, position) in taken(&world, member) {
            assert_eq!(*owners.entry(lane.clone()).or_insert(at), at, "{lane}");
            let before = last.insert(lane.clone(), position);
            assert!(before < Some(position), "{lane} is out of order");
            streams.insert(lane);
        }
    }
    // Seven conversations, and what belongs to none by its stream.
    assert_eq!(streams.len(), 7 + 5);
    let in_use: BTreeSet<usize> = owners.into_values().collect();
    assert!(in_use.len() > 1, "one member has all");
}

#[test]
fn a_conversation_that_moves_waits_for_what_is_still_where_it_was() {
    let world = by_conversation();
    append_to(world.store(), "a", Some("talk"));
    let mut old = join(&world);
    let held = world.take(&mut old);
    assert_eq!(held.len(), 1);
    let mut new: Vec<Member> = (0..7).map(|_| join(&world)).collect();
    // Another stream, and the same conversation.
    append_to(world.store(), "b", Some("talk"));
    let mut count = || -> usize { new.iter_mut().map(|one| world.take(one).len()).sum() };
    assert_eq!((world.take(&mut old).len(), count()), (0, 0));
    old.ack(&ids(&held));
    assert_eq!((world.take(&mut old).len(), count()), (0, 1));
}
