//! A member of a group: takes events, and says what became of them.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use uuid::Uuid;

use crate::engine::block_on_until;
use crate::subscription::group::core::MemberId;
use crate::subscription::group::entry::Entry;
use crate::subscription::group::message::Delivery;
use crate::subscription::group::{Groups, MemberError};
use crate::sync::Instant;

/// What becomes of an event that a member does not handle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NackAction {
    /// The group decides: as [`Self::Retry`].
    #[default]
    Unknown,
    /// It goes to the parked stream.
    Park,
    /// It is delivered again, or parked if that was done as often as the settings allow.
    Retry,
    /// It is left out.
    Skip,
    /// It is left out; for clients that stop then.
    Stop,
}

/// A member of a group. It gets events as long as it has room, and has to acknowledge each of them
/// in time. Dropping it ends the membership: what it had at hand goes to others.
#[derive(Debug)]
pub struct Member {
    seat: MemberHandle,
    /// Keeps the groups going.
    _groups: Groups,
}

/// What a member says, apart from the member itself, so that others can say it for him. It does
/// nothing when the member is gone.
#[derive(Clone, Debug)]
pub struct MemberHandle {
    entry: Arc<Entry>,
    id: MemberId,
}

impl MemberHandle {
    /// These events are handled; named by the ids of the original events, as
    /// [`ResolvedEvent::original`] gives them. Ids that the member does not hold are ignored.
    ///
    /// [`ResolvedEvent::original`]: crate::engine::ResolvedEvent::original
    pub fn ack(&self, ids: &[Uuid]) {
        let id = self.id;
        self.entry.change(|core, now_us| core.ack(id, ids, now_us));
    }

    /// These events are not handled, for a reason that is kept where they are parked.
    pub fn nack(&self, ids: &[Uuid], action: NackAction, reason: &str) {
        let id = self.id;
        self.entry
            .change(|core, now_us| core.nack(id, ids, (action, reason), now_us));
    }
}

impl Member {
    pub(super) fn new(entry: Arc<Entry>, id: MemberId, groups: Groups) -> Self {
        Self {
            seat: MemberHandle { entry, id },
            _groups: groups,
        }
    }

    /// What the membership is called: `SOURCE::GROUP`.
    #[must_use]
    pub fn subscription_id(&self) -> String {
        self.seat.entry.definition.key()
    }

    /// Says things for the member from elsewhere.
    #[must_use]
    pub fn handle(&self) -> MemberHandle {
        self.seat.clone()
    }

    /// See [`MemberHandle::ack`].
    pub fn ack(&self, ids: &[Uuid]) {
        self.seat.ack(ids);
    }

    /// See [`MemberHandle::nack`].
    pub fn nack(&self, ids: &[Uuid], action: NackAction, reason: &str) {
        self.seat.nack(ids, action, reason);
    }

    /// The next event, if there is one. Never reads from the disk.
    ///
    /// # Errors
    /// See [`MemberError`]. After an error nothing more comes.
    pub fn try_next(&mut self) -> Result<Option<Delivery>, MemberError> {
        let mut core = self.seat.entry.core.lock();
        match core.over {
            Some(why) => Err(why),
            None => Ok(core.take(self.seat.id)),
        }
    }

    /// The next event, as a poll.
    ///
    /// # Errors
    /// As [`Self::try_next`].
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Delivery, MemberError>> {
        let mut core = self.seat.entry.core.lock();
        if let Some(why) = core.over {
            return Poll::Ready(Err(why));
        }
        if let Some(delivery) = core.take(self.seat.id) {
            return Poll::Ready(Ok(delivery));
        }
        if let Some(member) = core.members.get_mut(&self.seat.id) {
            member.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }

    /// Waits for the next event without blocking. Needs no runtime. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    /// As [`Self::try_next`].
    pub async fn next_async(&mut self) -> Result<Delivery, MemberError> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Waits for the next event for at most so long, blocking this thread.
    ///
    /// # Errors
    /// As [`Self::try_next`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Delivery>, MemberError> {
        let deadline = Instant::now().checked_add(timeout);
        block_on_until(self.next_async(), deadline).transpose()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let id = self.seat.id;
        self.seat.entry.change(|core, _| core.leave(id));
    }
}
