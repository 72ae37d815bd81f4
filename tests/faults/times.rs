//! The judge's look at time: whether what was answered before something else was asked also stands
//! in front of it. Each look gets the shortest log that fits; no other choice could fit better.

use super::{Judge, Lengths, Place, Promise, name};
use crate::history::{Given, History, Moment, NEVER, Outcome};

impl Judge<'_> {
    /// Goes through all requests and answers as time went. `floor` is the length of the log that
    /// had to be visible, from what was answered; each look gets the least length that it can have.
    pub(super) fn times(
        &mut self,
        history: &History,
        places: &[Option<Place>],
        looks: &[Lengths],
        spans: &Spans,
    ) {
        let mut steps = Vec::new();
        for (asked, place) in history.asked.iter().zip(places) {
            let done = matches!(asked.outcome, Outcome::Done(_));
            if let Some((first, end)) = *place {
                let what = format!("{} at {first}", name(&asked.append));
                steps.push(Step::asked(asked.invoked, (0, first), what.clone(), true));
                let returned = if done { asked.returned } else { NEVER };
                steps.push(Step::answered(returned, end, steps.len() - 1));
            } else if let Outcome::Conflict { stream, found } = &asked.outcome {
                let events = found.map_or(0, |found| found.0 + 1);
                let Some(lengths) = self.lengths_of(stream, events) else {
                    let what = format!("{stream} was never at {found:?}, as a refusal says");
                    self.broken(Promise::Kept, what);
                    continue;
                };
                let what = format!("{} refused with {stream} at {found:?}", name(&asked.append));
                steps.push(Step::asked(asked.invoked, lengths, what, false));
                steps.push(Step::answered(asked.returned, 0, steps.len() - 1));
            }
        }
        for (look, lengths) in history.looks.iter().zip(looks) {
            if let Some(lengths) = *lengths {
                let what = format!("a look at {}", look.saw.name());
                steps.push(Step::asked(look.invoked, lengths, what, false));
                steps.push(Step::answered(look.returned, 0, steps.len() - 1));
            }
        }
        for given in history.followed.iter().flat_map(|followed| &followed.given) {
            let (at, length) = match given {
                Given::Event(at, event) | Given::Untagged(at, event) => (*at, event.position.0 + 1),
                Given::LookedAt(at, position, _) => (*at, position.0),
            };
            steps.push(Step::answered(at, length, usize::MAX));
        }
        self.go_through(&steps, spans);
    }

    fn go_through(&mut self, steps: &[Step], spans: &Spans) {
        let mut order: Vec<usize> = (0..steps.len()).collect();
        // At the same moment, requests before answers: they may have overlapped.
        order.sort_by_key(|step| (steps[*step].at, steps[*step].of.is_some()));
        let mut chosen = vec![0; steps.len()];
        let mut floor = 0;
        for at in order {
            let step = &steps[at];
            if step.at == NEVER {
                break;
            }
            match step.of {
                None => {
                    let (least, most) = step.lengths;
                    let length = spans.whole(floor.max(least));
                    if length > most {
                        let what = format!("{}: {floor} events had to be there", step.what);
                        self.broken(Promise::Order, what);
                    }
                    chosen[at] = if step.writes { 0 } else { length.min(most) };
                }
                Some(of) => {
                    let looked = chosen.get(of).copied().unwrap_or(0);
                    floor = floor.max(spans.whole(step.lengths.0)).max(looked);
                }
            }
        }
    }
}

/// A request or an answer.
struct Step {
    at: Moment,
    /// Of an answer, the request; `usize::MAX` where nobody asked for it.
    of: Option<usize>,
    /// Of a request, the lengths of the log at which it can have been done. Of an answer, the
    /// length that it proves.
    lengths: (u64, u64),
    writes: bool,
    what: String,
}

impl Step {
    fn asked(at: Moment, lengths: (u64, u64), what: String, writes: bool) -> Self {
        Self {
            at,
            of: None,
            lengths,
            writes,
            what,
        }
    }

    fn answered(at: Moment, length: u64, of: usize) -> Self {
        Self {
            at,
            of: Some(of),
            lengths: (length, length),
            writes: false,
            what: String::new(),
        }
    }
}

/// Where appends of several events stand: nobody ever sees a part of one.
pub(super) struct Spans(Vec<Place>);

impl Spans {
    pub(super) fn new(places: &[Option<Place>]) -> Self {
        let places = places.iter().flatten();
        let mut spans: Vec<_> = places
            .filter(|(first, end)| end - first > 1)
            .copied()
            .collect();
        spans.sort_unstable();
        Self(spans)
    }

    /// The least length, not below this one, that cuts no append in two.
    fn whole(&self, length: u64) -> u64 {
        let behind = self.0.partition_point(|(first, _)| *first < length);
        let inside = behind.checked_sub(1).map(|before| self.0[before]);
        inside.map_or(length, |(_, end)| length.max(end))
    }
}
