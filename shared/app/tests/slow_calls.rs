//! One deployment whose calls are slow holds up nobody: of many that are judged at once, the next one begins as soon as any is done.
#![allow(clippy::unwrap_used, reason = "a test helper may panic")]

use snapback_app::handle_alarm::handle_alarm;
use snapback_app::sweep::{Memory, sweep};
use snapback_core::alarm::AlarmState;
use snapback_core::{DeploymentId, Timestamp};
use snapback_testkit::{Play, World, at, block_on, policy};
use std::time::Duration;

/// What one call about the slow deployment takes longer. Deciding on it takes several.
const SLOW: Duration = Duration::from_secs(3);

/// `count` deployments in a shift that takes an hour; the first one of them is slow, and an alarm that all of them watch is red.
fn one_of_them_is_slow(count: usize) -> (World, Vec<DeploymentId>) {
    let world = World::new();
    world.set_policy(policy());
    world.set_group(|group| group.shift = vec![(Duration::ZERO, 0.1), (Duration::from_secs(3600), 1.0)]);
    let ids: Vec<DeploymentId> = (0..count).map(|_| world.deploy("2")).collect();
    Play::new(&world).until(at(120));
    world.set_slow(ids.first().unwrap(), SLOW);
    world.set_alarm("checkout-5xx", AlarmState::Alarm);
    (world, ids)
}

/// When it was decided to undo each deployment: the slow one, and the last of the others.
fn decided(world: &World, ids: &[DeploymentId]) -> (Timestamp, Timestamp) {
    let at = |id| world.record(id).unwrap().rollback.unwrap().detected_at;
    let (slow, others) = ids.split_first().unwrap();
    (at(slow), others.iter().map(at).max().unwrap())
}

#[test]
fn an_alarm_event_that_concerns_more_than_are_judged_at_once() {
    let (world, ids) = one_of_them_is_slow(12);
    let reading = world.reading("checkout-5xx").unwrap();
    let handled = block_on(&world, handle_alarm(&world, &reading, "e", "alarm")).unwrap().unwrap();
    assert_eq!(handled.deployments, 12);
    let (slow, others) = decided(&world, &ids);
    assert!(others < slow, "the last of the others at {others}, the slow one at {slow}");
}

#[test]
fn a_tick_of_the_sweep_with_more_than_are_judged_at_once() {
    let (world, ids) = one_of_them_is_slow(40);
    // The event goes first; this one was lost.
    world.advance(30);
    block_on(&world, sweep(&world, "watcher", &mut Memory::default())).unwrap().unwrap();
    let (slow, others) = decided(&world, &ids);
    assert!(others < slow, "the last of the others at {others}, the slow one at {slow}");
}
