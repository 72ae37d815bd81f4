//! A member of a group, for as long as the call lasts: events go out, and what became of them
//! comes in.
//!
//! No more is on the way than the client takes, and what it says is heard also while it takes
//! nothing. The call ends with a status that says why, never as if everything had been delivered.

use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming};

use super::asked::{self, Target};
use super::{failure, status, wire};
use crate::access::{AuthorizeError, Principal, Visibility};
use crate::engine::ResolvedEvent;
use crate::grpc::Shared;
use crate::grpc::auth::{Wish, refused};
use crate::grpc::convert::{self, UuidForm};
use crate::grpc::node::Arrival;
use crate::grpc::wire::event_store::client::{Empty, Uuid};
use crate::model::StreamName;
use crate::subscription::{Delivery, GroupSource, JoinOptions, Member, MemberError, NackAction};
use wire::read_req::options::StreamOption;
use wire::read_req::{Ack, Content, Nack, Options, nack};
use wire::read_resp::read_event::{Count, Position};
use wire::read_resp::{ReadEvent, SubscriptionConfirmation};

/// Messages that wait until the connection takes them.
const WAITING_MAX: usize = 16;

type Told = Result<wire::ReadResp, Status>;

/// Joins the group that the first message names.
pub(super) async fn begin(
    shared: &Shared,
    request: Request<Streaming<wire::ReadReq>>,
) -> Result<ReceiverStream<Told>, Status> {
    let caller = shared.caller(&request).await?;
    let name = request.metadata().get("connection-name");
    let connection_name = name.and_then(|name| name.to_str().ok());
    let connection_name = connection_name.unwrap_or_default().to_owned();
    let peer = request.extensions().get::<Arrival>();
    let from = peer.map_or_else(String::new, |arrival| arrival.peer.to_string());
    let mut heard = request.into_inner();
    let first = shared.owed(&mut heard).await?;
    let first = first.and_then(|first| first.content);
    let Some(Content::Options(options)) = first else {
        return Err(status::invalid("the first message has to name the group"));
    };
    let form = form(&options);
    let join = JoinOptions {
        buffer_size: u32::try_from(options.buffer_size).unwrap_or(0),
        principal: user_name(&caller),
        connection_name,
        from,
    };
    let target = target(options)?;
    let wish = match &target.source {
        GroupSource::All { .. } => Wish::ReadAll,
        GroupSource::Stream(stream) => Wish::Read(stream.clone()),
    };
    shared.allow(&caller, wish.clone()).await?;
    let place = shared.subscriptions.clone().try_acquire_owned();
    let place = place.map_err(|_| status::too_busy())?;
    let (stream, group) = (target.source.to_string(), target.name.to_string());
    let joined = shared.with_groups(move |groups| groups.join(&target.source, &target.name, join));
    let member = joined
        .await?
        .map_err(|error| failure::of_group(&error, &stream, &group))?;
    let (sender, told) = mpsc::channel(WAITING_MAX);
    let consumer = Consumer {
        shared: shared.clone(),
        caller,
        wish,
        visibility: None,
        stream,
        group,
        form,
        member,
        _place: place,
    };
    tokio::spawn(consumer.serve(heard, sender));
    Ok(ReceiverStream::new(told))
}

fn form(options: &Options) -> UuidForm {
    use crate::grpc::wire::event_store::client::streams::read_req::options::uuid_option::Content;
    match options.uuid_option.and_then(|option| option.content) {
        Some(Content::String(Empty {})) => UuidForm::Text,
        Some(Content::Structured(Empty {})) | None => UuidForm::Structured,
    }
}

fn target(options: Options) -> Result<Target, Status> {
    let named = options.stream_option.map(|option| match option {
        StreamOption::StreamIdentifier(stream) => Some(stream),
        StreamOption::All(Empty {}) => None,
    });
    asked::target(named, options.group_name)
}

/// What whoever looks at the group is told of the caller.
fn user_name(caller: &Principal) -> String {
    match caller.is_anonymous() || caller.is_system() {
        true => "anonymous".to_owned(),
        false => caller.name().to_owned(),
    }
}

/// What of an event a consumer may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Everything,
    /// The link, and not what it points to.
    Link,
    Nothing,
}

/// A consumer that has joined.
struct Consumer {
    shared: Shared,
    caller: Principal,
    wish: Wish,
    /// What the caller sees, from the first time on that he is asked about.
    visibility: Option<Visibility>,
    stream: String,
    group: String,
    form: UuidForm,
    member: Member,
    /// Among the subscriptions.
    _place: OwnedSemaphorePermit,
}

