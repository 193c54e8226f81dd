//! The one way in from other threads: a queue and a notifier.

/// A handle to a reactor that any thread may hold.
#[derive(Clone)]
pub struct Remote {}

impl Remote {
    /// Runs `work` on the reactor's thread, in its next turn. False where the reactor is gone.
    pub fn run(&self, _work: impl FnOnce() + Send + 'static) -> bool {
        todo!()
    }
}
