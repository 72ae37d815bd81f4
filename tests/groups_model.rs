//! A consumer group under random members, refusals, timeouts, replays, restarts and power cuts,
//! compared with a model of what was promised: nothing is lost, and streams stay in order where the
//! strategy says so.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "groups/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::time::Duration;

use annal::disk::Unsynced;
use annal::{
    Delivery, EventFilter, FilterTarget, GroupError, GroupOptions, GroupSettings, GroupSource,
    GroupStart, GroupStrategy, JoinOptions, Member, NackAction,
};
use uuid::Uuid;
use world::{World, name};

/// How often an event is delivered again.
const RETRIES: u32 = 2;
const STREAMS: u64 = 4;
const STEPS: usize = 150;

/// Numbers that follow from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) % end
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(u64::try_from(len).unwrap())).unwrap()
    }
}

/// What has become of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Handled,
    Parked,
}

/// An event that a member has at hand.
struct Held {
    id: Uuid,
    event: (String, usize),
    retry_count: u32,
}

struct Seat {
    member: Member,
    buffer_size: usize,
    held: Vec<Held>,
}

struct Run {
    world: World,
    dice: Dice,
    strategy: GroupStrategy,
    /// The position and the fate of each event of each stream.
    streams: BTreeMap<String, Vec<(u64, Fate)>>,
    /// The events that the strategy keeps in order: those of one stream, or of one conversation.
    lanes: BTreeMap<String, Vec<(String, usize)>>,
    /// How many events of each lane were ever delivered.
    delivered: BTreeMap<String, usize>,
    seats: Vec<Seat>,
    log: Vec<String>,
}

fn source() -> GroupSource {
    let filter = EventFilter::prefixes(FilterTarget::Stream, ["s-"]).unwrap();
    GroupSource::All {
        filter: Some(filter),
    }
}

impl Run {
    fn new(seed: u64, strategy: GroupStrategy) -> Self {
        let mut options = GroupOptions::default();
        options.checkpoint_interval = Duration::from_millis(5);
        let world = World::with(world::manual(), options);
        let settings = Self::settings(strategy);
        let groups = world.groups();
        groups
            .create(source(), name("g"), settings, GroupStart::Start)
            .unwrap();
        Self {
            world,
            dice: Dice(seed),
            strategy,
            streams: BTreeMap::new(),
            lanes: BTreeMap::new(),
            delivered: BTreeMap::new(),
            seats: Vec::new(),
            log: Vec::new(),
        }
    }

    fn settings(strategy: GroupStrategy) -> GroupSettings {
        GroupSettings {
            strategy,
            max_retry_count: RETRIES,
            min_checkpoint_count: 1,
            max_checkpoint_count: 5,
            checkpoint_after: Duration::from_millis(3),
            read_batch_size: 3,
            history_buffer_size: 12,
            live_buffer_size: 8,
            ..GroupSettings::default()
        }
    }

    fn step(&mut self) {
        match self.dice.below(100) {
            0..20 => self.append(),
            20..28 => self.join(),
            28..33 => self.leave(),
            33..60 => self.take(),
            60..78 => self.ack(),
            78..86 => self.nack(),
            86..90 => self.world.advance(Duration::from_millis(1)),
            90..93 => self.time_out(),
            93..95 => self.replay(),
            95 => self.restart(),
            96 => self.update(),
            97 => self.cut(None),
            _ => {
                let seed = self.dice.below(1 << 20);
                let unsynced = match seed % 3 {
                    0 => Unsynced::Lost,
                    1 => Unsynced::Kept,
                    _ => Unsynced::Torn(seed),
                };
                self.cut(Some(unsynced));
            }
        }
        self.check_checkpoint();
    }

    fn append(&mut self) {
        let stream = format!("s-{}", self.dice.below(STREAMS));
        for _ in 0..=self.dice.below(3) {
            let position = self.world.store().committed().0;
            // Some events belong to no conversation; then their stream keeps them in order.
            let conversation = match self.strategy {
                GroupStrategy::PinnedByCorrelation => self.dice.below(STREAMS),
                _ => 0,
            };
            let conversation = (conversation > 0).then(|| format!("c-{conversation}"));
            world::append_to(self.world.store(), &stream, conversation.as_deref());
            let events = self.streams.entry(stream.clone()).or_default();
            let event = (stream.clone(), events.len());
            events.push((position, Fate::Open));
            let lane = conversation.unwrap_or_else(|| stream.clone());
            self.lanes.entry(lane).or_default().push(event);
        }
        self.log.push(format!("append {stream}"));
    }

    fn join(&mut self) {
        if self.seats.len() < 4 {
            let buffer_size = u32::try_from(1 + self.dice.below(4)).unwrap();
            self.log.push(format!("join {buffer_size}"));
            self.seats.push(self.seat(buffer_size));
        }
    }

