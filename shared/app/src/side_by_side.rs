//! Many calls at once, but not all of them: a service answers sixteen at a time, and memory stays bounded.

use futures_util::future::join_all;

/// Futures that are polled together.
const AT_ONCE: usize = 16;

/// The results of `futures`, in order; at most sixteen of them run at once.
pub(crate) async fn side_by_side<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    at_most(AT_ONCE, futures).await
}

/// As [`side_by_side`], at most `at_once` (1 or more) of them.
pub(crate) async fn at_most<F: Future>(at_once: usize, futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut futures = futures.into_iter();
    let mut results = Vec::new();
    loop {
        let some: Vec<F> = futures.by_ref().take(at_once).collect();
        if some.is_empty() {
            return results;
        }
        results.extend(join_all(some).await);
    }
}
