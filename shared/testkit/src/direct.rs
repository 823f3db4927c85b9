//! Direct calls of versions, as pairs of probes make them: they take their time side by side.

use crate::faults::How;
use crate::world::World;
use snapback_app::ports::{CallReport, Clock, DirectAnswer, DirectOutcome};
use snapback_core::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a direct call takes.
const TAKES: Duration = Duration::from_millis(40);
/// A broken environment is free again after this.
const FAILS_IN: Duration = Duration::from_millis(25);

/// How a version answers direct calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direct {
    /// With this status.
    Status(u16),
    /// Its runtime dies.
    Dies,
    /// One of its environments fails, and gets every call that finds it free.
    OneEnvironmentFails,
    /// Not before the caller gives up.
    Hangs,
    /// Refused: too many calls.
    Throttled,
}

/// All direct calls and what they find.
#[derive(Debug, Default)]
pub(crate) struct DirectCalls {
    /// Version, from, until, how. The last one that fits counts.
    rules: Vec<(String, Timestamp, Timestamp, Direct)>,
    /// Calls to the broken environment of a version that are under way.
    in_broken: BTreeMap<String, u32>,
    /// When which version was called.
    made: Vec<(Timestamp, String)>,
}

/// The broken environment of a version, while it serves a call.
struct InBroken<'w>(&'w World, String);

impl Drop for InBroken<'_> {
    fn drop(&mut self) {
        self.0.state.borrow_mut().direct.in_broken.remove(&self.1);
    }
}

impl World {
    /// From `from` to `to` direct calls of `version` are answered like this.
    pub fn set_direct(&self, version: &str, from: Timestamp, to: Timestamp, how: Direct) {
        self.state.borrow_mut().direct.rules.push((version.to_owned(), from, to, how));
    }

    /// When `version` was called directly, in order.
    #[must_use]
    pub fn direct_calls(&self, version: &str) -> Vec<Timestamp> {
        let state = self.state.borrow();
        state.direct.made.iter().filter(|(_, called)| called == version).map(|(at, _)| *at).collect()
    }

    pub(crate) async fn call_directly(&self, function: &str, version: &str, limit: Duration) -> DirectAnswer {
        let name = "lambda:InvokeFunction";
        let wrong = self.state.borrow_mut().begin_side_call(name);
        match wrong {
            None => {}
            Some(How::CrashBefore | How::CrashAfter) => return self.crash().await,
            Some(How::Fail(kind) | How::LoseAnswer(kind)) => {
                let why = format!("{name} {function}: {kind:?}");
                return DirectAnswer { outcome: DirectOutcome::NotServed(why), took: Duration::ZERO, report: None };
            }
        }
        let how = {
            let mut state = self.state.borrow_mut();
            let now = state.now;
            state.direct.made.push((now, version.to_owned()));
            let fits = |(of, from, to, _): &&(String, Timestamp, Timestamp, Direct)| {
                of == version && (*from..*to).contains(&now)
            };
            state.direct.rules.iter().rfind(fits).map_or(Direct::Status(200), |rule| rule.3)
        };
        let answer = |outcome, took, ran_for: Option<Duration>| {
            let report = ran_for.map(|ran_for| CallReport { ran_for, is_cold: false });
            DirectAnswer { outcome, took, report }
        };
        match how {
            Direct::Status(status) => {
                self.sleep(TAKES).await;
                answer(DirectOutcome::Answered(Some(status)), TAKES, Some(TAKES))
            }
            Direct::Dies => {
                self.sleep(TAKES).await;
                answer(DirectOutcome::RuntimeDied("Runtime.ExitError".to_owned()), TAKES, Some(TAKES))
            }
            Direct::Hangs => {
                self.sleep(limit).await;
                answer(DirectOutcome::TimedOut, limit, None)
            }
            Direct::Throttled => answer(DirectOutcome::Throttled, Duration::ZERO, None),
            Direct::OneEnvironmentFails => {
                let is_free = self.state.borrow_mut().direct.in_broken.insert(version.to_owned(), 1).is_none();
                if !is_free {
                    self.sleep(TAKES).await;
                    return answer(DirectOutcome::Answered(Some(200)), TAKES, Some(TAKES));
                }
                let _busy = InBroken(self, version.to_owned());
                self.sleep(FAILS_IN).await;
                let outcome = DirectOutcome::FunctionError("no connection to the database".to_owned());
                answer(outcome, FAILS_IN, Some(FAILS_IN))
            }
        }
    }
}
