//! The embedded store in twenty lines: open, append, read back, follow.

use annal::{
    Append, BatchLimit, Direction, EventType, ExpectedRevision, NewEvent, Notice, ReadFrom, Source,
    Store, StoreOptions, StreamName, SubscribeFrom,
};

pub(crate) fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("annal-embedded-{}", std::process::id()));
    let store = Store::open(&folder, StoreOptions::default())?;

    let account = StreamName::new("account-1")?;
    let opened = NewEvent::json(EventType::new("AccountOpened")?, r#"{"owner":"Ada"}"#);
    let paid = NewEvent::json(EventType::new("MoneyDeposited")?, r#"{"amount":100}"#);
    let new = ExpectedRevision::NoStream;
    let receipt = store.append(Append::to(account.clone(), new, [opened, paid]))?;
    println!("on stable storage from position {} on", receipt.first);

    for event in store.read_stream(&account, ReadFrom::Start, Direction::Forwards)? {
        let event = event?;
        println!("{}@{} {}", event.stream, event.revision, event.event_type);
    }

    let mut accounts = store.subscribe(Source::Category("account".into()), SubscribeFrom::Start)?;
    if let Notice::Events(batch) = accounts.next(BatchLimit::default())? {
        assert_eq!(batch.events_count(), 2, "both events come in one batch");
    }

    store.close()?;
    Ok(std::fs::remove_dir_all(folder)?)
}
