//! The binary with users and certificates, as those who keep a server meet it.
#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

#[path = "common/binary.rs"]
mod binary;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use binary::{Served, annal, binary, ends};
use serde_json::Value;

/// A verb whose standard input holds these lines.
fn annal_with(input: &str, arguments: &[&str]) -> Output {
    let mut command = binary(arguments);
    let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = piped.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// Serves a folder with more flags and settings, and keeps everything that it says.
fn serve(folder: &Path, more: &[&str], variables: &[(&str, &str)]) -> Served {
    let tcp = ["serve", "--json", "--tcp", "127.0.0.1:0", "--http", "none"];
    let mut command = binary(&tcp);
    command.arg("--data").arg(folder);
    command.args(["--log", "trace"]).args(more);
    command.envs(variables.iter().copied());
    command.stderr(Stdio::piped());
    Served::spawn(command)
}

/// Where a server is, with what a user shows.
fn address(server: &Served, login: &str) -> String {
    let (scheme, host) = server.address.split_once("://").unwrap();
    format!("{scheme}://{login}{host}")
}

#[test]
fn the_first_users_get_passwords_that_are_shown_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = serve(folder.path(), &["--users"], &[]);
    let first = server.hello["first_users"].as_array().unwrap().clone();
    let password = first[0]["password"].as_str().unwrap().to_owned();
    assert_eq!(first[0]["login"], "admin");
    assert_eq!(first[1]["login"], "ops");
    let admin = address(&server, &format!("admin:{password}@"));
    ends(&annal(&["status", "--server", &admin]), 0);
    let nobody = address(&server, "");
    let refused = ends(&annal(&["status", "--server", &nobody]), 7);
    assert!(refused.contains("$anonymous may not"), "{refused}");
    let wrong = address(&server, "admin:changeit@");
    let refused = ends(&annal(&["status", "--server", &wrong]), 7);
    assert!(refused.contains("annal://USER:PASSWORD@"), "{refused}");
    assert!(!refused.contains("changeit"), "{refused}");
    let logged = server.stop_and_hear();
    assert!(
        !logged.contains(&password) && !logged.contains("changeit"),
        "{logged}"
    );
    assert!(
        logged.contains("user=admin"),
        "it logs who connects: {logged}"
    );

    let again = serve(folder.path(), &["--users"], &[]);
    assert_eq!(again.hello["first_users"].as_array().unwrap().len(), 0);
    ends(
        &annal(&[
            "status",
            "--server",
            &address(&again, &format!("admin:{password}@")),
        ]),
        0,
    );
}

#[test]
fn the_first_passwords_can_be_given() {
    let folder = tempfile::tempdir().unwrap();
    let given = [("ANNAL_ADMIN_PASSWORD", "from-outside")];
    let more = ["--users", "--compat-default-admin"];
    let server = serve(folder.path(), &more, &given);
    assert_eq!(server.hello["first_users"][0]["password"], Value::Null);
    for login in ["admin:from-outside@", "ops:changeit@"] {
        ends(&annal(&["status", "--server", &address(&server, login)]), 0);
    }
}

