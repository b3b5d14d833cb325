//! Sees a body in: appends what comes, holds it to its length, and gives up storing what grows too large.

use std::sync::Arc;

use super::super::remember::REMEMBER;
use super::Trip;
use crate::answer::{cut_short, too_long};
use crate::fetch::{Body, FetchError, FetchErrorKind};
use crate::object::Object;

/// Fails the body when the leader is gone, however that comes, so that no reader waits forever.
struct Guard(Arc<Object>);

impl Drop for Guard {
    fn drop(&mut self) {
        let detail = "the fetch was given up".to_owned();
        self.0.body.fail(FetchError { kind: FetchErrorKind::Cut, detail });
    }
}

impl Trip {
    /// Reads `body` into `object` to its end and stores it, if it is still to be stored.
    pub(super) async fn fill(&mut self, object: Arc<Object>, mut body: Box<dyn Body>) {
        let guard = Guard(Arc::clone(&object));
        let growing = &object.body;
        let mut len = 0;
        loop {
            if !growing.room().await {
                return;
            }
            match body.chunk().await {
                Ok(Some(bytes)) => {
                    len += bytes.len() as u64;
                    if object.length.is_some_and(|length| len > length) {
                        return self.cut(&object, too_long());
                    }
                    growing.append(&bytes);
                    self.bound(&object, len);
                }
                Ok(None) => match object.length {
                    Some(length) if len < length => return self.cut(&object, cut_short(length - len)),
                    _ => break,
                },
                Err(error) => return self.cut(&object, error),
            }
        }
        growing.finish();
        self.store(&object);
        self.lead.land();
        drop(guard);
    }

    fn cut(&mut self, object: &Object, error: FetchError) {
        self.exchange.counters.cut.inc();
        // Nobody may join a body that will not be whole.
        self.lead.land();
        object.body.fail(error);
    }

    /// Turns the body into a window when it is too large to be stored, or too many bodies grow at once.
    fn bound(&mut self, object: &Object, len: u64) {
        let bounds = &self.exchange.bounds;
        let too_large = len > bounds.object_max;
        let too_many = self.exchange.filling.bytes() > bounds.filling_max;
        if !(too_large || too_many) || object.body.is_window() {
            return;
        }
        self.exchange.counters.windows.inc();
        if too_large {
            self.remember(REMEMBER, object.freshness.responded_at);
        }
        self.lead.land();
        object.body.make_window();
    }
}