    fn seat(&self, buffer_size: u32) -> Seat {
        let options = JoinOptions {
            buffer_size,
            ..JoinOptions::default()
        };
        let member = self
            .world
            .groups()
            .join(&GroupSource::ALL, &name("g"), options);
        Seat {
            member: member.unwrap(),
            buffer_size: usize::try_from(buffer_size).unwrap(),
            held: Vec::new(),
        }
    }

    fn any_seat(&mut self) -> Option<usize> {
        let len = self.seats.len();
        (len > 0).then(|| self.dice.index(len))
    }

    fn leave(&mut self) {
        if let Some(at) = self.any_seat() {
            self.log.push(format!("leave {at}"));
            let seat = self.seats.remove(at);
            drop(seat.member);
            seat.held.iter().for_each(|held| self.failed(held));
        }
    }

    /// An event was not handled by who had it.
    fn failed(&mut self, held: &Held) {
        if held.retry_count >= RETRIES {
            self.set(&held.event, Fate::Parked);
        }
    }

    fn set(&mut self, (stream, revision): &(String, usize), fate: Fate) {
        self.streams.get_mut(stream).unwrap()[*revision].1 = fate;
    }

    fn take(&mut self) {
        self.world.drive();
        let Some(at) = self.any_seat() else {
            return;
        };
        for _ in 0..=self.dice.below(4) {
            let Some(delivery) = self.seats[at].member.try_next().unwrap() else {
                break;
            };
            self.received(at, &delivery);
        }
    }

    /// Which lane an event is in, and how many of the lane come before it.
    fn place_of(&self, event: &(String, usize)) -> (String, usize) {
        let mut places = self.lanes.iter().filter_map(|(lane, events)| {
            let number = events.iter().position(|one| one == event)?;
            Some((lane.clone(), number))
        });
        places.next_back().unwrap()
    }

    /// What holds for every delivery.
    fn received(&mut self, at: usize, delivery: &Delivery) {
        let event = delivery.event.event().unwrap();
        let stream = event.stream.to_string();
        let revision = usize::try_from(event.revision.0).unwrap();
        self.log.push(format!(
            "take {at} {stream} {revision} try {}",
            delivery.retry_count
        ));
        assert!(delivery.retry_count <= RETRIES);
        let event = (stream, revision);
        let (lane, number) = self.place_of(&event);
        let earlier = &self.lanes[&lane][..number];
        let fate = |event: &(String, usize)| self.streams[&event.0][event.1].1;
        let has = |seat: &Seat, event: &(String, usize)| {
            seat.held.iter().any(|held| held.event == *event)
        };
        let is_pinned = matches!(
            self.strategy,
            GroupStrategy::Pinned | GroupStrategy::PinnedByCorrelation
        );
        let ever = self.delivered.get(&lane).copied().unwrap_or(0);
        let keeps_order = self.strategy == GroupStrategy::Ordered || is_pinned;
        assert!(
            !keeps_order || number <= ever,
            "delivered for the first time out of order"
        );
        if self.strategy == GroupStrategy::Ordered {
            let is_busy = |seat: &Seat| self.lanes[&lane].iter().any(|event| has(seat, event));
            assert!(!self.seats.iter().any(is_busy), "two of a stream at once");
            assert!(earlier.iter().all(|event| fate(event) == Fate::Handled));
        }
        if is_pinned {
            for event in earlier {
                let here = has(&self.seats[at], event);
                let elsewhere = self.seats.iter().any(|seat| has(seat, event));
                assert!(here || !elsewhere, "overtook {event:?}, which is elsewhere");
                // What is replayed goes ahead of what waits.
                let is_replayed = delivery.event.link().is_some();
                let waits = !here && !is_replayed && fate(event) == Fate::Open;
                assert!(!waits, "overtook {event:?}, which waits");
            }
        }
        self.delivered.insert(lane, ever.max(number + 1));
        let seat = &mut self.seats[at];
        seat.held.push(Held {
            id: delivery.event.original().id,
            event,
            retry_count: delivery.retry_count,
        });
        assert!(
            seat.held.len() <= seat.buffer_size,
            "more in flight than asked for"
        );
    }

    fn any_held(&mut self) -> Option<(usize, Held)> {
        let at = self.any_seat()?;
        let len = self.seats[at].held.len();
        if len == 0 {
            return None;
        }
        let which = self.dice.index(len);
        Some((at, self.seats[at].held.remove(which)))
    }

    fn ack(&mut self) {
        if let Some((at, held)) = self.any_held() {
            self.log.push(format!("ack {at} {:?}", held.event));
            self.seats[at].member.ack(&[held.id]);
            self.set(&held.event, Fate::Handled);
        }
    }

    fn nack(&mut self) {
        if let Some((at, held)) = self.any_held() {
            let actions = [NackAction::Park, NackAction::Retry, NackAction::Skip];
            let action = actions[self.dice.index(3)];
            self.log.push(format!("{action:?} {at} {:?}", held.event));
            self.seats[at].member.nack(&[held.id], action, "");
            match action {
                NackAction::Park => self.set(&held.event, Fate::Parked),
                NackAction::Skip => self.set(&held.event, Fate::Handled),
                _ => self.failed(&held),
            }
        }
    }

