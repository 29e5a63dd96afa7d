//! Streams, one item at a time.

use std::{future::poll_fn, pin::Pin};

use futures_core::Stream;

/// The next of a stream; nothing once it has ended.
pub(crate) async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|context| Pin::new(&mut *stream).poll_next(context)).await
}
