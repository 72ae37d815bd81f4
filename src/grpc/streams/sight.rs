//! What of the events that were read a caller is shown, and how.
//!
//! Some events are never shown among all events: what consumer groups on all events write to
//! themselves, which would go round in circles.

use tonic::Status;

use super::asked::Showing;
use crate::access::{Access, Principal, Visibility};
use crate::engine::ResolvedEvent;
use crate::grpc::auth::refused;
use crate::grpc::convert::{recorded, told};
use crate::grpc::status;
use crate::grpc::wire::event_store::client::streams::ReadResp;
use crate::grpc::wire::event_store::client::streams::read_resp::read_event::Position;
use crate::grpc::wire::event_store::client::streams::read_resp::{Content, ReadEvent};
use crate::model::StreamName;

/// The streams in which consumer groups on all events keep what is theirs.
const OF_GROUPS_ON_ALL: &str = "$persistentsubscription-$all::";

/// What a caller sees.
#[derive(Debug)]
pub(super) struct Sight {
    visibility: Option<Visibility>,
    among_all: bool,
    showing: Showing,
}

impl Sight {
    /// `among_all`: whether the events are of many streams.
    pub(super) fn new(
        access: &Access,
        caller: &Principal,
        among_all: bool,
        showing: Showing,
    ) -> Self {
        let unlimited = access.is_open() || caller.is_system();
        Self {
            visibility: (!unlimited).then(|| access.visibility(caller)),
            among_all,
            showing,
        }
    }

    /// Whether showing an event reads nothing beside it.
    pub(super) fn is_quick(&self) -> bool {
        self.visibility.is_none() && !self.showing.resolve_links
    }

    fn sees(&mut self, stream: &StreamName) -> Result<bool, Status> {
        let Some(visibility) = &mut self.visibility else {
            return Ok(true);
        };
        visibility.sees(stream).map_err(|error| refused(&error))
    }

    /// The message that shows an event; none if the caller does not see it. May read the disk.
    pub(super) fn show(&mut self, event: ResolvedEvent) -> Result<Option<ReadResp>, Status> {
        let original = event.original();
        if self.among_all {
            let hidden = original.stream.starts_with(OF_GROUPS_ON_ALL);
            if hidden || !self.sees(&original.stream)? {
                return Ok(None);
            }
        } else if !self.sees(&original.stream)? {
            // What he might read when he began, he may have lost since.
            return Err(status::access_denied());
        }
        let commit_position = told(original.position);
        let form = self.showing.form;
        let (mut event, link) = event.into_parts();
        // Whoever sees a link does not see what it points to by that alone.
        if let (Some(target), Some(_)) = (&event, &link)
            && !self.sees(&target.stream)?
        {
            event = None;
        }
        Ok(Some(ReadResp {
            content: Some(Content::Event(ReadEvent {
                event: event.map(|event| recorded(event, form)),
                link: link.map(|link| recorded(link, form)),
                position: Some(Position::CommitPosition(commit_position)),
            })),
        }))
    }
}
