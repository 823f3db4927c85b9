//! The world around a function, as a rehearsal makes it: what its events tell of that world, and requests that are lost on
//! their way.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{Core, Lambda};
use crate::parts::ApiError;

/// What is wrong around one function.
#[derive(Debug, Default)]
pub(super) struct Outside {
    /// Merged into every event.
    told: Map<String, Value>,
    /// By version.
    losses: BTreeMap<String, Loss>,
}

#[derive(Debug)]
struct Loss {
    /// 0 to 1.
    share: f64,
    /// Requests so far, arrived or not.
    sent: u64,
}

/// Why a request did not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotRun {
    /// Lambda refused it.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// The alias sent it to this version, where it never arrived: no invocation, no metric, no answer.
    #[error("a request to version {version} was lost on its way")]
    Lost {
        /// The version.
        version: String,
    },
}

impl From<NotRun> for ApiError {
    fn from(not_run: NotRun) -> Self {
        match not_run {
            NotRun::Refused(error) => error,
            lost @ NotRun::Lost { .. } => Self::new("ServiceException", lost.to_string()),
        }
    }
}

/// `function` is a name or an ARN.
impl Lambda {
    /// Merges `members` into every event of the function from now on, whoever sends it and whichever version it reaches,
    /// where the event is a JSON object. An empty map ends it.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub fn tell_events(&self, function: &str, members: Map<String, Value>) -> Result<(), ApiError> {
        self.core.with(function, |function| {
            function.outside.told = members;
            Ok(())
        })
    }

    /// Loses this share (0 to 1) of the requests that an alias sends to `version`, spread evenly. Events from the queue, and
    /// requests that name the version itself, arrive.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub fn lose_requests(&self, function: &str, version: &str, share: f64) -> Result<(), ApiError> {
        self.core.with(function, |function| {
            function.outside.losses.insert(version.to_owned(), Loss { share, sent: 0 });
            Ok(())
        })
    }
}

impl Outside {
    /// Whether the next request to `version` is lost.
    #[expect(clippy::cast_precision_loss, reason = "no rehearsal sends 2^52 requests")]
    pub(super) fn loses(&mut self, version: &str) -> bool {
        let Some(loss) = self.losses.get_mut(version) else {
            return false;
        };
        let lost_before = (loss.sent as f64 * loss.share).floor();
        loss.sent += 1;
        (loss.sent as f64 * loss.share).floor() > lost_before
    }
}

impl Core {
    /// The event that the function gets.
    pub(super) fn told(&self, function: &str, payload: Bytes) -> Bytes {
        let told = match self.state().get(function) {
            Ok(function) if !function.outside.told.is_empty() => function.outside.told.clone(),
            Ok(_) | Err(_) => return payload,
        };
        match serde_json::from_slice(&payload) {
            Ok(Value::Object(mut event)) => {
                event.extend(told);
                Bytes::from(Value::Object(event).to_string())
            }
            Ok(_) | Err(_) => payload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_spread_evenly_over_their_version() {
        let mut outside = Outside::default();
        outside.losses.insert("2".to_owned(), Loss { share: 0.98, sent: 0 });
        let lost: Vec<u32> = (0..100).filter(|_| outside.loses("2")).collect();
        assert_eq!(lost.len(), 98);
        assert!((0..100).all(|_| !outside.loses("1")), "another version");
        outside.losses.insert("2".to_owned(), Loss { share: 0.0, sent: 0 });
        assert!((0..100).all(|_| !outside.loses("2")), "fixed");
    }
}
