//! The embedded store in twenty lines: append, read back, follow.

use annal::{
    Append, Direction, EventType, ExpectedRevision, NewEvent, ReadFrom, Store, StoreOptions,
    StreamName,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("annal-embedded-{}", std::process::id()));
    let store = Store::open(&folder, StoreOptions::default())?;

    let account = StreamName::new("account-1")?;
    let opened = NewEvent::json(EventType::new("AccountOpened")?, r#"{"owner":"Ada"}"#);
    let deposited = NewEvent::json(EventType::new("MoneyDeposited")?, r#"{"amount":100}"#);
    let receipt = store.append(Append::to(
        account.clone(),
        ExpectedRevision::NoStream,
        [opened, deposited],
    ))?;
    println!("on stable storage at positions {} to {:?}", receipt.first, receipt.last);

    for event in store.read_stream(&account, ReadFrom::Start, Direction::Forwards)? {
        let event = event?;
        println!("{}@{} {}", event.revision, event.stream, event.event_type);
    }

    store.close()?;
    Ok(std::fs::remove_dir_all(folder)?)
}
