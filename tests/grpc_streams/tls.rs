//! The same over TLS: gRPC and HTTP/1.1 on one port, as the client and the server agree.

use annal::access::Access;
use annal::tls::{ClientTls, ServerCertificate, Trust};
use annal::{GrpcOptions, GrpcServer, Store, StoreOptions};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tonic::transport::{Endpoint, Uri};
use tower::service_fn;

use crate::grpc_client::read::of_all;
use crate::grpc_client::v1::streams::ReadReq;
use crate::grpc_client::v1::streams::streams_client::StreamsClient;

#[tokio::test]
async fn each_protocol_is_served_on_an_encrypted_port() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("server.crt"), made.cert.pem()).unwrap();
    std::fs::write(path("server.key"), made.signing_key.serialize_pem()).unwrap();
    let certificate = ServerCertificate::load(path("server.crt"), path("server.key")).unwrap();
    let store = Store::open(path("store"), StoreOptions::default()).unwrap();
    let mut options = GrpcOptions::default();
    options.addresses = vec!["127.0.0.1:0".parse().unwrap()];
    let access = Access::open(store);
    let server = GrpcServer::bind_with(&access, Some(&certificate), options).unwrap();
    let address = server.local_addrs()[0];
    let (stop, stopped) = oneshot::channel::<()>();
    let running = tokio::spawn(server.run(async {
        let _word = stopped.await;
    }));

    let connect = move |protocol: &'static [u8]| async move {
        let tls = ClientTls::new(&Trust::Anybody, &[protocol]).unwrap();
        let socket = TcpStream::connect(address).await?;
        let stream = tls.connect("localhost", socket).await;
        let stream = stream.map_err(std::io::Error::other)?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol));
        Ok::<_, std::io::Error>(stream)
    };
    let over_tls = service_fn(move |_: Uri| async move { connect(b"h2").await.map(TokioIo::new) });
    let endpoint = Endpoint::from_static("http://localhost");
    let channel = endpoint.connect_with_connector(over_tls).await.unwrap();
    let options = Some(of_all());
    let read = StreamsClient::new(channel).read(ReadReq { options }).await;
    assert!(
        read.unwrap()
            .into_inner()
            .message()
            .await
            .unwrap()
            .is_none()
    );

    let mut stream = connect(b"http/1.1").await.unwrap();
    let request = "GET /health/live HTTP/1.1\r\nHost: annal\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 204"));

    drop(stop);
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn others_are_kept_out_without_encryption_and_users() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
    let mut options = GrpcOptions::default();
    options.addresses = vec!["0.0.0.0:0".parse().unwrap()];
    let refused = GrpcServer::bind(store.clone(), options.clone()).unwrap_err();
    assert!(refused.to_string().contains("--insecure"), "{refused}");
    options.insecure = true;
    GrpcServer::bind(store, options).unwrap();
}
