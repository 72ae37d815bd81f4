//! Calls with bytes as they are: of any method, and of what no client would send.

use bytes::{Buf, BufMut, Bytes};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Request, Status};

use super::Served;

/// Sends bytes as they are, and takes them as they come.
#[derive(Debug, Default)]
pub(crate) struct Bare;

impl Codec for Bare {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bare {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bare {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

impl Served {
    /// The first answer to a call, whatever kind of call it is; none if it ends without one.
    pub(crate) async fn call(
        &self,
        path: &str,
        request: Request<Vec<u8>>,
    ) -> Result<Option<Bytes>, Status> {
        let mut client = tonic::client::Grpc::new(self.channel());
        client.ready().await.unwrap();
        let request = request.map(tokio_stream::once);
        let path = path.parse().unwrap();
        let mut told = client.streaming(request, path, Bare).await?.into_inner();
        told.message().await
    }
}
