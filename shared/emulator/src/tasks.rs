//! Background tasks of the emulator: started from anywhere, ended together.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// The background tasks of one emulator. Clones share the same set; [`Tasks::abort_all`] ends all of them.
#[derive(Debug, Clone)]
pub struct Tasks {
    set: Arc<Mutex<JoinSet<()>>>,
    runtime: Handle,
}

impl Tasks {
    /// An empty set on `runtime` (usually `Handle::current()`).
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        Self { set: Arc::default(), runtime }
    }

    /// Runs `task` until it ends or [`Tasks::abort_all`] is called. May be called from any thread.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut set = lock(&self.set);
        // Finished tasks are taken out here, so the set does not grow with every delivery.
        while set.try_join_next().is_some() {}
        set.spawn_on(task, &self.runtime);
    }

    /// Ends every task at its next await.
    pub fn abort_all(&self) {
        lock(&self.set).abort_all();
    }
}

/// Locks `mutex`, also after a panic of another holder: the emulator's states are plain data that no panic leaves half-made.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[tokio::test]
    async fn aborting_ends_a_task_that_would_never_end() {
        struct Flag(Arc<AtomicBool>);
        impl Drop for Flag {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let tasks = Tasks::new(Handle::current());
        let ended = Arc::new(AtomicBool::new(false));
        let flag = Flag(ended.clone());
        tasks.spawn(async move {
            let _flag = flag;
            std::future::pending::<()>().await;
        });
        tasks.abort_all();
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(ended.load(Ordering::SeqCst), "the task is still alive");
    }
}
