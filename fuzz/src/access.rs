//! Whatever bytes stand where access lists are looked for, asking neither panics nor fails; whoever
//! may read a stream is shown it, and administrators are never kept out.
//!
//! An input is the metadata of a stream and the settings of the store, a 0 between them.

use std::cell::RefCell;
use std::sync::Arc;

use annal::access::{
    Access, AccessMode, AccessOptions, Action, AuthorizeError, Credentials, NewUser, Password,
    Principal,
};
use annal::disk::{MemoryDisk, SimulatedHost};
use annal::model::{Append, EventType, ExpectedRevision, NewEvent, StreamName};
use annal::{Background, Store, StoreOptions};

use crate::input::{Input, of_parts};

/// So many inputs go to one store.
const INPUTS_MAX: u32 = 1_000;
const STREAMS: [&str; 2] = ["mine", "$ours"];

struct World {
    store: Store,
    access: Access,
    ann: Principal,
    admin: Principal,
    inputs: u32,
}

impl World {
    fn new() -> Self {
        let mut options = StoreOptions::default();
        options.background = Background::Manual;
        let (disk, host) = (MemoryDisk::new(), SimulatedHost::new(1));
        let store = Store::open_on(Arc::new(disk), Arc::new(host), options).unwrap();
        let options = AccessOptions {
            mode: AccessMode::Users,
            hash_memory_kib: 8,
            hash_passes: 1,
            ..AccessOptions::default()
        };
        let access = Access::new(store.clone(), &options);
        let user = |login: &str| {
            let user = NewUser {
                login: login.to_owned(),
                full_name: String::new(),
                groups: Vec::new(),
                password: Password::new("x"),
            };
            access.create_user(user).unwrap();
            let shown = Credentials::new(login, "x");
            access.authenticate(Some(&shown)).unwrap()
        };
        let (ann, admin) = (user("ann"), user("admin"));
        Self {
            store,
            access,
            ann,
            admin,
            inputs: 0,
        }
    }

    fn write(&self, stream: &str, event_type: &str, bytes: &[u8]) {
        let stream = StreamName::new(stream.to_owned()).unwrap();
        let event_type = EventType::new(event_type.to_owned()).unwrap();
        let event = NewEvent::json(event_type, bytes.to_vec());
        let append = Append::to(stream, ExpectedRevision::Any, [event]);
        self.store.append(append).unwrap();
    }

    fn check(&self, stream: &str) {
        let name = StreamName::new(stream.to_owned()).unwrap();
        let actions = [
            Action::Read(&name),
            Action::Write(&name),
            Action::Delete(&name),
            Action::ReadMetadata(&name),
            Action::WriteMetadata(&name),
        ];
        let [reads, ..] = actions.map(|action| {
            self.access.authorize(&self.admin, action).unwrap();
            match self.access.authorize(&self.ann, action) {
                Ok(()) => true,
                Err(AuthorizeError::Denied(_)) => false,
                Err(error) => panic!("{error}"),
            }
        });
        let mut visibility = self.access.visibility(&self.ann);
        assert_eq!(visibility.sees(stream).unwrap(), reads);
    }
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new());
}

pub fn run(input: &[u8]) {
    let mut input = Input(input);
    let (metadata, settings) = (input.part(), input.part());
    WORLD.with_borrow_mut(|world| {
        world.inputs += 1;
        if world.inputs > INPUTS_MAX {
            *world = World::new();
        }
        for stream in STREAMS {
            world.write(&format!("$${stream}"), "$metadata", metadata);
        }
        world.write("$settings", "settings", settings);
        STREAMS.iter().for_each(|stream| world.check(stream));
    });
}

pub fn seeds() -> Vec<Vec<u8>> {
    let all = r#"{"$r":"$all","$w":["ann","$admins"],"$d":[],"$mr":"$all","$mw":null}"#;
    let acl = format!(r#"{{"$maxCount":5,"$acl":{all}}}"#);
    let settings = format!(r#"{{"$userStreamAcl":{all},"$systemStreamAcl":{{"$r":["$all"]}}}}"#);
    let inputs: [[&str; 2]; 5] = [
        [&acl, &settings],
        ["{}", &settings],
        [&acl, "{}"],
        [
            r#"{"$acl":{"$r":["ann","ann"],"$r":7}}"#,
            r#"{"$userStreamAcl":[]}"#,
        ],
        [r#"{"$acl":"#, "\u{feff}{}"],
    ];
    inputs.map(|parts| of_parts(&parts)).into()
}
