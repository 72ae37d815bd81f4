//! What the checks need to know of the crate `kurrentdb`, beyond what both clients share.

pub(crate) use ::kurrentdb::*;

pub(crate) const NAME: &str = "kurrentdb 1.2.0";
/// Reads of `$all` take a filter.
pub(crate) const FILTERS_READS: bool = true;

pub(crate) type Expect = StreamState;

pub(crate) fn exactly(revision: u64) -> Expect {
    StreamState::StreamRevision(revision)
}

pub(crate) fn append_options(expect: Expect) -> AppendToStreamOptions {
    AppendToStreamOptions::default().stream_state(expect)
}

pub(crate) fn delete_options(expect: Expect) -> DeleteStreamOptions {
    DeleteStreamOptions::default().stream_state(expect)
}

pub(crate) fn tombstone_options(expect: Expect) -> TombstoneStreamOptions {
    TombstoneStreamOptions::default().stream_state(expect)
}

pub(crate) fn read_all_filtered(filter: SubscriptionFilter) -> ReadAllOptions {
    ReadAllOptions::default().filter(filter)
}

pub(crate) fn is_caught_up(event: &SubscriptionEvent) -> bool {
    matches!(event, SubscriptionEvent::CaughtUp(_))
}

pub(crate) fn connect(
    settings: ClientSettings,
) -> std::result::Result<Client, crate::harness::Failure> {
    Client::new(settings).map_err(|error| error.to_string().into())
}

pub(crate) fn stream_of(event: &RecordedEvent) -> &str {
    event.stream_id()
}
