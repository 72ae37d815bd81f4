//! `BatchAppend`: many appends on one call, told apart by their correlation ids.
//!
//! An append arrives in one message or in several. It is handed to the store with its last one, in
//! the order in which these come, and answered when it is durable; many are on their way at once.
//! One that fails does not end the call.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prost_types::{Duration as WireDuration, Timestamp as WireTimestamp};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::sleep_until;
use tonic::{Status, Streaming};
use uuid::Uuid;

use super::proposed::{Proposed, Written, writable};
use super::refused::Refused;
use super::replies::{Chunk, Replies};
use crate::access::Principal;
use crate::grpc::convert::{all_position, expected_revision, uuid};
use crate::grpc::wire::event_store::client::streams::batch_append_req::Options;
use crate::grpc::wire::event_store::client::streams::batch_append_req::options::{
    DeadlineOption, ExpectedStreamPosition,
};
use crate::grpc::wire::event_store::client::streams::batch_append_resp::{
    Result as Answer, Success, success,
};
use crate::grpc::wire::event_store::client::streams::{BatchAppendReq, BatchAppendResp};
use crate::grpc::wire::event_store::client::{StreamIdentifier, Uuid as WireUuid};
use crate::grpc::{MANY, Shared, status};
use crate::model::ExpectedRevision;

/// A deadline that lies farther back than that tells of a clock that is wrong.
const CLOCK_SKEW_MAX_US: i64 = 30_000_000;

/// Begins a call.
pub(super) fn begin(
    shared: &Shared,
    caller: Principal,
    requests: Streaming<BatchAppendReq>,
) -> Replies<BatchAppendResp> {
    let (sender, replies) = mpsc::channel(1);
    let call = BatchCall {
        shared: shared.clone(),
        caller,
        arriving: HashMap::new(),
        places: Arc::new(Semaphore::new(shared.options.appends_max.clamp(1, MANY))),
        sender,
    };
    tokio::spawn(call.run(requests));
    Replies::followed(Vec::new(), replies)
}

/// A call on its way.
struct BatchCall {
    shared: Shared,
    caller: Principal,
    /// At most as many as may wait for their answers.
    arriving: HashMap<Uuid, Arriving>,
    /// For appends that wait for their answers.
    places: Arc<Semaphore>,
    sender: mpsc::Sender<Chunk<BatchAppendResp>>,
}

/// An append of which more is to come.
struct Arriving {
    /// None if it was refused already: the rest of it is left out.
    proposed: Option<Proposed>,
    answer: Answered,
    within: Duration,
    began: Instant,
}

/// What an answer says of its append.
#[derive(Clone)]
struct Answered {
    correlation_id: Option<WireUuid>,
    stream_identifier: Option<StreamIdentifier>,
}

impl BatchCall {
    async fn run(mut self, mut requests: Streaming<BatchAppendReq>) {
        let stopping = self.shared.stopping.clone();
        let ended = tokio::select! {
            ended = self.take_all(&mut requests) => ended,
            () = stopping.cancelled() => Err(status::not_ready()),
        };
        // What was handed over is answered by its own task, and holds the call open until then.
        if let Err(error) = ended {
            let _gone = self.sender.send(Err(error)).await;
        }
    }

    async fn take_all(&mut self, requests: &mut Streaming<BatchAppendReq>) -> Result<(), Status> {
        loop {
            let overdue = self.overdue_at();
            let given_up = sleep_until(overdue.unwrap_or_else(Instant::now).into());
            let request = tokio::select! {
                request = requests.message() => request.map_err(status::of_incoming)?,
                () = given_up, if overdue.is_some() => {
                    self.refuse_overdue().await;
                    continue;
                }
                () = self.sender.closed() => return Ok(()),
            };
            let Some(request) = request else {
                return Ok(());
            };
            self.take(request).await?;
        }
    }

    /// When the append that has been arriving for longest must be whole.
    fn overdue_at(&self) -> Option<Instant> {
        let arriving = self.arriving.values();
        let held = arriving.filter(|arriving| arriving.proposed.is_some());
        let began = held.map(|arriving| arriving.began).min()?;
        began.checked_add(self.shared.options.message_within)
    }

    /// Gives up appends whose rest has not come, and what they hold.
    async fn refuse_overdue(&mut self) {
        let mut arriving = std::mem::take(&mut self.arriving);
        let within = self.shared.options.message_within;
        for one in arriving.values_mut() {
            if one.proposed.is_some() && one.began.elapsed() >= within {
                self.refuse(one, Refused::Timeout).await;
            }
        }
        self.arriving = arriving;
    }

    /// Takes one message; an error ends the call.
    async fn take(&mut self, request: BatchAppendReq) -> Result<(), Status> {
        let BatchAppendReq {
            correlation_id,
            options,
            proposed_messages,
            is_final,
        } = request;
        let id = uuid(correlation_id.clone())?;
        let mut arriving = match (self.arriving.entry(id), options) {
            (Entry::Occupied(known), None) => known.remove(),
            (Entry::Occupied(known), Some(_)) => {
                let mut arriving = known.remove();
                self.refuse(
                    &mut arriving,
                    invalid("an append has its options only once"),
                )
                .await;
                arriving
            }
            (Entry::Vacant(_), options) => self.begin(correlation_id, options).await,
        };
        for message in proposed_messages {
            let Some(proposed) = &mut arriving.proposed else {
                break;
            };
            if let Err(refused) = proposed.take(&self.shared, message) {
                self.refuse(&mut arriving, refused).await;
            }
        }
        if is_final {
            return self.hand_over(arriving).await;
        }
        if self.arriving.len() >= self.shared.options.appends_max {
            return Err(status::too_busy());
        }
        self.arriving.insert(id, arriving);
        Ok(())
    }

