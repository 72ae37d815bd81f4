//! What the checks need to know of the crate `eventstore`, beyond what both clients share.

pub(crate) use ::eventstore::*;

pub(crate) const NAME: &str = "eventstore 4.0.0";
/// Reads of `$all` take no filter.
pub(crate) const FILTERS_READS: bool = false;

pub(crate) type Expect = ExpectedRevision;

pub(crate) fn exactly(revision: u64) -> Expect {
    ExpectedRevision::Exact(revision)
}

pub(crate) fn append_options(expect: Expect) -> AppendToStreamOptions {
    AppendToStreamOptions::default().expected_revision(expect)
}

pub(crate) fn delete_options(expect: Expect) -> DeleteStreamOptions {
    DeleteStreamOptions::default().expected_revision(expect)
}

pub(crate) fn tombstone_options(expect: Expect) -> TombstoneStreamOptions {
    TombstoneStreamOptions::default().expected_revision(expect)
}

pub(crate) fn read_all_filtered(_filter: SubscriptionFilter) -> ReadAllOptions {
    ReadAllOptions::default()
}

pub(crate) fn is_caught_up(event: &SubscriptionEvent) -> bool {
    matches!(event, SubscriptionEvent::CaughtUp)
}

pub(crate) fn connect(
    settings: ClientSettings,
) -> std::result::Result<Client, crate::harness::Failure> {
    Client::new(settings).map_err(|error| error.to_string().into())
}

pub(crate) fn stream_of(event: &RecordedEvent) -> &str {
    &event.stream_id
}
