//! One deployment for tests: version 2 of `checkout` replaces version 1, canary and baseline are compared.
#![allow(clippy::unwrap_used, reason = "a test helper may panic")]

use crate::Timestamp;
use crate::alarm::{AlarmSource, AlarmState, WatchedAlarm};
use crate::deployment::{Deployment, Direction, HookFunctions, Identity, Observation, Requests, Revisions, ShiftPlan};
use crate::id::{AlarmName, DeploymentId, GroupRef};
use crate::lifecycle::{Phase, Shift};
use crate::observed::{AutoRollback, Creator, Platform};
use crate::policy::{AgainstBaseline, Policy, PolicySettings, SignalPolicy};
use crate::record::Record;
use crate::target::{LambdaAlias, Target};
use crate::vocabulary::{Mode, Signal};
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
pub(crate) fn settings() -> PolicySettings {
    let mut settings = (*Policy::without_parameter("checkout")).clone();
    settings.mode = Mode::Rollback;
    settings.bake = Duration::from_secs(600);
    settings.signals.insert(Signal::Errors, compared(&["checkout-5xx"]));
    settings
}

/// In the shift since second 12: a tenth of the traffic, seen at second 15.
pub(crate) fn record(change: impl FnOnce(&mut PolicySettings)) -> Record {
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
        is_shared: false,
        is_early: false,
    });
    let deployment = Deployment {
        identity: Identity {
            id: DeploymentId::parse("d-ABCDEFGHI").unwrap(),
            group: GroupRef::new("shop", "live").unwrap(),
            service: "checkout".to_owned(),
            platform: Platform::Lambda,
            target: Target::LambdaAlias(LambdaAlias {
                function: "checkout".to_owned(),
                alias: "live".to_owned(),
                baseline: "1".to_owned(),
                canary: "2".to_owned(),
            }),
            revisions: Revisions { baseline: None, canary: None },
            direction: Direction::Forward,
            hooks: HookFunctions { before: None, after: None },
            creator: Creator::User,
            auto_rollback: AutoRollback { on_failure: true, on_alarm: true, on_request: true },
            created_at: second(-30),
            registered_at: second(-29),
            shift_plan: ShiftPlan { lasts: Some(Duration::from_secs(300)), step: Some(Duration::from_secs(300)) },
            history_from: None,
            function_timeout: Some(Duration::from_secs(3)),
        },
        observation: Observation {
            alarms: alarms.collect(),
            alarms_read_at: Some(second(-20)),
            alarms_unreadable_since: None,
            metrics_unreadable_since: None,
            shift_started_at: Some(second(12)),
            weights: vec![(second(-20), 0.0), (second(15), 0.1)],
            incident: None,
            notes: Vec::new(),
        },
        requests: Requests { last: None, paused_at: None },
        phase: Phase::InShift(Shift::default()),
        warnings: Vec::new(),
        was_held: false,
    };
    Record { deployment, version: 1, policy, leases: Vec::new(), rollback: None, notices: Vec::new() }
}
