//! Certificates instead of passwords: a client that shows one is the user whom it names.

use std::sync::Arc;

use annal::tls::ServerCertificate;
use annal::{GrpcOptions, GrpcServer, Store, StoreOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::certificates::Issuer;
use crate::grpc_client::users::{ADMIN, GRETA, users_of};

type Shown = (CertificateDer<'static>, PrivateKeyDer<'static>);

fn naming(user: &str, issuer: &Issuer) -> Shown {
    let (certificate, key) = issuer.naming(user);
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    (certificate.der().clone(), key)
}

#[tokio::test]
async fn a_certificate_of_a_trusted_issuer_stands_for_the_user_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (trusted, stranger) = (Issuer::new(), Issuer::new());
    trusted.write_server(folder.path());
    let certificate = ServerCertificate::load(path("server.crt"), path("server.key")).unwrap();
    let certificate = certificate.asking_clients(&path("ca.crt")).unwrap();
    let store = Store::open(path("store"), StoreOptions::default()).unwrap();
    let mut options = GrpcOptions::default();
    options.addresses = vec!["127.0.0.1:0".parse().unwrap()];
    let access = users_of(store);
    access.disable_user(GRETA).unwrap();
    let server = GrpcServer::bind_with(&access, Some(&certificate), options).unwrap();
    let address = server.local_addrs()[0];
    let running = tokio::spawn(server.run(std::future::pending()));

    let mut roots = RootCertStore::empty();
    roots.add(trusted.0.der().clone()).unwrap();
    let ask = async |shown: Option<Shown>| -> std::io::Result<String> {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots.clone());
        let config = match shown {
            Some((certificate, key)) => config.with_client_auth_cert(vec![certificate], key),
            None => Ok(config.with_no_client_auth()),
        };
        let connector = TlsConnector::from(Arc::new(config.unwrap()));
        let name = ServerName::try_from("localhost").unwrap();
        let socket = TcpStream::connect(address).await?;
        let mut stream = connector.connect(name, socket).await?;
        let request = "GET /stats HTTP/1.1\r\nHost: annal\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer);
        Ok(answer.split(' ').nth(1).unwrap_or_default().to_owned())
    };
    assert_eq!(ask(Some(naming(ADMIN, &trusted))).await.unwrap(), "200");
    assert_eq!(ask(Some(naming("nobody", &trusted))).await.unwrap(), "401");
    assert_eq!(ask(Some(naming(GRETA, &trusted))).await.unwrap(), "401");
    assert_eq!(ask(None).await.unwrap(), "401");
    ask(Some(naming(ADMIN, &stranger))).await.unwrap_err();
    running.abort();
}
