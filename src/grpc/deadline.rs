//! Deadlines: a call whose caller says how long he waits ends then, and its work with it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use hyper::body::Frame;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tonic::{Code, Status};

const TEXT: &str = "Deadline Exceeded";
/// So many digits a caller may use.
const DIGITS_MAX: usize = 8;

/// Ends a call at its deadline, if it has one.
pub(super) async fn keep(request: Request, next: Next) -> Response {
    let asked = request.headers().get("grpc-timeout");
    let asked = asked.and_then(|value| duration(value.to_str().ok()?));
    let Some(deadline) = asked.and_then(|asked| Instant::now().checked_add(asked)) else {
        return next.run(request).await;
    };
    match timeout_at(deadline, next.run(request)).await {
        Err(_) => Status::deadline_exceeded(TEXT).into_http(),
        Ok(response) => response.map(|answers| {
            Body::new(Limited {
                answers: Some(answers),
                over: Box::pin(sleep_until(deadline)),
            })
        }),
    }
}

/// `10S` is ten seconds. What makes no sense is no deadline.
fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > DIGITS_MAX || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Answers that come until the deadline; then, instead of more, the word that it has passed.
struct Limited {
    /// None once that was said: whoever makes them hears that they are not wanted.
    answers: Option<Body>,
    over: Pin<Box<Sleep>>,
}

impl HttpBody for Limited {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(answers) = &mut self.answers else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(answers).poll_frame(context);
        let ends = match &polled {
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers(),
            Poll::Ready(_) => true,
            Poll::Pending => false,
        };
        if ends || self.over.as_mut().poll(context).is_pending() {
            return polled;
        }
        self.answers = None;
        let mut trailers = HeaderMap::new();
        let code = HeaderValue::from(i32::from(Code::DeadlineExceeded));
        trailers.insert("grpc-status", code);
        trailers.insert("grpc-message", HeaderValue::from_static(TEXT));
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.answers.as_ref().is_none_or(Body::is_end_stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_number_with_its_unit() {
        let ms = Duration::from_millis;
        for (text, told) in [
            ("10S", Some(ms(10_000))),
            ("1m", Some(ms(1))),
            ("2M", Some(ms(120_000))),
            ("1500u", Some(Duration::from_micros(1500))),
            ("0n", Some(Duration::ZERO)),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("100000000S", None),
            ("-1S", None),
            ("S", None),
            ("", None),
            ("1", None),
            ("1\u{e9}", None),
        ] {
            assert_eq!(duration(text), told, "{text}");
        }
    }
}