#[test]
fn users_are_kept_on_a_server_and_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let more = ["--users", "--compat-default-admin"];
    let server = serve(folder.path(), &more, &[]);
    let admin = address(&server, "admin:changeit@");
    let on_server = ["--server", &admin];
    let users = |verb: &[&str], input: &str| {
        let line = [&["user"], verb, &on_server].concat();
        annal_with(input, &line)
    };
    ends(&users(&["add", "eve", "--group", "readers"], "one\n"), 0);
    ends(&users(&["add", "eve"], "two\n"), 3);
    ends(&users(&["add", "eve"], ""), 2);
    ends(&users(&["add", "a:b"], "x\n"), 2);
    let eve = |password: &str| {
        let address = address(&server, &format!("eve:{password}@"));
        annal(&["status", "--server", &address])
            .status
            .code()
            .unwrap()
    };
    assert_eq!((eve("one"), eve("two")), (0, 7));
    let own = address(&server, "eve:one@");
    let line = ["user", "passwd", "eve", "--own", "--server", &own];
    ends(&annal_with("wrong\ntwo\n", &line), 7);
    ends(&annal_with("one\ntwo\n", &line), 0);
    assert_eq!((eve("one"), eve("two")), (7, 0));
    let made = ends(&users(&["passwd", "eve", "--generate", "--json"], ""), 0);
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!(eve(made["password"].as_str().unwrap()), 0);
    ends(&users(&["group", "eve", "a", "b"], ""), 0);
    ends(&users(&["disable", "eve"], ""), 0);
    let listed = ends(&users(&["ls", "--json"], ""), 0);
    let eve: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|user: &Value| user["login"] == "eve")
        .collect();
    assert_eq!(eve[0]["groups"], serde_json::json!(["a", "b"]));
    assert_eq!(eve[0]["disabled"], true);
    server.stop_and_hear();

    let data = folder.path().to_str().unwrap();
    let in_folder = ["--data", data];
    ends(
        &annal(&[&["user", "enable", "eve"], &in_folder[..]].concat()),
        0,
    );
    ends(
        &annal_with(
            "y\n",
            &[&["user", "passwd", "admin"], &in_folder[..]].concat(),
        ),
        0,
    );
    ends(
        &annal(&[&["user", "rm", "eve"], &in_folder[..]].concat()),
        0,
    );
    ends(
        &annal(&[&["user", "rm", "eve"], &in_folder[..]].concat()),
        4,
    );
    let server = serve(folder.path(), &["--users"], &[]);
    ends(
        &annal(&["status", "--server", &address(&server, "admin:y@")]),
        0,
    );
}

#[test]
fn a_certificate_is_made_used_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let made = |out: &str| ends(&annal(&["cert", "dev", "--out", out]), 0);
    let shown = made(&path("certs"));
    assert!(
        shown.contains("--tls-cert") && shown.contains("annals://"),
        "{shown}"
    );
    ends(&annal(&["cert", "dev", "--out", &path("certs")]), 1);
    let (crt, key) = (path("certs/server.crt"), path("certs/server.key"));
    let more = [
        "--users",
        "--compat-default-admin",
        "--tls-cert",
        &crt,
        "--tls-key",
        &key,
    ];
    let server = serve(&folder.path().join("data"), &more, &[]);
    let status = |ca: &str| {
        let address = address(&server, "admin:changeit@");
        annal(&["status", "--server", &format!("{address}?tls_ca={ca}")])
    };
    let ca = path("certs/ca.crt");
    ends(&status(&ca), 0);
    let unknown = ends(&annal(&["status", "--server", &address(&server, "")]), 6);
    assert!(unknown.contains("nobody that is trusted"), "{unknown}");
    assert!(unknown.contains("tls_ca=FILE"), "{unknown}");
    let plain = address(&server, "").replace("annals://", "annal://");
    let plain = ends(&annal(&["status", "--server", &plain]), 6);
    assert!(plain.contains("write annals://"), "{plain}");

    made(&path("other"));
    fs::copy(path("other/server.crt"), &crt).unwrap();
    fs::copy(path("other/server.key"), &key).unwrap();
    server.signal("HUP");
    let (new, limit) = (path("other/ca.crt"), 500);
    let replaced = (0..limit).any(|_| status(&new).status.success());
    assert!(replaced, "a new certificate is served without a restart");
    ends(&status(&ca), 6);
    assert!(
        server
            .stop_and_hear()
            .contains("the certificate was replaced")
    );
}

#[test]
fn an_address_for_others_needs_encryption_and_users() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let start = |more: &[&str]| {
        let serve = ["serve", "--data", data, "--tcp", "0.0.0.0:0"];
        annal(&[&serve[..], more].concat())
    };
    let refused = ends(&start(&["--http", "none", "--users"]), 2);
    assert!(
        refused.contains("--users --tls-cert FILE --tls-key FILE"),
        "{refused}"
    );
    assert!(refused.contains("--insecure"), "{refused}");
    ends(&start(&["--tls-cert", "a"]), 2);
    ends(&start(&["--insecure", "--compat-default-admin"]), 2);
    let missing = ["--users", "--tls-cert", "a", "--tls-key", "b"];
    let refused = ends(&start(&missing), 4);
    assert!(refused.contains("annal cert dev"), "{refused}");
}
