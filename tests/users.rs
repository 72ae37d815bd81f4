//! A server with users over real sockets: who is let in, which request needs what, and what is
//! shown of many streams.
#![cfg(all(feature = "client", feature = "server"))]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod network;

use std::collections::BTreeSet;

use annal::access::{Access, AccessMode, AccessOptions, NewUser, Password};
use annal::client::{
    AppendError, Client, ConnectError, Notice, Read as Query, ReadError, UserError,
};
use annal::protocol::message::*;
use annal::protocol::{Answer, Request, WireError};
use annal::{Append, ExpectedRevision, Position, Server, Store};
use network::ask::*;
use network::*;
use tokio::io::AsyncWriteExt;

fn users_of(store: &Store) -> Access {
    let options = AccessOptions {
        mode: AccessMode::Users,
        hash_memory_kib: 8,
        hash_passes: 1,
        ..AccessOptions::default()
    };
    let access = Access::new(store.clone(), &options);
    let given = |text| Some(Password::new(text));
    access
        .create_first_users(given("admin"), given("ops"))
        .unwrap();
    for login in ["ann", "off"] {
        access.create_user(new_user(login)).unwrap();
    }
    access.disable_user("off").unwrap();
    access
}

fn new_user(login: &str) -> NewUser {
    NewUser {
        login: login.into(),
        full_name: String::new(),
        groups: Vec::new(),
        password: Password::new(login),
    }
}

fn serve_users() -> (Running, Access) {
    let store = memory_store(1);
    let access = users_of(&store);
    let server = Server::bind_with(&access, None, options()).unwrap();
    (run(server, store), access)
}

fn password(user: &str) -> Authentication {
    Authentication::Password {
        user: user.to_owned(),
        password: user.to_owned(),
    }
}

fn url(server: &Running, login: &str) -> String {
    format!("annal://{login}@{}", server.address)
}

/// Who may send a request.
type May = &'static [&'static str];
const ALL: May = &["nobody", "ann", "ops", "admin"];
const USERS: May = &["ann", "ops", "admin"];
const OPERATORS: May = &["ops", "admin"];
const ADMINS: May = &["admin"];

/// One request of every kind, more where a kind needs different things, with who may send it:
/// everybody, users, the user of his own streams, operators, administrators.
fn every_request(raw: &Raw) -> Vec<(Request, May)> {
    let source = |source| Request::Read(read(source));
    let follow = |source| Request::Subscribe(subscribe(source, SubscribeFrom::Start));
    let stream = |text: &str| Source::Stream(text.to_owned());
    let filter = Filter {
        target: FilterTarget::Stream,
        rule: FilterRule::Prefixes(vec!["a".into()]),
    };
    let describe = |stream: &str| {
        Request::DescribeStream(DescribeStream {
            stream: stream.to_owned(),
        })
    };
    let revision = |stream: &str| {
        Request::Event(EventAt::Revision {
            stream: stream.to_owned(),
            revision: 0,
        })
    };
    let streams = Request::ListStreams(ListStreams {
        prefix: String::new(),
        after: None,
        streams_max: 10,
    });
    let time = Request::PositionAt(PositionAt {
        seconds: 0,
        nanos: 0,
    });
    let token = token_of(raw);
    let wait = Request::WaitFor(WaitFor {
        token,
        within_ms: 1000,
    });
    let metadata = |stream: &str| {
        append(Append::metadata(&name(stream), ExpectedRevision::Any, "{}").unwrap())
    };
    let write = |stream: &str| append(some_events(stream, 1));
    let delete = |stream: &str| append(Append::delete(name(stream), ExpectedRevision::Any));
    let checked = |stream: &str| {
        let append = some_events("a-1", 1);
        Request::Append(append.expect(name(stream), ExpectedRevision::Any))
    };
    let change = |request: UserRequest| Request::Users(request);
    let secret = |text: &str| Secret(text.to_owned());
    let requests = vec![
        (Request::Heartbeat(Empty), ALL),
        (Request::Credit(Credit { bytes: 1 }), ALL),
        (Request::Cancel(Empty), ALL),
        (write("a-1"), USERS),
        (write("$mine"), ADMINS),
        (checked("a-2"), USERS),
        (checked("$mine"), ADMINS),
        (delete("a-3"), USERS),
        (delete("$mine"), ADMINS),
        (metadata("a-1"), USERS),
        (metadata("$mine"), ADMINS),
        (source(stream("a-1")), USERS),
        (source(stream("$mine")), ADMINS),
        (source(stream("$$a-1")), USERS),
        (source(stream("$$$mine")), ADMINS),
        (source(Source::All), ADMINS),
        (source(Source::Filtered(filter.clone())), ADMINS),
        (source(Source::Category("a".into())), ADMINS),
        (source(Source::EventType("Happened".into())), ADMINS),
        (source(Source::Tag("t".into())), ADMINS),
        (follow(stream("a-1")), USERS),
        (follow(stream("$mine")), ADMINS),
        (follow(Source::All), ADMINS),
        (follow(Source::Filtered(filter)), ADMINS),
        (follow(Source::Category("a".into())), ADMINS),
        (Request::Event(EventAt::Position(0)), ADMINS),
        (revision("a-1"), USERS),
        (revision("$mine"), ADMINS),
        (describe("a-1"), USERS),
        (describe("$mine"), ADMINS),
        (streams, ADMINS),
        (time, USERS),
        (wait, USERS),
        (Request::Status(Empty), USERS),
        (change(UserRequest::List(None)), USERS),
        (change(UserRequest::List(Some("ops".into()))), USERS),
        (
            change(UserRequest::ChangePassword {
                login: "ann".into(),
                current: secret("ann"),
                new: secret("ann"),
            }),
            USERS,
        ),
        (
            change(UserRequest::Create {
                login: "new".into(),
                full_name: String::new(),
                groups: Vec::new(),
                password: secret("new"),
            }),
            ADMINS,
        ),
        (
            change(UserRequest::Update {
                login: "new".into(),
                full_name: "New".into(),
                groups: Vec::new(),
            }),
            ADMINS,
        ),
        (change(UserRequest::Disable("new".into())), ADMINS),
        (change(UserRequest::Enable("new".into())), ADMINS),
        (
            change(UserRequest::ResetPassword {
                login: "new".into(),
                new: secret("x"),
            }),
            ADMINS,
        ),
        (change(UserRequest::Delete("new".into())), ADMINS),
    ];
    // A changed password ends what the connection is allowed, so users come last.
    group_requests().into_iter().chain(requests).collect()
}

