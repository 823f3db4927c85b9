//! The verbs of a person: promote and roll back, and when it is too early or too late for them.
#![allow(clippy::unwrap_used, reason = "a test helper may panic")]

use snapback_app::error::AppError;
use snapback_app::operate::operate;
use snapback_core::LifecycleEvent::AfterAllowTraffic;
use snapback_core::alarm::AlarmState;
use snapback_core::deployment::Verb;
use snapback_core::{Cause, DeploymentId, Outcome, Trigger};
use snapback_testkit::{Play, World, at, block_on, policy};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

/// A deployment under the policy of the tests.
fn deployed() -> (World, DeploymentId) {
    let world = World::new();
    world.set_policy(policy());
    let id = world.deploy("2");
    (world, id)
}

#[test]
fn a_person_may_promote_or_go_back() {
    // (case, seconds after the start, verb, accepted, answer of the last hook, outcome)
    let table = [
        ("promote in the bake", 90, Verb::Promote, true, Outcome::Promoted),
        ("roll back in the bake", 90, Verb::RollBack, true, Outcome::RolledBackInBake),
        ("roll back in the shift", 30, Verb::RollBack, true, Outcome::RolledBackInShift),
        ("promote in the shift is too early", 30, Verb::Promote, false, Outcome::Promoted),
        ("too late", 400, Verb::RollBack, false, Outcome::Promoted),
    ];
    for (case, second, verb, is_accepted, outcome) in table {
        let (world, id) = deployed();
        let mut play = Play::new(&world);
        play.until(at(second));
        let result = block_on(&world, operate(&world, &id, verb, "ann", "because")).unwrap();
        assert_eq!(result.is_ok(), is_accepted, "{case}: {result:?}");
        if !is_accepted {
            assert!(matches!(result, Err(AppError::NotNow { .. })), "{case}: {result:?}");
        }
        if let Ok(record) = &result
            && verb == Verb::RollBack
        {
            let rollback = record.rollback.clone().unwrap();
            assert_eq!((rollback.cause, rollback.trigger), (Cause::Operator, Trigger::Operator), "{case}");
            assert_eq!(rollback.asked_by, Some(("ann".to_owned(), "because".to_owned())), "{case}");
        }
        assert!(play.until_quiet(HOUR), "{case}");
        assert_eq!(world.outcome(&id), Some(outcome), "{case}");
        if verb == Verb::Promote && is_accepted {
            assert!(world.answer(&id, AfterAllowTraffic).unwrap().1 < at(second + 2), "{case}: at once");
        }
    }
}

#[test]
fn a_person_cannot_promote_what_is_red() {
    let (world, id) = deployed();
    let mut play = Play::new(&world);
    play.until(at(90));
    world.set_alarm("checkout-5xx", AlarmState::Alarm);
    drop(world.take_deliveries());
    block_on(&world, operate(&world, &id, Verb::Promote, "ann", "because")).unwrap().unwrap();
    assert!(play.until_quiet(HOUR));
    assert_eq!(world.outcome(&id), Some(Outcome::RolledBackInBake));
}

#[test]
fn an_unknown_deployment_is_said_to_be_unknown() {
    let world = World::new();
    let id = DeploymentId::parse("d-ABCDEFGHI").unwrap();
    let result = block_on(&world, operate(&world, &id, Verb::Promote, "ann", "because")).unwrap();
    assert!(matches!(result, Err(AppError::Unknown { .. })), "{result:?}");
}
