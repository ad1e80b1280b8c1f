//! An answer's body: bounded in bytes, in time between two pieces, and in time altogether.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Error;

/// A body, as a stream of pieces; after an error it ends.
pub struct Body {
    incoming: Option<Incoming>,
    read: u64,
    bytes_max: u64,
    idle_timeout: Duration,
    end: Instant,
    alarm: Pin<Box<Sleep>>,
}

impl Body {
    /// A body that must come whole until `end`, with no pause longer than `idle_timeout`.
    pub(super) fn new(incoming: Incoming, bytes_max: u64, idle_timeout: Duration, end: Instant) -> Self {
        let alarm = Box::pin(sleep_until(end.min(Instant::now() + idle_timeout)));
        Self { incoming: Some(incoming), read: 0, bytes_max, idle_timeout, end, alarm }
    }

    fn fail(&mut self, error: Error) -> Poll<Option<Result<Bytes, Error>>> {
        self.incoming = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for Body {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            let Some(incoming) = &mut this.incoming else { return Poll::Ready(None) };
            let frame = match Pin::new(incoming).poll_frame(context) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    ready!(this.alarm.as_mut().poll(context));
                    return this.fail(Error::Timeout("reading the body"));
                }
            };
            let part = match frame {
                None => {
                    this.incoming = None;
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return this.fail(Error::Exchange(format!("the body broke off: {error}"))),
                // Trailers say nothing that we use.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(part) => part,
                    Err(_) => continue,
                },
            };
            this.read += part.len() as u64;
            if this.read > this.bytes_max {
                let bytes_max = this.bytes_max;
                return this.fail(Error::TooLarge { bytes_max });
            }
            let now = Instant::now();
            if now >= this.end {
                return this.fail(Error::Timeout("reading the body"));
            }
            let alarm = this.end.min(now + this.idle_timeout);
            this.alarm.as_mut().reset(alarm);
            return Poll::Ready(Some(Ok(part)));
        }
    }
}
