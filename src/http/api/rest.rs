//! What is left of a request's body when its answer is ready: read and thrown away, so that the client, who may still be
//! sending, sees the answer; up to a bound, above which the connection ends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;

/// Most bytes that are read to be thrown away.
const BYTES_MAX: usize = 16 << 20;
/// How long that may take.
const TIME_MAX: Duration = Duration::from_secs(5);

/// A body whose rest can be asked for.
pub struct Shared<B>(Arc<Mutex<B>>);

/// The rest of a body.
pub struct Rest<B>(Arc<Mutex<B>>);

/// A body for the handler, and what it leaves of it.
pub fn shared<B>(body: B) -> (Shared<B>, Rest<B>) {
    let body = Arc::new(Mutex::new(body));
    (Shared(body.clone()), Rest(body))
}

impl<B: Body + Unpin> Body for Shared<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut *self.0.lock()).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
    }
}

impl<B: Body<Data = Bytes> + Unpin> Rest<B> {
    /// Throws the rest away; false where it is too much, or comes too slowly.
    pub async fn drained(self) -> bool {
        let mut body = Shared(self.0);
        if body.is_end_stream() {
            return true;
        }
        if body.size_hint().lower() > BYTES_MAX as u64 {
            return false;
        }
        let drain = async {
            let mut bytes = 0;
            while let Some(Ok(frame)) = body.frame().await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
                if bytes > BYTES_MAX {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(TIME_MAX, drain).await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt as _, stream};
    use http_body_util::StreamBody;

    use super::*;

    type Piece = Result<Frame<Bytes>, std::convert::Infallible>;

    fn piece(bytes: usize) -> Piece {
        Ok(Frame::data(Bytes::from(vec![0; bytes])))
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_handler_left_is_read_up_to_a_bound() {
        let (mut body, rest) = shared(StreamBody::new(stream::iter([piece(5), piece(1 << 20)])));
        assert_eq!(body.frame().await.unwrap().unwrap().data_ref().unwrap().len(), 5);
        assert!(rest.drained().await);
        assert!(body.frame().await.is_none(), "nothing is left");
        let endless = StreamBody::new(stream::repeat_with(|| piece(1 << 20)));
        assert!(!shared(endless).1.drained().await);
        let stalled = StreamBody::new(stream::iter([piece(5)]).chain(stream::pending()));
        assert!(!shared(stalled).1.drained().await);
    }
}
