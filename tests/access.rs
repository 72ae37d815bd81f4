//! Users, roles and access lists, through the public API.
#![cfg(feature = "server")]
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use std::sync::Arc;

use annal::StreamName;
use annal::access::{
    Access, AccessMode, AccessOptions, Action, AuthenticationError, AuthorizeError, Call,
    Credentials, NewUser, Password, Principal, Required, UserError,
};
use annal::disk::{MemoryDisk, SimulatedHost};
use annal::{Append, Background, EventType, ExpectedRevision, NewEvent, Store, StoreOptions};

fn store() -> Store {
    store_on(MemoryDisk::new())
}

fn store_on(disk: MemoryDisk) -> Store {
    let mut options = StoreOptions::default();
    options.background = Background::Manual;
    Store::open_on(Arc::new(disk), Arc::new(SimulatedHost::new(1)), options).unwrap()
}

fn quick() -> AccessOptions {
    AccessOptions {
        mode: AccessMode::Users,
        hash_memory_kib: 8,
        hash_passes: 1,
        ..AccessOptions::default()
    }
}

fn with_users(store: &Store) -> Access {
    let access = Access::new(store.clone(), &quick());
    let given = |text: &str| Some(Password::new(text));
    let first = access.create_first_users(given("a"), given("o")).unwrap();
    assert!(first.iter().all(|user| user.generated.is_none()));
    for (login, groups) in [("ann", &["writers"][..]), ("bob", &[]), ("off", &[])] {
        access.create_user(user(login, groups)).unwrap();
    }
    access.disable_user("off").unwrap();
    access
}

fn user(login: &str, groups: &[&str]) -> NewUser {
    NewUser {
        login: login.into(),
        full_name: login.to_uppercase(),
        groups: groups.iter().map(ToString::to_string).collect(),
        password: Password::new(login),
    }
}

fn principal(access: &Access, login: &str, password: &str) -> Principal {
    let credentials = Credentials::new(login, password);
    access.authenticate(Some(&credentials)).unwrap()
}

fn name(text: &str) -> StreamName {
    StreamName::new(text).unwrap()
}

fn allowed(access: &Access, principal: &Principal, action: Action<'_>) -> bool {
    match access.authorize(principal, action) {
        Ok(()) => true,
        Err(AuthorizeError::Denied(_)) => false,
        Err(error) => panic!("{error}"),
    }
}

fn set_metadata(store: &Store, stream: &str, json: &'static str) {
    let stream = name(&format!("$${stream}"));
    let event = NewEvent::json(EventType::new("$metadata").unwrap(), json);
    store
        .append(Append::to(stream, ExpectedRevision::Any, [event]))
        .unwrap();
}

fn set_settings(store: &Store, json: &'static str) {
    let event = NewEvent::json(EventType::new("settings").unwrap(), json);
    let append = Append::to(name("$settings"), ExpectedRevision::Any, [event]);
    store.append(append).unwrap();
}

#[test]
fn without_users_everybody_may_do_everything() {
    let access = Access::open(store());
    let wrong = Credentials::new("nobody", "nothing");
    let whoever = access.authenticate(Some(&wrong)).unwrap();
    assert!(whoever.is_system());
    assert!(allowed(&access, &whoever, Action::ReadAll));
    assert!(allowed(&access, &Principal::anonymous(), Action::ReadAll));
}

#[test]
fn only_the_right_password_of_an_enabled_user_is_recognised() {
    let access = with_users(&store());
    let refused = |login, password| {
        let shown = Credentials::new(login, password);
        access.authenticate(Some(&shown)).unwrap_err() == AuthenticationError::Refused
    };
    assert_eq!(principal(&access, "ann", "ann").name(), "ann");
    assert_eq!(principal(&access, "ann", "ann").groups(), ["writers"]);
    assert!(refused("ann", "Ann") && refused("ann", "") && refused("ANN", "ann"));
    assert!(refused("eve", "eve") && refused("off", "off"));
    assert!(access.authenticate(None).unwrap().is_anonymous());
}