/// What is asked of consumer groups. The group is made by those who may, and is there for the rest.
fn group_requests() -> Vec<(Request, May)> {
    let group = |source: &str| GroupId {
        source: source.to_owned(),
        group: "g".to_owned(),
    };
    let join = |source: &str| {
        Request::JoinGroup(JoinGroup {
            group: group(source),
            credit_events: 1,
            connection_name: String::new(),
        })
    };
    let settings = annal::GroupSettings::default();
    let (source, name) = (annal::GroupSource::ALL, annal::GroupName::new("g").unwrap());
    let start = annal::GroupStart::Start;
    let definition = || GroupDefinition::of(&source, &name, &settings, start);
    let parked = || Parked {
        group: group("$all"),
        before: None,
    };
    let groups = Request::Groups;
    vec![
        (groups(GroupRequest::List(None)), USERS),
        (groups(GroupRequest::Describe(group("$all"))), USERS),
        (groups(GroupRequest::Create(definition())), OPERATORS),
        (groups(GroupRequest::Update(definition())), OPERATORS),
        (groups(GroupRequest::Replay(parked())), OPERATORS),
        (groups(GroupRequest::Truncate(parked())), OPERATORS),
        (join("$all"), ADMINS),
        (join("a-1"), USERS),
        (groups(GroupRequest::Delete(group("$all"))), OPERATORS),
        (Request::Ack(Ack { ids: Vec::new() }), ALL),
        (
            Request::Nack(Nack {
                ids: Vec::new(),
                action: NackAction::Skip,
                reason: String::new(),
            }),
            ALL,
        ),
    ]
}

/// Sends a request and says whether it was denied. A feed is cancelled then.
async fn is_denied(raw: &mut Raw, correlation: u64, request: Request) -> bool {
    let is_feed = matches!(
        request,
        Request::Read(_) | Request::Subscribe(_) | Request::JoinGroup(_)
    );
    let has_no_answer = matches!(
        request,
        Request::Heartbeat(_)
            | Request::Credit(_)
            | Request::Cancel(_)
            | Request::Ack(_)
            | Request::Nack(_)
    );
    raw.send(correlation, &request).await;
    if has_no_answer {
        return false;
    }
    let mut denied = false;
    loop {
        let (number, answer) = raw.next().await;
        if number != correlation {
            assert!(matches!(answer, Answer::Idle(_)), "{answer:?}");
            continue;
        }
        denied |= matches!(answer, Answer::Error(WireError::Denied(_)));
        match answer {
            Answer::End(_) | Answer::Error(_) => return denied,
            Answer::Subscribed(_) | Answer::Joined(_) => {
                raw.send(correlation, &Request::Cancel(Empty)).await
            }
            _ if is_feed => (),
            _ => return denied,
        }
    }
}

