//! Changing what others change, too: load, decide, store; when somebody else was faster, load and decide again.

use crate::error::AppError;
use crate::ports::{CallError, CallErrorKind, DeploymentStore};
use snapback_core::DeploymentId;
use snapback_core::record::Record;

/// Tries before somebody else is left to finish.
const MAX_TRIES: u32 = 6;

/// Repeats `attempt` while somebody else is faster, at most [`MAX_TRIES`] times. Each attempt decides on what is there and stores
/// it; it is told whether it has to load that again. `what` is for the message: what changed under every try.
///
/// # Errors
/// [`AppError::Contended`] when others were faster under every try; else the first error that is not a conflict.
pub(crate) async fn compare_and_set<T>(
    what: &str,
    attempt: impl AsyncFnMut(bool) -> Result<T, AppError>,
) -> Result<T, AppError> {
    repeat(what, |error| error.is(CallErrorKind::Conflict), attempt).await
}

/// As [`compare_and_set`], for what must not be lost: a write of which nobody knows whether it was stored is repeated, too.
///
/// # Errors
/// As [`compare_and_set`].
pub(crate) async fn compare_and_set_for_sure<T>(
    what: &str,
    attempt: impl AsyncFnMut(bool) -> Result<T, AppError>,
) -> Result<T, AppError> {
    let is_repeated = |error: &CallError| matches!(error.kind, CallErrorKind::Conflict | CallErrorKind::Unreachable);
    repeat(what, is_repeated, attempt).await
}

async fn repeat<T>(
    what: &str,
    is_repeated: impl Fn(&CallError) -> bool,
    mut attempt: impl AsyncFnMut(bool) -> Result<T, AppError>,
) -> Result<T, AppError> {
    for tries in 0..MAX_TRIES {
        match attempt(tries > 0).await {
            Err(AppError::Call(error)) if is_repeated(&error) => tracing::debug!(%error, tries, "{what} changed"),
            other => return other,
        }
    }
    Err(AppError::Contended { what: what.to_owned(), tries: MAX_TRIES })
}

/// A record by the name that [`AppError::Contended`] gives it.
pub(crate) fn record_of(id: &DeploymentId) -> String {
    format!("the record of {id}")
}

/// The record of a deployment that has one.
///
/// # Errors
/// [`AppError::Unknown`] when it has none.
pub(crate) async fn on_record<P: DeploymentStore>(ports: &P, id: &DeploymentId) -> Result<Record, AppError> {
    ports.load(id).await?.ok_or_else(|| AppError::Unknown { id: id.clone() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failing test may panic")]

    use super::*;
    use futures_util::FutureExt;

    fn error(kind: CallErrorKind) -> AppError {
        CallError::new(kind, "dynamodb:TransactWriteItems", "d-ABCDEFGHI", "no").into()
    }

    /// What comes of attempts that fail with `kind` the first `failures` times, and how many there were.
    fn after(failures: u32, kind: CallErrorKind, is_for_sure: bool) -> (Result<u32, &'static str>, u32) {
        let mut attempts = 0;
        let attempt = async |is_again: bool| {
            assert_eq!(is_again, attempts > 0, "all but the first one load again");
            attempts += 1;
            if attempts <= failures { Err(error(kind)) } else { Ok(attempts) }
        };
        let result = if is_for_sure {
            compare_and_set_for_sure("the record", attempt).now_or_never()
        } else {
            compare_and_set("the record", attempt).now_or_never()
        };
        (result.unwrap().map_err(|error| error.word()), attempts)
    }

    #[test]
    fn what_is_tried_again() {
        use CallErrorKind::{Conflict, Denied, Unreachable};
        // (failures, of which kind, whether it must not be lost, result, attempts)
        let table = [
            (0, Conflict, false, Ok(1), 1),
            (1, Conflict, false, Ok(2), 2),
            (5, Conflict, false, Ok(6), 6),
            (6, Conflict, false, Err("Contended"), 6),
            (1, Unreachable, false, Err("Unreachable"), 1),
            (1, Unreachable, true, Ok(2), 2),
            (5, Conflict, true, Ok(6), 6),
            (9, Unreachable, true, Err("Contended"), 6),
            (1, Denied, true, Err("Denied"), 1),
        ];
        for (failures, kind, is_for_sure, result, attempts) in table {
            assert_eq!(after(failures, kind, is_for_sure), (result, attempts), "{failures} {kind:?} {is_for_sure}");
        }
    }

    #[test]
    fn the_message_says_what_changed() {
        let attempt = async |_| Err::<(), _>(error(CallErrorKind::Conflict));
        let result = compare_and_set("the pause of the whole installation", attempt).now_or_never().unwrap();
        let message = result.unwrap_err().to_string();
        assert_eq!(message, "the pause of the whole installation changed under 6 tries in a row");
    }
}
