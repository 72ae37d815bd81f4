//! What goes wrong in a simulated life: calls fail or lie, the process or the power goes in the
//! middle of a call, the disk gets full.

use std::io::ErrorKind;

use annal::disk::{Disk, Fault, Operation as Call};
use annal::{Direction, ReadFrom};

use crate::dice::Dice;
use crate::world::{ROOMY_BYTES, Trouble, World};

const READS: [Call; 5] = [Call::Open, Call::List, Call::Map, Call::Len, Call::Read];

impl World {
    /// The process ends, or the power goes, at some call to come.
    pub(crate) fn interrupt(&mut self) {
        if self.trouble != Trouble::None {
            return;
        }
        let after = self.dice.pick(&[0, 1, 2, 4, 8, 16, 40]);
        let after = self.dice.below(after + 1);
        let trouble = self.arm_interruption(after);
        self.trouble = trouble;
        self.say(format_args!("{trouble:?} after {after}"));
    }

    fn arm_interruption(&mut self, after: u64) -> Trouble {
        let fault = Fault::at_any(Call::CHANGES).after(after);
        let fault = land(&mut self.dice, fault);
        match self.dice.percent(65) {
            true => {
                self.probe.fail(fault.cutting_power(&self.disk));
                Trouble::Cut
            }
            false => {
                self.probe.fail(fault);
                let frozen = Fault::at_any(Call::CHANGES).after(after + 1);
                self.probe.fail(frozen.forever());
                Trouble::Kill
            }
        }
    }

    /// Something happens while the store is being opened.
    pub(crate) fn trouble_an_opening(&mut self) -> Trouble {
        let after = self.dice.below(12);
        match self.dice.percent(70) {
            true => self.arm_interruption(after),
            false => {
                let fault = self.a_failure().after(after);
                self.probe.fail(fault);
                Trouble::Faults
            }
        }
    }

    /// A call to come fails; what the process does then is its own choice.
    pub(crate) fn fail(&mut self) {
        if self.trouble != Trouble::None {
            return;
        }
        let after = self.dice.pick(&[0, 0, 1, 3, 9]);
        let fault = self.a_failure().after(self.dice.below(after + 1));
        self.say(format_args!("{fault:?}"));
        self.probe.fail(fault);
        self.trouble = Trouble::Faults;
    }

    fn a_failure(&mut self) -> Fault {
        let dice = &mut self.dice;
        let fault = match dice.below(4) {
            0 => Fault::at(dice.pick(&READS)),
            1 => Fault::at_any(&READS),
            2 => Fault::at(dice.pick(Call::CHANGES)),
            _ => Fault::at_any(Call::CHANGES),
        };
        let fault = match dice.percent(30) {
            true => fault.named(dice.pick(&["segment", "table", "manifest", "floor", "state"])),
            false => fault,
        };
        let kinds = [
            ErrorKind::Other,
            ErrorKind::StorageFull,
            ErrorKind::QuotaExceeded,
        ];
        let kind = dice.pick(&kinds);
        let fault = land(dice, fault.error(kind));
        match dice.percent(40) {
            true => fault.losing_unsynced(&self.disk),
            false => fault,
        }
    }

    /// The disk gets full soon.
    pub(crate) fn fill_disk(&mut self) {
        if self.trouble != Trouble::None {
            return;
        }
        let used = ROOMY_BYTES - self.disk.free_bytes().unwrap();
        self.disk.set_capacity(used + self.dice.below(200_000));
        self.trouble = Trouble::Faults;
    }

    /// The disk lies about a write or a flush, or goes to the wrong place, or gives wrong bytes.
    pub(crate) fn deceive(&mut self) {
        if self.trouble != Trouble::None {
            return;
        }
        self.deceived = true;
        let dice = &mut self.dice;
        let after = dice.below(9);
        let fault = match dice.below(6) {
            0 => Fault::at(Call::Sync).lying(),
            1 => Fault::at(Call::SyncDirectory).lying(),
            2 => Fault::at(Call::Write).lying(),
            3 => Fault::at(Call::Write).misplaced(dice.pick(&[8, 512, 4096])),
            4 => Fault::at(Call::Read).misplaced(dice.pick(&[8, 512, 4096])),
            _ => Fault::at_any(&[Call::Read, Call::Map]).flipping(dice.roll()),
        };
        self.probe.fail(fault.after(after));
    }

    /// After a lie the log may have ended early, if nothing told. It never has a hole, and nothing
    /// in it is wrong.
    pub(crate) fn check_after_a_lie(&self) {
        let with = self.with_pending();
        let end = self.store().committed();
        assert!(end <= with.end(), "events were invented");
        let read = self
            .store()
            .read_all(ReadFrom::Start, Direction::Forwards, None);
        let Ok(events) = read else { return };
        let mut next = 0;
        for event in events {
            let Ok(event) = event else { return };
            while next < event.position.0 {
                let gone = with.may_be_gone(annal::Position(next));
                assert!(gone, "{next} is missing");
                next += 1;
            }
            with.at(event.position).is_event(&event);
            next += 1;
        }
    }
}

/// How much of a call is done that fails: nothing, all, or some bytes of a write.
fn land(dice: &mut Dice, fault: Fault) -> Fault {
    match dice.below(3) {
        0 => fault,
        1 => fault.done(),
        _ => fault.landing(dice.index(6_000)),
    }
}