#[test]
fn each_call_is_for_the_roles_that_it_requires() {
    let access = with_users(&store());
    let anonymous = Principal::anonymous();
    let ann = principal(&access, "ann", "ann");
    let (ops, admin) = (
        principal(&access, "ops", "o"),
        principal(&access, "admin", "a"),
    );
    for call in Call::ALL {
        let action = Action::Call(*call);
        let may = [&anonymous, &ann, &ops, &admin].map(|who| allowed(&access, who, action));
        let expected = match call.required() {
            Required::Nothing => [true, true, true, true],
            Required::User => [false, true, true, true],
            Required::Operator => [false, false, true, true],
            Required::Admin => [false, false, false, true],
        };
        assert_eq!(may, expected, "{call:?}");
    }
}

#[test]
fn a_changed_rule_holds_for_the_next_call() {
    let store = store();
    let access = with_users(&store);
    let (ann, bob) = (
        principal(&access, "ann", "ann"),
        principal(&access, "bob", "bob"),
    );
    let order = name("order-1");
    let read = |who| allowed(&access, who, Action::Read(&order));
    assert!(read(&ann) && read(&bob));
    set_metadata(&store, "order-1", r#"{"$acl":{"$r":["writers"]}}"#);
    assert!(read(&ann) && !read(&bob));
    set_metadata(&store, "order-1", r#"{"$acl":{"$r":[]}}"#);
    assert!(!read(&ann) && !read(&bob));
    set_metadata(&store, "order-1", "{}");
    assert!(read(&ann) && read(&bob));
    set_settings(&store, r#"{"$userStreamAcl":{"$r":"bob"}}"#);
    assert!(!read(&ann) && read(&bob));
    assert!(allowed(&access, &ann, Action::Write(&order)));
    set_metadata(&store, "order-1", r#"{"$acl":{"$r":"ann"}}"#);
    assert!(read(&ann) && !read(&bob));
}

#[test]
fn a_principal_ends_with_the_password_that_made_it() {
    let access = with_users(&store());
    let order = name("order-1");
    let read = |who: &Principal| allowed(&access, who, Action::Read(&order));
    let before = principal(&access, "bob", "bob");
    let (old, new) = (Password::new("bob"), Password::new("new"));
    let wrong = access.change_password("bob", &new, &new).unwrap_err();
    assert!(matches!(wrong, UserError::WrongPassword(_)));
    assert!(read(&before));
    access.change_password("bob", &old, &new).unwrap();
    assert!(!read(&before));
    assert!(
        access
            .authenticate(Some(&Credentials::new("bob", "bob")))
            .is_err()
    );
    let after = principal(&access, "bob", "new");
    assert!(read(&after));
    access.disable_user("bob").unwrap();
    assert!(!read(&after));
    access.enable_user("bob").unwrap();
    assert!(read(&after));
    access.delete_user("bob").unwrap();
    access
        .create_user(NewUser {
            password: new,
            ..user("bob", &[])
        })
        .unwrap();
    assert!(!read(&after), "it is another user of the same name");
}

#[test]
fn users_are_kept_by_the_store() {
    let disk = MemoryDisk::new();
    let before = store_on(disk.clone());
    let access = with_users(&before);
    access
        .update_user("bob", "Bob", vec!["readers".into()])
        .unwrap();
    access.delete_user("ann").unwrap();
    let users = access.users();
    drop(access);
    before.close().unwrap();
    let access = Access::new(store_on(disk), &quick());
    assert_eq!(access.users(), users);
    let logins: Vec<_> = users.iter().map(|user| user.login.as_str()).collect();
    assert_eq!(logins, ["admin", "bob", "off", "ops"]);
    assert_eq!(principal(&access, "bob", "bob").groups(), ["readers"]);
    let none = access.create_first_users(None, None).unwrap();
    assert!(none.is_empty(), "there are users");
}
