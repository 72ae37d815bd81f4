//! Messages as bytes: protobuf, as everywhere; but what cannot be decoded is the caller's fault.

use axum::http::{HeaderValue, Response};
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec as TonicCodec, DecodeBuf, Decoder as TonicDecoder};
use tonic_prost::{ProstCodec, ProstEncoder};

use super::status;

/// Corrects the status of a call whose request could not be read, before anybody here saw it.
pub(super) fn blame<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    // Ours have the trailer that tells what they are.
    let internal = headers.get("grpc-status").is_some_and(|code| code == "13");
    if internal && !headers.contains_key("exception") {
        headers.insert("grpc-status", HeaderValue::from_static("3"));
    }
    response
}

/// Encodes `T` and decodes `U`.
#[derive(Debug)]
pub(super) struct Codec<T, U>(ProstCodec<T, U>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(ProstCodec::default())
    }
}

impl<T, U> TonicCodec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = Decoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        self.0.encoder()
    }

    fn decoder(&mut self) -> Self::Decoder {
        Decoder(std::marker::PhantomData)
    }
}

/// Decodes `U`.
#[derive(Debug)]
pub(super) struct Decoder<U>(std::marker::PhantomData<U>);

impl<U: Message + Default> TonicDecoder for Decoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        let decoded = U::decode(bytes);
        decoded
            .map(Some)
            .map_err(|error| status::invalid(format!("not a message: {error}")))
    }
}
