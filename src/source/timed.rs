//! The deadline, on the try itself and on the body that it opens.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Task, Poll, ready};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::{Backend, Context, Error, Fault, Original, OriginalMeta};
use crate::base::Deadline;

/// A backend that answers until the deadline, or not at all.
#[derive(Debug)]
pub struct Timed(pub Arc<dyn Backend>);

impl Backend for Timed {
    fn open<'a>(
        &'a self,
        id: &'a str,
        context: &'a Context,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<Original, Fault>> {
        Box::pin(async move {
            let end = Instant::now() + deadline.left();
            let opened = timeout_at(end, self.0.open(id, context, deadline)).await;
            let Original { meta, body } = opened.unwrap_or(Err(Fault::Source(Error::Timeout)))?;
            let body = Until { body: Some(body), alarm: Box::pin(sleep_until(end)) };
            Ok(Original { meta, body: body.boxed() })
        })
    }

    fn stat<'a>(
        &'a self,
        id: &'a str,
        context: &'a Context,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<OriginalMeta, Fault>> {
        Box::pin(async move {
            let asked = tokio::time::timeout(deadline.left(), self.0.stat(id, context, deadline)).await;
            asked.unwrap_or(Err(Fault::Source(Error::Timeout)))
        })
    }
}

/// A body that fails when its time is up.
struct Until {
    body: Option<BoxStream<'static, Result<Bytes, Error>>>,
    alarm: Pin<Box<Sleep>>,
}

impl Stream for Until {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        if let Poll::Ready(next) = body.as_mut().poll_next(task) {
            return Poll::Ready(next);
        }
        ready!(self.alarm.as_mut().poll(task));
        self.body = None;
        Poll::Ready(Some(Err(Error::Timeout)))
    }
}
