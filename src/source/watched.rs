//! A body with somebody who wants to know how it ended.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream::{BoxStream, Stream, StreamExt};

use super::{Error, Original};

/// Who wants to know. Dropped without a call: the body was not read to its end.
pub trait Watcher: Send + Unpin + 'static {
    /// The body came whole, or failed.
    fn ended(self, how: Result<(), &Error>);
}

/// The same original, watched.
pub fn watch(original: Original, watcher: impl Watcher) -> Original {
    let body = Watched { body: original.body, watcher: Some(watcher) };
    Original { meta: original.meta, body: body.boxed() }
}

struct Watched<W> {
    body: BoxStream<'static, Result<Bytes, Error>>,
    watcher: Option<W>,
}

impl<W: Watcher> Stream for Watched<W> {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(self.body.as_mut().poll_next(context));
        let how = match &next {
            Some(Ok(_)) => return Poll::Ready(next),
            Some(Err(error)) => Err(error),
            None => Ok(()),
        };
        if let Some(watcher) = self.watcher.take() {
            watcher.ended(how);
        }
        Poll::Ready(next)
    }
}