#[tokio::test]
async fn each_request_is_for_those_who_may_and_no_kind_is_left_out() {
    let (server, access) = serve_users();
    for system in ["a-1", "$mine"] {
        server.store.append(some_events(system, 1)).unwrap();
    }
    let who = [
        ("nobody", Authentication::None),
        ("ann", password("ann")),
        ("ops", password("ops")),
        ("admin", password("admin")),
    ];
    let mut kinds = BTreeSet::new();
    for (name, shown) in who {
        let mut raw = Raw::connect_as(server.address, shown).await;
        for (index, (request, may)) in every_request(&raw).into_iter().enumerate() {
            kinds.insert(request.kind());
            let what = format!("{name}: {request:?}");
            let number = u64::try_from(index).unwrap() + 100;
            let denied = is_denied(&mut raw, number, request).await;
            assert_eq!(!denied, may.contains(&name), "{what}");
        }
    }
    for (kind, name, _) in Request::KINDS {
        assert!(
            kinds.contains(kind) || *name == "Hello",
            "{name} has no row"
        );
    }
    // Who is disabled on the way is denied everything that needs anything.
    let mut raw = Raw::connect_as(server.address, password("ann")).await;
    access.disable_user("ann").unwrap();
    for (index, (request, may)) in every_request(&raw).into_iter().enumerate() {
        let what = format!("{request:?}");
        let number = u64::try_from(index).unwrap() + 100;
        let denied = is_denied(&mut raw, number, request).await;
        assert_eq!(denied, !may.contains(&"nobody"), "{what}");
    }
    server.stop().await;
}

#[tokio::test]
async fn only_who_shows_the_right_password_is_let_in() {
    let (server, _access) = serve_users();
    for login in ["ann:wrong", "eve:eve", "off:off"] {
        let error = Client::connect(&url(&server, login)).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Authentication { .. }),
            "{error}"
        );
        assert!(!error.to_string().contains("wrong;"), "{error}");
    }
    let ann = Client::connect(&url(&server, "ann:ann")).await.unwrap();
    ann.append(some_events("a-1", 1)).await.unwrap();
    let denied = ann.append(some_events("$x", 1)).await.unwrap_err();
    assert!(matches!(denied, AppendError::Denied(_)), "{denied}");
    let nobody = Client::connect(&server.url()).await.unwrap();
    let denied = nobody.status().await.unwrap_err();
    assert!(matches!(denied, ReadError::Denied(_)), "{denied}");
    server.stop().await;
}

/// Lets ann read `$all`.
async fn open_all(admin: &Client) {
    let json = r#"{"$acl":{"$r":"ann"}}"#;
    let event = annal::NewEvent::json(annal::EventType::new("$metadata").unwrap(), json);
    let append = Append::to(name("$$$all"), ExpectedRevision::Any, [event]);
    admin.append(append).await.unwrap();
}

async fn streams_read(client: &Client, query: Query) -> Vec<String> {
    let mut events = client.read(query);
    let mut streams = Vec::new();
    while let Some(event) = events.next().await.unwrap() {
        streams.push(event.stream.to_string());
    }
    streams
}

#[tokio::test]
async fn of_many_streams_each_is_shown_to_those_who_may_read_it() {
    let (server, _access) = serve_users();
    let admin = Client::connect(&url(&server, "admin:admin")).await.unwrap();
    let ann = Client::connect(&url(&server, "ann:ann")).await.unwrap();
    open_all(&admin).await;
    let ours = name("b-1");
    for _ in 0..3 {
        admin.append(some_events("a-1", 2)).await.unwrap();
        admin.append(some_events("b-1", 2)).await.unwrap();
        admin.append(some_events("$c", 1)).await.unwrap();
    }
    let secret = r#"{"$acl":{"$r":[],"$mr":"ann"}}"#;
    admin
        .set_metadata(&ours, ExpectedRevision::Any, secret)
        .await
        .unwrap();
    let seen = ["a-1"; 6].into_iter().chain(["$$b-1"]);
    let seen: Vec<_> = seen.map(str::to_owned).collect();
    assert_eq!(streams_read(&ann, Query::all()).await, seen);
    let three = Query::all().events_max(3);
    assert_eq!(streams_read(&ann, three).await, ["a-1"; 3]);
    let backwards = Query::all().from_end().backwards();
    let mut back = streams_read(&ann, backwards).await;
    back.reverse();
    assert_eq!(back, seen);
    let all = streams_read(&admin, Query::all()).await;
    assert_eq!(all.len(), 17);
    let hidden = admin
        .event(&ours, annal::Revision(0))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ann.event_at(hidden.position).await.unwrap(), None);
    assert!(admin.event_at(hidden.position).await.unwrap().is_some());
    server.stop().await;
}

