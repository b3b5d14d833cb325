//! The orders on their way to one node.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use skerry_agent::wire::Order;
use tokio::sync::mpsc;
use tonic::Status;
use tonic::codegen::BoxStream;

/// What goes to a node: what waits among others first, and otherwise what it is told in order. It ends with the former.
pub(super) struct Outgoing {
    pub(super) others: mpsc::Receiver<Result<Order, Status>>,
    pub(super) telling: Option<BoxStream<Order>>,
}

impl Stream for Outgoing {
    type Item = Result<Order, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Poll::Ready(order) = self.others.poll_recv(context) {
            return Poll::Ready(order);
        }
        match self.telling.as_mut().map(|telling| telling.as_mut().poll_next(context)) {
            Some(Poll::Ready(Some(order))) => Poll::Ready(Some(order)),
            Some(Poll::Ready(None)) => {
                self.telling = None;
                Poll::Pending
            }
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }
}