    fn time_out(&mut self) {
        self.log.push("time out".into());
        self.world.advance(Duration::from_secs(31));
        self.world.drive();
        for at in 0..self.seats.len() {
            let held = std::mem::take(&mut self.seats[at].held);
            held.iter().for_each(|held| self.failed(held));
        }
    }

    fn replay(&mut self) {
        self.log.push("replay".into());
        match self
            .world
            .groups()
            .replay_parked(&GroupSource::ALL, &name("g"), None)
        {
            Ok(()) | Err(GroupError::ReplayRunning) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn restart(&mut self) {
        self.log.push("restart".into());
        self.world.groups().restart().unwrap();
        self.seats.clear();
    }

    fn update(&mut self) {
        self.log.push("update".into());
        let settings = Self::settings(self.strategy);
        let groups = self.world.groups();
        groups
            .update(&GroupSource::ALL, &name("g"), settings, GroupStart::Start)
            .unwrap();
        self.seats.clear();
    }

    /// The store is closed and opened again, or the power goes.
    fn cut(&mut self, unsynced: Option<Unsynced>) {
        self.log.push(format!("cut {unsynced:?}"));
        match unsynced {
            // Members go with the process.
            Some(unsynced) => {
                let seats = &mut self.seats;
                self.world.cut_with(unsynced, || seats.clear());
            }
            None => {
                self.seats.clear();
                self.world.close_and_open();
            }
        }
    }

    /// A checkpoint never passes an event of which nothing has become.
    fn check_checkpoint(&self) {
        let info = self
            .world
            .groups()
            .info(&GroupSource::ALL, &name("g"))
            .unwrap();
        let end = info.last_checkpoint.map_or(0, |place| place.position.0 + 1);
        for (stream, events) in &self.streams {
            for (revision, (position, fate)) in events.iter().enumerate() {
                if *fate == Fate::Open && *position < end {
                    // It may have been parked behind another, without having been delivered.
                    let link = format!("{revision}@{stream}");
                    let is_parked = self.world.parked("$all").iter().any(|one| one.0 == link);
                    assert!(is_parked, "the checkpoint has passed {stream} {revision}");
                }
            }
        }
    }

    /// Handles everything that is left, and checks that this was all.
    fn finish(&mut self) {
        for seat in std::mem::take(&mut self.seats) {
            drop(seat.member);
            seat.held.iter().for_each(|held| self.failed(held));
        }
        let mut quiet = 0;
        self.seats.push(self.seat(3));
        while quiet < 3 {
            self.world.drive();
            let mut is_quiet = true;
            while let Some(delivery) = self.seats[0].member.try_next().unwrap() {
                is_quiet = false;
                self.received(0, &delivery);
                let held = self.seats[0].held.pop().unwrap();
                self.seats[0].member.ack(&[held.id]);
                self.set(&held.event, Fate::Handled);
                self.world.drive();
            }
            if is_quiet {
                self.replay();
            }
            quiet = if is_quiet { quiet + 1 } else { 0 };
        }
        for (stream, events) in &self.streams {
            let lost = events.iter().position(|(_, fate)| *fate != Fate::Handled);
            assert_eq!(lost, None, "{stream} has lost an event");
        }
        let info = self
            .world
            .groups()
            .info(&GroupSource::ALL, &name("g"))
            .unwrap();
        let left = (
            info.in_flight_count,
            info.retry_buffer_count,
            info.parked_count,
        );
        assert_eq!(left, (0, 0, 0));
    }
}

fn run(strategy: GroupStrategy, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let mut run = Run::new(seed, strategy);
        let judge = std::panic::AssertUnwindSafe(|| {
            (0..STEPS).for_each(|_| run.step());
            run.finish();
        });
        if let Err(failure) = std::panic::catch_unwind(judge) {
            println!("{strategy:?}, seed {seed}:\n{}", run.log.join("\n"));
            std::panic::resume_unwind(failure);
        }
    }
}

#[test]
fn nothing_is_lost_where_members_take_turns() {
    run(GroupStrategy::RoundRobin, 0..25);
}

#[test]
fn nothing_is_lost_where_one_member_is_filled_first() {
    run(GroupStrategy::DispatchToSingle, 0..25);
}

#[test]
fn pinned_streams_stay_in_order() {
    run(GroupStrategy::Pinned, 0..60);
}

#[test]
fn pinned_conversations_stay_in_order_whatever_their_streams() {
    run(GroupStrategy::PinnedByCorrelation, 0..30);
}

#[test]
fn ordered_streams_stay_in_order_and_park_as_a_whole() {
    run(GroupStrategy::Ordered, 0..60);
}
