//! TLS between the two sides of one pipe: who is believed, and what changes while it runs.
#![cfg(feature = "cli")]
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use std::fs;
use std::path::{Path, PathBuf};

use annal::tls::{ClientTls, HandshakeError, Reload, ServerCertificate, TlsError, Trust};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Files {
    folder: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Files {
    /// A folder with the certificate of an issuer of its own.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        fs::write(folder.path().join("ca.crt"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a certificate for `localhost` and its key, valid in these years.
    fn issue(&self, from: i32, to: i32) {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path("server.crt"), certificate.pem()).unwrap();
        fs::write(self.path("server.key"), key.serialize_pem()).unwrap();
    }

    fn load(&self) -> Result<ServerCertificate, TlsError> {
        ServerCertificate::load(self.path("server.crt"), self.path("server.key"))
    }
}

fn trusting(path: &Path) -> Trust {
    Trust::File(path.to_owned())
}

/// Says hello over TLS; returns the certificate that the server showed.
async fn greet(
    server: &ServerCertificate,
    trust: &Trust,
    host: &str,
) -> Result<Vec<u8>, HandshakeError> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let acceptor = server.acceptor(&[b"one"]).unwrap();
    let serving = tokio::spawn(async move {
        let mut stream = acceptor.accept(far).await?;
        let mut word = [0; 5];
        stream.read_exact(&mut word).await?;
        stream.write_all(&word).await?;
        stream.shutdown().await
    });
    let client = ClientTls::new(trust, &[b"one"]).unwrap();
    let connected = client.connect(host, near).await;
    let mut stream = match connected {
        Ok(stream) => stream,
        Err(error) => {
            serving.await.unwrap().unwrap_err();
            return Err(error);
        }
    };
    stream.write_all(b"hello").await.unwrap();
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.unwrap();
    assert_eq!(back, b"hello");
    serving.await.unwrap().unwrap();
    Ok(stream.get_ref().1.peer_certificates().unwrap()[0].to_vec())
}

#[tokio::test]
async fn a_server_is_believed_if_somebody_trusted_signed_for_its_name() {
    let (ours, theirs) = (Files::new(), Files::new());
    ours.issue(2000, 4000);
    let server = ours.load().unwrap();
    let trust = trusting(&ours.path("ca.crt"));
    greet(&server, &trust, "localhost").await.unwrap();
    greet(&server, &Trust::Anybody, "elsewhere").await.unwrap();
    let wrong_name = greet(&server, &trust, "127.0.0.1").await;
    assert_eq!(
        wrong_name.unwrap_err(),
        HandshakeError::WrongName("127.0.0.1".into())
    );
    let trust = trusting(&theirs.path("ca.crt"));
    let unknown = greet(&server, &trust, "localhost").await;
    assert_eq!(unknown.unwrap_err(), HandshakeError::UnknownIssuer);
}

#[tokio::test]
async fn a_certificate_is_good_in_its_time_only() {
    let files = Files::new();
    let trust = trusting(&files.path("ca.crt"));
    files.issue(2000, 2001);
    let expired = greet(&files.load().unwrap(), &trust, "localhost").await;
    assert_eq!(expired.unwrap_err(), HandshakeError::Expired);
    files.issue(3999, 4000);
    let early = greet(&files.load().unwrap(), &trust, "localhost").await;
    assert_eq!(early.unwrap_err(), HandshakeError::NotValidYet);
}

#[tokio::test]
async fn a_new_certificate_is_served_and_a_broken_one_is_not() {
    let files = Files::new();
    let trust = trusting(&files.path("ca.crt"));
    files.issue(2000, 4000);
    let server = files.load().unwrap();
    let first = greet(&server, &trust, "localhost").await.unwrap();
    assert_eq!(server.reload().unwrap(), Reload::Unchanged);
    files.issue(2000, 4000);
    assert_eq!(server.reload().unwrap(), Reload::Replaced);
    let second = greet(&server, &trust, "localhost").await.unwrap();
    assert_ne!(first, second);

    fs::write(files.path("server.crt"), "no certificate").unwrap();
    let broken = server.reload().unwrap_err();
    assert!(matches!(broken, TlsError::NoCertificate(_)), "{broken}");
    assert_eq!(
        server.reload().unwrap(),
        Reload::Unchanged,
        "it is said once"
    );
    let still = greet(&server, &trust, "localhost").await.unwrap();
    assert_eq!(still, second);
    files.issue(2000, 4000);
    assert_eq!(server.reload().unwrap(), Reload::Replaced);
}

#[tokio::test]
async fn both_sides_say_what_they_miss() {
    let files = Files::new();
    files.issue(2000, 4000);
    let server = files.load().unwrap();
    // A server that does not speak TLS.
    let (near, mut far) = tokio::io::duplex(64 * 1024);
    far.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        .await
        .unwrap();
    let client = ClientTls::new(&Trust::Anybody, &[b"one"]).unwrap();
    let plain = client.connect("localhost", near).await;
    assert_eq!(plain.unwrap_err(), HandshakeError::NotTls);
    // A server of something else.
    let (near, far) = tokio::io::duplex(64 * 1024);
    let acceptor = server.acceptor(&[b"h2"]).unwrap();
    let accepting = tokio::spawn(async move { acceptor.accept(far).await.map(drop) });
    let other = client.connect("localhost", near).await;
    assert_eq!(other.unwrap_err(), HandshakeError::OtherProtocol);
    accepting.await.unwrap().unwrap_err();
    // A host that can be none.
    let (near, _far) = tokio::io::duplex(64);
    let named = client.connect("not a name", near).await;
    assert!(matches!(named.unwrap_err(), HandshakeError::BadName(_)));
}

#[test]
fn files_that_do_not_fit_are_told_apart() {
    let files = Files::new();
    assert!(matches!(files.load().unwrap_err(), TlsError::Read { .. }));
    files.issue(2000, 4000);
    let key = fs::read(files.path("server.key")).unwrap();
    files.issue(2000, 4000);
    fs::write(files.path("server.key"), &key).unwrap();
    assert!(matches!(
        files.load().unwrap_err(),
        TlsError::KeyMismatch { .. }
    ));
    fs::write(files.path("server.key"), "").unwrap();
    assert!(matches!(files.load().unwrap_err(), TlsError::NoKey(_)));
    let broken = String::from_utf8(key).unwrap().replace("-----END", "----");
    fs::write(files.path("server.key"), &broken).unwrap();
    let error = files.load().unwrap_err();
    assert!(matches!(error, TlsError::NotPem { .. }), "{error}");
    let secret = broken.lines().nth(1).unwrap();
    assert!(!format!("{error} {error:?}").contains(secret));
    let none = ClientTls::new(&trusting(&files.path("server.key")), &[]).unwrap_err();
    assert!(matches!(none, TlsError::NotPem { .. }), "{none}");
}
