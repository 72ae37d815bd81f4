//! The native protocol over TLS: the same answers, however much is sent, and what both sides say
//! when one of them does not speak it.
#![cfg(feature = "cli")]
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may panic"
)]

mod network;

use std::fs;

use annal::access::Access;
use annal::client::{Client, ConnectError, Notice, Read, Subscribe};
use annal::tls::{HandshakeError, ServerCertificate};
use annal::{Append, Server, Source, StreamHead, SubscribeFrom};
use network::*;
use rcgen::generate_simple_self_signed;

/// A server with a certificate that signs for itself, and the folder of its files.
fn serve_encrypted() -> (Running, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("crt"), folder.path().join("key"));
    let made = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let certificate = ServerCertificate::load(certificate, key).unwrap();
    let store = memory_store(1);
    let access = Access::open(store.clone());
    let server = Server::bind_with(&access, Some(&certificate), options()).unwrap();
    (run(server, store), folder)
}

fn url(server: &Running, folder: &tempfile::TempDir) -> String {
    let trusted = folder.path().join("crt");
    format!(
        "annals://{}?tls_name=localhost&tls_ca={}&reconnect_within_ms=20000",
        server.address,
        trusted.display()
    )
}

#[tokio::test]
async fn everything_arrives_however_much_it_is() {
    let (server, folder) = serve_encrypted();
    let client = Client::connect(&url(&server, &folder)).await.unwrap();
    let big = "x".repeat(100_000);
    let mut live = client
        .subscribe(Subscribe::new(Source::All, SubscribeFrom::Start))
        .await
        .unwrap();
    for number in 0..40 {
        let events = (0..5).map(|_| event(&format!("\"{number}{big}\"")));
        let append = Append::to(name("a-1"), annal::ExpectedRevision::Any, events);
        client.append(append).await.unwrap();
    }
    let mut read = client.read(Read::all());
    let mut count = 0;
    while let Some(event) = read.next().await.unwrap() {
        assert!(event.data.len() > big.len());
        count += 1;
    }
    assert_eq!(count, 200);
    let mut followed = 0;
    while followed < 200 {
        if let Notice::Event(event) = live.next().await.unwrap() {
            assert_eq!(event.position.0, followed);
            followed += 1;
        }
    }
    client.append(some_events("a-2", 1)).await.unwrap();
    let described = client.stream(&name("a-2")).await.unwrap();
    assert_eq!(described.head, StreamHead::At(annal::Revision(0)));
    client.close();
    server.stop().await;
}

#[tokio::test]
async fn a_lost_connection_is_made_again_encrypted() {
    let (server, folder) = serve_encrypted();
    let proxy = Proxy::to(server.address).await;
    let address =
        url(&server, &folder).replace(&server.address.to_string(), &proxy.address.to_string());
    let client = Client::connect(&address).await.unwrap();
    client.append(some_events("a-1", 1)).await.unwrap();
    proxy.cut();
    let read = client.event_at(annal::Position(0)).await.unwrap();
    assert!(read.is_some());
    server.stop().await;
}

#[tokio::test]
async fn one_side_alone_does_not_speak_tls() {
    let (encrypted, _folder) = serve_encrypted();
    let address = format!("annal://{}", encrypted.address);
    let error = Client::connect(&address).await.unwrap_err();
    assert!(matches!(error, ConnectError::Encrypted(_)), "{error}");
    encrypted.stop().await;
    let plain = serve_memory();
    let address = format!("annals://{}?tls_verify=false", plain.address);
    let error = Client::connect(&address).await.unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::Handshake {
                problem: HandshakeError::NotTls,
                ..
            }
        ),
        "{error}"
    );
    plain.stop().await;
}
