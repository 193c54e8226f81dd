//! A panic ends its own request and nothing else.

use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// What a panic said.
pub struct Panic(Box<dyn Any + Send>);

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0.downcast_ref::<&'static str>() {
            Some(text) => text,
            None => self.0.downcast_ref().map_or("without a message", String::as_str),
        };
        f.write_str(text)
    }
}

/// Runs a future to its output, or to its panic.
pub async fn caught<F: Future>(mut future: Pin<&mut F>) -> Result<F::Output, Panic> {
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        match polled {
            Ok(poll) => poll.map(Ok),
            Err(payload) => Poll::Ready(Err(Panic(payload))),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[test]
    fn a_panic_is_an_output() {
        let panicking = pin!(async { panic!("at {}", 7) });
        let mut future = pin!(caught(panicking));
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Err(panic)) = future.as_mut().poll(&mut cx) else {
            panic!("no output");
        };
        assert_eq!(panic.to_string(), "at 7");
    }
}
