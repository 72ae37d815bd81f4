//! Asking over HTTP/1.1.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::Served;

impl Served {
    /// Asks, as in `GET /ping`: the status, and the body.
    pub(crate) async fn http(&self, request: &str) -> (u16, String) {
        self.http_with(request, "").await
    }

    /// The same with further headers, each with its line end.
    pub(crate) async fn http_with(&self, request: &str, headers: &str) -> (u16, String) {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let head = format!("{request} HTTP/1.1\r\nhost: {}\r\n{headers}", self.address);
        let request = format!("{head}connection: close\r\ncontent-length: 0\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }
}
