//! One deployment for tests: version 2 of `checkout` replaces version 1, canary and baseline are compared.
#![allow(clippy::unwrap_used, reason = "a test helper may panic")]

use crate::alarm::{AlarmSource, AlarmState, WatchedAlarm};
use crate::deployment::{Deployment, HookFunctions, Record};
use crate::id::{AlarmName, DeploymentId, GroupRef};
use crate::lifecycle::Phase;
use crate::observed::{AutoRollback, Platform, Target};
use crate::policy::{AgainstBaseline, Policy, Settings, SignalPolicy};
use crate::time::Timestamp;
use crate::words::{Mode, Signal};
use std::time::Duration;

/// Second 0: the start of the bucket in which traffic began to shift.
pub(crate) const ORIGIN: Timestamp = Timestamp::from_ms(1_795_169_700_000);

/// The moment so many seconds after the origin, negative before it.
pub(crate) const fn second(seconds: i64) -> Timestamp {
    Timestamp::from_ms(ORIGIN.ms() + seconds * 1000)
}

pub(crate) fn alarm(name: &str) -> AlarmName {
    AlarmName::parse(name).unwrap()
}

/// A signal that compares canary and baseline with the recommended constants.
pub(crate) fn compared(alarms: &[&str]) -> SignalPolicy {
    let alarms: Vec<AlarmName> = alarms.iter().map(|name| alarm(name)).collect();
    SignalPolicy {
        against_baseline: Some(AgainstBaseline::new()),
        is_sufficient: false,
        ..SignalPolicy::of_alarms(alarms)
    }
}

/// Mode `rollback`, errors are compared and have an alarm that is not sufficient alone; a bake of ten minutes.
pub(crate) fn settings() -> Settings {
    let mut settings = (*Policy::without_parameter("checkout")).clone();
    settings.mode = Mode::Rollback;
    settings.bake = Duration::from_secs(600);
    settings.signals.insert(Signal::Errors, compared(&["checkout-5xx"]));
    settings
}

/// In the shift since second 12: a tenth of the traffic, seen at second 15.
pub(crate) fn record(change: impl FnOnce(&mut Settings)) -> Record {
    let mut settings = settings();
    change(&mut settings);
    let policy = Policy::new(settings).unwrap();
    let alarms = policy.signals.iter().flat_map(|(signal, of)| of.alarms.iter().map(|name| (*signal, name.clone())));
    let alarms = alarms.map(|(signal, name)| WatchedAlarm {
        name,
        signal: Some(signal),
        source: AlarmSource::Policy,
        last: Some((AlarmState::Ok, second(-86_400))),
        is_exempt: false,
    });
    let deployment = Deployment {
        id: DeploymentId::parse("d-ABCDEFGHI").unwrap(),
        group: GroupRef::new("shop", "live").unwrap(),
        service: "checkout".to_owned(),
        platform: Platform::Lambda,
        target: Target {
            name: "checkout".to_owned(),
            alias: "live".to_owned(),
            baseline: "1".to_owned(),
            canary: "2".to_owned(),
        },
        canary_revision: None,
        baseline_revision: None,
        hooks: HookFunctions { before: None, after: None },
        creator: "user".to_owned(),
        is_return: false,
        auto_rollback: AutoRollback { on_failure: true, on_alarm: true, on_request: true },
        created_at: second(-30),
        registered_at: second(-29),
        phase: Phase::InShift,
        alarms: alarms.collect(),
        shift_started_at: Some(second(12)),
        weights: vec![(second(-20), 0.0), (second(15), 0.1)],
        bake: None,
        alarms_read_at: Some(second(-20)),
        unreadable_since: None,
        metrics_unreadable_since: None,
        incident: None,
        planned_shift: Some(Duration::from_secs(300)),
        planned_step: Some(Duration::from_secs(300)),
        history_from: None,
        function_timeout: Some(Duration::from_secs(3)),
        bake_passed_at: None,
        doubts: Vec::new(),
        was_held: false,
        refusal: None,
        order: None,
        paused_at: None,
        closed_at: None,
        cause: None,
        trigger: None,
        is_settled: false,
    };
    Record { deployment, version: 1, policy, leases: Vec::new(), rollback: None, notices: Vec::new() }
}