#[tokio::test]
async fn who_may_see_none_of_many_streams_keeps_nobody_waiting() {
    let store = memory_store(1);
    let access = users_of(&store);
    let hidden = r#"{"$userStreamAcl":{"$r":"$admins"},"$systemStreamAcl":{"$r":"ann"}}"#;
    store
        .append(Append::to(
            name("$settings"),
            ExpectedRevision::Any,
            [event(hidden)],
        ))
        .unwrap();
    let names: Vec<String> = (0..9).map(|block| format!("s-{block}")).collect();
    for block in &names {
        let streams = (0..500).map(|number| name(&format!("{block}-{number}")));
        let append = streams.fold(Append::new(), |append, stream| {
            append.event(stream, event("1"))
        });
        store.append(append).unwrap();
    }
    let mut options = options();
    options.reads_max = 1;
    let server = Server::bind_with(&access, None, options).unwrap();
    let server = run(server, store);
    let mut raw = Raw::connect_as(server.address, password("ann")).await;
    let list = ListStreams {
        prefix: "s-".to_owned(),
        after: None,
        streams_max: 1,
    };
    let at = PositionAt {
        seconds: 0,
        nanos: 0,
    };
    // Together, so that the second one is there before the first one's pages are through.
    let mut both = Vec::new();
    Request::ListStreams(list).put(1, &mut both);
    Request::PositionAt(at).put(2, &mut both);
    raw.socket.write_all(&both).await.unwrap();
    assert!(matches!(raw.next().await, (2, Answer::Position(_))));
    match raw.next().await {
        (1, Answer::StreamList(list)) => assert!(list.streams.is_empty() && !list.more),
        other => panic!("{other:?}"),
    }
    server.stop().await;
}

#[tokio::test]
async fn what_runs_already_follows_a_changed_rule() {
    let (server, access) = serve_users();
    let admin = Client::connect(&url(&server, "admin:admin")).await.unwrap();
    let ann = Client::connect(&url(&server, "ann:ann")).await.unwrap();
    open_all(&admin).await;
    let mut all = ann
        .subscribe(annal::client::Subscribe::new(
            annal::Source::All,
            annal::SubscribeFrom::Start,
        ))
        .await
        .unwrap();
    let mut next = async || loop {
        match all.next().await? {
            Notice::Event(event) => return Ok::<_, ReadError>(event),
            _ => continue,
        }
    };
    admin.append(some_events("a-1", 1)).await.unwrap();
    assert_eq!(next().await.unwrap().stream, name("a-1"));
    let secret = r#"{"$acl":{"$r":"ops"}}"#;
    admin
        .set_metadata(&name("a-1"), ExpectedRevision::Any, secret)
        .await
        .unwrap();
    admin.append(some_events("a-1", 3)).await.unwrap();
    admin.append(some_events("a-2", 1)).await.unwrap();
    assert_eq!(next().await.unwrap().stream, name("$$a-1"));
    assert_eq!(next().await.unwrap().stream, name("a-2"));
    access.disable_user("ann").unwrap();
    admin.append(some_events("a-2", 1)).await.unwrap();
    let ended = next().await.unwrap_err();
    assert!(matches!(ended, ReadError::Denied(_)), "{ended}");
    server.stop().await;
}

#[tokio::test]
async fn administrators_keep_users_over_a_connection() {
    let (server, _access) = serve_users();
    let admin = Client::connect(&url(&server, "admin:admin")).await.unwrap();
    let groups = vec!["$ops".to_owned()];
    admin
        .create_user("eve", "Eve", groups.clone(), "one")
        .await
        .unwrap();
    admin
        .create_user("eve", "other", Vec::new(), "one")
        .await
        .unwrap();
    let conflict = admin.create_user("eve", "Eve", groups.clone(), "two").await;
    assert_eq!(conflict.unwrap_err(), UserError::Conflict("eve".into()));
    let eve = admin.user("eve").await.unwrap();
    assert_eq!((&*eve.full_name, &eve.groups), ("Eve", &groups));
    let as_eve = Client::connect(&url(&server, "eve:one")).await.unwrap();
    assert_eq!(as_eve.users().await.unwrap().len(), 5);
    let wrong = as_eve.change_password("eve", "two", "three").await;
    assert!(matches!(wrong.unwrap_err(), UserError::Denied(_)));
    as_eve.change_password("eve", "one", "three").await.unwrap();
    let over = as_eve.users().await.unwrap_err();
    assert!(matches!(over, UserError::Denied(_)), "{over}");
    admin.delete_user("eve").await.unwrap();
    let gone = admin.delete_user("eve").await.unwrap_err();
    assert_eq!(gone, UserError::NotFound("eve".into()));
    assert_eq!(admin.status().await.unwrap().token.end, Position(0));
    server.stop().await;
}
