//! What is allowed, compared with a naive judge that keeps the rules as JSON: after every change of
//! a rule or a user, for every user, permission and stream, and for readers that run meanwhile.
#![cfg(feature = "server")]
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use annal::access::{
    Access, AccessMode, AccessOptions, Action, AuthorizeError, Credentials, NewUser, Password,
    Permission, Principal, Visibility,
};
use annal::disk::{MemoryDisk, SimulatedHost};
use annal::{
    Append, Background, EventType, ExpectedRevision, NewEvent, Store, StoreOptions, StreamName,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const USERS: [&str; 4] = ["ann", "bob", "eve", "admin"];
const GROUPS: [&str; 3] = ["readers", "$ops", "$admins"];
const STREAMS: [&str; 5] = ["a-1", "b", "$s", "$scavenges-1", "$user-ann"];

/// What can change.
#[derive(Clone, Debug)]
enum Change {
    Metadata(&'static str, Value),
    Delete(&'static str),
    Settings(Value),
    /// Any bytes where a rule is looked for: of a stream, or of the settings.
    Bytes(Option<&'static str>, Vec<u8>),
    Groups(&'static str, Vec<&'static str>),
    Write(&'static str),
}

fn roles() -> impl Strategy<Value = Value> {
    let role = prop::sample::select(vec!["ann", "bob", "readers", "$ops", "$admins", "$all"]);
    prop_oneof![
        4 => role.clone().prop_map(|role| json!(role)),
        4 => prop::collection::vec(role, 0..3).prop_map(|roles| json!(roles)),
        1 => prop::sample::select(vec![json!(7), json!(null), json!(["ann", 7]), json!({})]),
    ]
}

fn acl() -> impl Strategy<Value = Value> {
    let key = prop::sample::select(vec!["$r", "$w", "$d", "$mr", "$mw", "mine"]);
    let list = prop::collection::btree_map(key, roles(), 0..4);
    prop_oneof![
        9 => list.prop_map(|list| json!(list)),
        1 => Just(json!("no list")),
    ]
}

fn metadata() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => acl().prop_map(|acl| json!({ "$acl": acl, "mine": 1 })),
        1 => Just(json!({ "$maxCount": 5 })),
        1 => Just(json!([])),
    ]
}

/// Bytes that are no rule, and rules that were cut or changed in one place.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let settings = (acl(), acl());
    let settings = settings.prop_map(|(user, system)| {
        json!({ "$userStreamAcl": user, "$systemStreamAcl": system }).to_string()
    });
    let rule = prop_oneof![metadata().prop_map(|json| json.to_string()), settings];
    let place = || any::<prop::sample::Index>();
    let changed = (rule.clone(), place(), any::<u8>()).prop_map(|(text, place, byte)| {
        let mut bytes = text.into_bytes();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        bytes
    });
    let cut = (rule, place()).prop_map(|(text, place)| {
        let place = place.index(text.len());
        text.into_bytes()[..place].to_vec()
    });
    let arbitrary = prop::collection::vec(any::<u8>(), 0..200);
    prop_oneof![arbitrary, changed, cut]
}

fn change() -> impl Strategy<Value = Change> {
    let stream = || prop::sample::select(STREAMS.to_vec());
    let or_all = prop::sample::select([&STREAMS[..], &["$all"]].concat());
    let settings = (prop::option::of(acl()), prop::option::of(acl()));
    let groups = prop::sample::subsequence(GROUPS.to_vec(), 0..=GROUPS.len());
    prop_oneof![
        4 => (or_all, metadata()).prop_map(|(stream, json)| Change::Metadata(stream, json)),
        1 => stream().prop_map(Change::Delete),
        2 => (prop::option::of(stream()), bytes())
            .prop_map(|(stream, bytes)| Change::Bytes(stream, bytes)),
        2 => settings.prop_map(|(user, system)| {
            let mut settings = serde_json::Map::new();
            settings.extend(user.map(|acl| ("$userStreamAcl".to_owned(), acl)));
            settings.extend(system.map(|acl| ("$systemStreamAcl".to_owned(), acl)));
            Change::Settings(settings.into())
        }),
        2 => (prop::sample::select(USERS.to_vec()), groups)
            .prop_map(|(user, groups)| Change::Groups(user, groups)),
        1 => stream().prop_map(Change::Write),
    ]
}

/// The rules as they were written.
#[derive(Default)]
struct Naive {
    metadata: BTreeMap<&'static str, Value>,
    settings: Value,
    groups: BTreeMap<&'static str, Vec<&'static str>>,
}

impl Naive {
    fn allows(&self, user: &str, permission: Permission, stream: &str) -> bool {
        let groups = self.groups.get(user).cloned().unwrap_or_default();
        if user == "admin" || groups.contains(&"$admins") {
            return true;
        }
        let reads = [Permission::Read, Permission::ReadMetadata].contains(&permission);
        if reads && stream == format!("$user-{user}") {
            return true;
        }
        let holds = |role: &str| role == "$all" || role == user || groups.contains(&role);
        let system = stream.starts_with('$');
        let of_settings = match system {
            true => "$systemStreamAcl",
            false => "$userStreamAcl",
        };
        let own = self.metadata.get(stream).and_then(|json| json.get("$acl"));
        for acl in [own, self.settings.get(of_settings)].into_iter().flatten() {
            let named = match acl.as_object() {
                Some(acl) => acl.get(permission.key()),
                None => Some(&Value::Null),
            };
            match named {
                None => (),
                Some(Value::String(role)) => return holds(role),
                Some(Value::Array(roles)) => {
                    let all_texts = roles.iter().all(Value::is_string);
                    return all_texts && roles.iter().any(|role| holds(role.as_str().unwrap()));
                }
                Some(_) => return false,
            }
        }
        let reports = permission == Permission::Read && stream.starts_with("$scavenges");
        !system || (reports && groups.contains(&"$ops"))
    }
}

fn name(text: &str) -> StreamName {
    StreamName::new(text.to_owned()).unwrap()
}

fn action(permission: Permission, stream: &StreamName) -> Action<'_> {
    match permission {
        Permission::Read => Action::Read(stream),
        Permission::Write => Action::Write(stream),
        Permission::Delete => Action::Delete(stream),
        Permission::ReadMetadata => Action::ReadMetadata(stream),
        Permission::WriteMetadata => Action::WriteMetadata(stream),
    }
}

struct Real {
    store: Store,
    access: Access,
    principals: Vec<Principal>,
    readers: Vec<Visibility>,
}

impl Real {
    fn new() -> Self {
        let mut options = StoreOptions::default();
        options.background = Background::Manual;
        let host = Arc::new(SimulatedHost::new(1));
        let store = Store::open_on(Arc::new(MemoryDisk::new()), host, options).unwrap();
        let options = AccessOptions {
            mode: AccessMode::Users,
            hash_memory_kib: 8,
            hash_passes: 1,
            ..AccessOptions::default()
        };
        let access = Access::new(store.clone(), &options);
        let principal = |login: &&str| {
            let password = Password::new("x");
            let new = NewUser {
                login: (*login).to_owned(),
                full_name: String::new(),
                groups: Vec::new(),
                password,
            };
            access.create_user(new).unwrap();
            let shown = Credentials::new(*login, "x");
            access.authenticate(Some(&shown)).unwrap()
        };
        let principals: Vec<_> = USERS.iter().map(principal).collect();
        let readers = principals.iter().map(|who| access.visibility(who));
        Self {
            readers: readers.collect(),
            principals,
            store,
            access,
        }
    }

    fn write(&self, stream: &str, event_type: &str, json: &Value) {
        self.write_bytes(stream, event_type, json.to_string().into_bytes());
    }

    fn write_bytes(&self, stream: &str, event_type: &str, bytes: Vec<u8>) {
        let event_type = EventType::new(event_type.to_owned()).unwrap();
        let event = NewEvent::json(event_type, bytes);
        let append = Append::to(name(stream), ExpectedRevision::Any, [event]);
        self.store.append(append).unwrap();
    }

    fn allows(&self, user: usize, action: Action<'_>) -> bool {
        match self.access.authorize(&self.principals[user], action) {
            Ok(()) => true,
            Err(AuthorizeError::Denied(_)) => false,
            Err(error) => panic!("{error}"),
        }
    }
}

fn apply(real: &Real, naive: &mut Naive, change: Change) {
    match change {
        Change::Metadata(stream, json) => {
            real.write(&format!("$${stream}"), "$metadata", &json);
            naive.metadata.insert(stream, json);
        }
        Change::Delete(stream) => {
            let append = Append::delete(name(stream), ExpectedRevision::Any);
            // A stream that is not there stays as it is.
            if real.store.append(append).is_ok() {
                naive.metadata.insert(stream, json!({}));
            }
        }
        Change::Settings(json) => {
            real.write("$settings", "settings", &json);
            naive.settings = json;
        }
        Change::Bytes(stream, bytes) => {
            // What is no JSON says nothing.
            let json = serde_json::from_slice(&bytes).unwrap_or_default();
            match stream {
                Some(stream) => {
                    real.write_bytes(&format!("$${stream}"), "$metadata", bytes);
                    naive.metadata.insert(stream, json);
                }
                None => {
                    real.write_bytes("$settings", "settings", bytes);
                    naive.settings = json;
                }
            }
        }
        Change::Groups(user, groups) => {
            let owned = groups.iter().map(|group| (*group).to_owned()).collect();
            real.access.update_user(user, "", owned).unwrap();
            naive.groups.insert(user, groups);
        }
        // What is written to a deleted stream brings it back with the metadata that delete left.
        Change::Write(stream) => real.write(stream, "Happened", &json!({})),
    }
}

fn compare(real: &mut Real, naive: &Naive) -> Result<(), TestCaseError> {
    for (index, user) in USERS.iter().enumerate() {
        for stream in STREAMS {
            for permission in Permission::ALL {
                let found = real.allows(index, action(permission, &name(stream)));
                let expected = naive.allows(user, permission, stream);
                prop_assert_eq!(found, expected, "{} {:?} {}", user, permission, stream);
            }
            let described = name(&format!("$${stream}"));
            let expected = naive.allows(user, Permission::ReadMetadata, stream);
            prop_assert_eq!(real.allows(index, Action::Read(&described)), expected);
            let expected = naive.allows(user, Permission::WriteMetadata, stream);
            prop_assert_eq!(real.allows(index, Action::Write(&described)), expected);
            let seen = real.readers[index].sees(stream).unwrap();
            prop_assert_eq!(seen, naive.allows(user, Permission::Read, stream));
        }
        let expected = naive.allows(user, Permission::Read, "$all");
        prop_assert_eq!(real.allows(index, Action::ReadAll), expected);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_allowed_is_what_the_naive_judge_allows(
        changes in prop::collection::vec(change(), 1..25),
    ) {
        let mut real = Real::new();
        let mut naive = Naive::default();
        compare(&mut real, &naive)?;
        for change in changes {
            apply(&real, &mut naive, change);
            compare(&mut real, &naive)?;
        }
    }
}