    /// The first message of an append.
    async fn begin(&self, correlation_id: Option<WireUuid>, options: Option<Options>) -> Arriving {
        let named = options
            .as_ref()
            .and_then(|options| options.stream_identifier.clone());
        let mut arriving = Arriving {
            proposed: None,
            answer: Answered {
                correlation_id,
                stream_identifier: named.or(Some(StreamIdentifier::default())),
            },
            within: Duration::ZERO,
            began: Instant::now(),
        };
        let begun = async {
            let options = options.ok_or_else(|| invalid("the options are missing"))?;
            let expected = expected(&options)?;
            let within = self.within(options.deadline_option)?;
            let stream = writable(options.stream_identifier)?;
            let proposed = Proposed::begin(&self.shared, &self.caller, stream, expected).await?;
            Ok((proposed, within))
        };
        match begun.await {
            Ok((proposed, within)) => {
                arriving.proposed = Some(proposed);
                arriving.within = within;
            }
            Err(refused) => self.refuse(&mut arriving, refused).await,
        }
        arriving
    }

    /// Answers an append that is not made; what is still to come of it is left out.
    async fn refuse(&self, arriving: &mut Arriving, refused: Refused) {
        arriving.proposed = None;
        let answer = arriving.answer.clone().with(Err(refused));
        // Nobody listens if the call is over.
        let _gone = self.sender.send(Ok(vec![answer])).await;
    }

    /// Hands an append to the store, once there is a place for it; it is answered when the store
    /// has answered.
    async fn hand_over(&self, arriving: Arriving) -> Result<(), Status> {
        let Arriving {
            proposed,
            answer,
            within,
            ..
        } = arriving;
        let Some(proposed) = proposed else {
            return Ok(());
        };
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| status::not_ready())?;
        let submitted = proposed.submit(&self.shared);
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let outcome = submitted.outcome(within).await;
            let _gone = sender.send(Ok(vec![answer.with(outcome)])).await;
            drop(place);
        });
        Ok(())
    }

    /// How long an append may take.
    fn within(&self, option: Option<DeadlineOption>) -> Result<Duration, Refused> {
        let longest = self.shared.options.write_within;
        let within = match option {
            None => longest,
            Some(DeadlineOption::Deadline(duration)) => relative(&duration),
            Some(DeadlineOption::Deadline21100(at)) => {
                let left = micros(&at).saturating_sub(self.shared.store.now_us());
                match u64::try_from(left) {
                    Ok(left) => Duration::from_micros(left),
                    Err(_) if left < -CLOCK_SKEW_MAX_US => longest,
                    Err(_) => Duration::ZERO,
                }
            }
        };
        match within {
            Duration::ZERO => Err(Refused::Timeout),
            within => Ok(within.min(longest)),
        }
    }
}

/// A duration however large; nothing if it is negative.
fn relative(duration: &WireDuration) -> Duration {
    match (
        u64::try_from(duration.seconds),
        u32::try_from(duration.nanos),
    ) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Duration::new(seconds, nanos),
        _ => Duration::ZERO,
    }
}

/// Microseconds since 1970.
fn micros(at: &WireTimestamp) -> i64 {
    let seconds = at.seconds.saturating_mul(1_000_000);
    seconds.saturating_add(i64::from(at.nanos) / 1_000)
}

fn invalid(problem: &str) -> Refused {
    Refused::Invalid(problem.to_owned())
}

fn expected(options: &Options) -> Result<ExpectedRevision, Status> {
    match &options.expected_stream_position {
        Some(ExpectedStreamPosition::StreamPosition(revision)) => expected_revision(*revision),
        Some(ExpectedStreamPosition::NoStream(())) => Ok(ExpectedRevision::NoStream),
        Some(ExpectedStreamPosition::Any(())) => Ok(ExpectedRevision::Any),
        Some(ExpectedStreamPosition::StreamExists(())) => Ok(ExpectedRevision::StreamExists),
        None => Err(status::invalid("the expected revision is missing")),
    }
}

impl Answered {
    fn with(self, outcome: Result<Written, Refused>) -> BatchAppendResp {
        let result = match outcome {
            Err(refused) => Answer::Error(refused.outcome()),
            Ok(Written { revision, position }) => Answer::Success(Success {
                current_revision_option: Some(match revision {
                    Some(revision) => success::CurrentRevisionOption::CurrentRevision(revision.0),
                    None => success::CurrentRevisionOption::NoStream(()),
                }),
                position_option: Some(match position {
                    Some(position) => success::PositionOption::Position(all_position(position)),
                    None => success::PositionOption::NoPosition(()),
                }),
            }),
        };
        BatchAppendResp {
            correlation_id: self.correlation_id,
            stream_identifier: self.stream_identifier,
            expected_stream_position: None,
            result: Some(result),
        }
    }
}