impl Consumer {
    /// Until either side ends it. Whatever the consumer has at hand then goes to others.
    async fn serve(mut self, mut heard: Streaming<wire::ReadReq>, sender: Sender<Told>) {
        let confirmation = SubscriptionConfirmation {
            subscription_id: self.member.subscription_id(),
        };
        let confirmation = wire::read_resp::Content::SubscriptionConfirmation(confirmation);
        if sender.send(Ok(message(confirmation))).await.is_err() {
            return;
        }
        let stopping = self.shared.stopping.clone();
        let ended = loop {
            let next = async {
                let place = sender.reserve().await.ok()?;
                Some((place, self.member.next_async().await))
            };
            tokio::select! {
                biased;
                () = stopping.cancelled() => break status::not_ready(),
                () = sender.closed() => return,
                said = heard.message() => match said {
                    Ok(Some(said)) => match self.hear(said) {
                        Ok(()) => {}
                        Err(problem) => break problem,
                    },
                    // The client is done, or gone.
                    Ok(None) | Err(_) => return,
                },
                delivered = next => match delivered {
                    Some((place, Ok(delivery))) => {
                        // What the caller might read when it came, it may have lost since.
                        if let Err(refused) = self.still_allowed().await {
                            break refused;
                        }
                        match self.sight(&delivery).await {
                            Ok(Sight::Nothing) => self.set_aside(&delivery),
                            Ok(sight) => place.send(Ok(self.event(delivery, sight))),
                            Err(problem) => break problem,
                        }
                    }
                    Some((_, Err(why))) => break self.dropped(why),
                    None => return,
                },
            }
        };
        // Nobody hears it if the client is gone.
        let _unheard = sender.send(Err(ended)).await;
    }

    async fn still_allowed(&self) -> Result<(), Status> {
        self.shared.allow(&self.caller, self.wish.clone()).await
    }

    /// What of an event the caller may see now: a group shows a stream to nobody who may not read
    /// it, be it among all events or behind a link.
    async fn sight(&mut self, delivery: &Delivery) -> Result<Sight, Status> {
        let access = &self.shared.access;
        if access.is_unlimited(&self.caller) {
            return Ok(Sight::Everything);
        }
        let original = match &self.wish {
            Wish::ReadAll => Some(delivery.event.original().stream.clone()),
            _ => None,
        };
        let target = delivery.event.event().map(|event| event.stream.clone());
        let visibility = self.visibility.take();
        let mut visibility = visibility.unwrap_or_else(|| access.visibility(&self.caller));
        let is_link = matches!(delivery.event, ResolvedEvent::Link { .. });
        let judged = self.shared.blocking(move || {
            let mut sees = |stream: Option<StreamName>| match stream {
                Some(stream) => visibility.sees(&stream),
                None => Ok(true),
            };
            let sight = match sees(original)? {
                false => Sight::Nothing,
                true if is_link && !sees(target)? => Sight::Link,
                true => Sight::Everything,
            };
            Ok::<_, AuthorizeError>((visibility, sight))
        });
        let (visibility, sight) = judged.await?.map_err(|error| refused(&error))?;
        self.visibility = Some(visibility);
        Ok(sight)
    }

    /// Parks what this consumer may not see, so that it is not lost to those who may.
    fn set_aside(&self, delivery: &Delivery) {
        let reason = format!("{} may not read it.", user_name(&self.caller));
        let id = delivery.event.original().id;
        self.member.nack(&[id], NackAction::Park, &reason);
    }

    fn dropped(&self, why: MemberError) -> Status {
        failure::of_member(why, &self.stream, &self.group)
    }

    fn hear(&self, said: wire::ReadReq) -> Result<(), Status> {
        match said.content {
            Some(Content::Ack(Ack { ids, .. })) => self.member.ack(&uuids(ids)?),
            Some(Content::Nack(Nack {
                ids,
                action,
                reason,
                ..
            })) => self.member.nack(&uuids(ids)?, of_action(action), &reason),
            Some(Content::Options(_)) => {
                return Err(status::invalid("only the first message has options"));
            }
            None => {}
        }
        Ok(())
    }

    fn event(&self, delivery: Delivery, sight: Sight) -> wire::ReadResp {
        let told = convert::told(delivery.event.original().position);
        let (event, link) = delivery.event.into_parts();
        let recorded = |event| {
            let mut event = convert::recorded(event, self.form);
            // Both carry the position of what was read.
            event.commit_position = told;
            event.prepare_position = told;
            event
        };
        message(wire::read_resp::Content::Event(ReadEvent {
            event: event.filter(|_| sight == Sight::Everything).map(recorded),
            link: link.map(recorded),
            position: Some(Position::CommitPosition(told)),
            count: Some(Count::RetryCount(
                i32::try_from(delivery.retry_count).unwrap_or(i32::MAX),
            )),
        }))
    }
}

fn message(content: wire::read_resp::Content) -> wire::ReadResp {
    wire::ReadResp {
        content: Some(content),
    }
}

fn uuids(ids: Vec<Uuid>) -> Result<Vec<uuid::Uuid>, Status> {
    ids.into_iter().map(|id| convert::uuid(Some(id))).collect()
}

fn of_action(action: i32) -> NackAction {
    match nack::Action::try_from(action) {
        Ok(nack::Action::Park) => NackAction::Park,
        Ok(nack::Action::Retry) => NackAction::Retry,
        Ok(nack::Action::Skip) => NackAction::Skip,
        Ok(nack::Action::Stop) => NackAction::Stop,
        Ok(nack::Action::Unknown) | Err(_) => NackAction::Unknown,
    }
}
