//! Every call of a whole story goes wrong once: the end is the same.
#![allow(clippy::panic, clippy::expect_used, reason = "a test helper may panic")]

use snapback_app::ports::CallErrorKind;
use snapback_core::notice::NoticeKind;
use snapback_core::policy::{AgainstBaseline, SignalPolicy};
use snapback_core::{DeploymentId, Outcome, Signal};
use snapback_testkit::{Bad, Fault, How, Play, Quality, Rules, World, alarm, broken_promises, policy};
use std::time::Duration;

/// A story with one thing that goes wrong, and how it must end.
struct Story {
    name: &'static str,
    bad: fn(&World),
    /// The right end, then those that are right when a call failed once.
    outcomes: &'static [Outcome],
    /// What a dead function may lead to instead.
    else_allowed: &'static [Outcome],
}

const STORIES: [Story; 7] = [
    Story {
        name: "healthy",
        bad: |_| {},
        outcomes: &[Outcome::Promoted],
        else_allowed: &[Outcome::RefusedBeforeTraffic],
    },
    Story {
        name: "bad in shift",
        bad: |world| world.set_bad(Bad::new("2", "checkout-5xx", 25)),
        // An alarm event that failed comes again after a minute; by then all traffic has moved.
        outcomes: &[Outcome::RolledBackInShift, Outcome::RolledBackInBake],
        else_allowed: &[Outcome::RefusedBeforeTraffic],
    },
    Story {
        name: "bad in bake",
        bad: |world| world.set_bad(Bad::new("2", "checkout-p99", 100)),
        outcomes: &[Outcome::RolledBackInBake],
        else_allowed: &[Outcome::RefusedBeforeTraffic],
    },
    Story {
        name: "a probe fails",
        bad: |world| world.set_probe(Err(CallErrorKind::NotFound)),
        outcomes: &[Outcome::RefusedBeforeTraffic],
        else_allowed: &[],
    },
    Story {
        name: "compared, healthy",
        bad: |world| compare(world, 180),
        outcomes: &[Outcome::Promoted],
        else_allowed: &[Outcome::RefusedBeforeTraffic],
    },
    Story {
        name: "compared, bad in shift",
        bad: |world| {
            compare(world, 180);
            world.set_quality("2", 0, Quality { errors: 0.3, ..Quality::default() });
        },
        // A minute's delay is enough for all traffic to move.
        outcomes: &[Outcome::RolledBackInShift, Outcome::RolledBackInBake],
        else_allowed: &[Outcome::RefusedBeforeTraffic],
    },
    Story {
        name: "compared, bad in bake",
        bad: |world| {
            compare(world, 60);
            world.set_quality("2", 65, Quality { errors: 0.3, ..Quality::default() });
        },
        outcomes: &[Outcome::RolledBackInBake],
        else_allowed: &[Outcome::RefusedBeforeTraffic],
    },
];

/// Errors and latency are compared, twenty requests a second; all traffic moves after so many seconds.
fn compare(world: &World, shift_s: u64) {
    let mut settings = policy();
    for (signal, name) in [(Signal::Errors, "checkout-5xx"), (Signal::Latency, "checkout-p99")] {
        let against_baseline = Some(AgainstBaseline::new());
        let of_alarms = SignalPolicy::of_alarms(vec![alarm(name)]);
        settings.signals.insert(signal, SignalPolicy { against_baseline, is_sufficient: false, ..of_alarms });
    }
    settings.bake = Duration::from_secs(240);
    world.set_policy(settings);
    world.set_traffic(20.0);
    world.set_group(|group| group.shift = vec![(Duration::ZERO, 0.1), (Duration::from_secs(shift_s), 1.0)]);
}

fn play(story: &Story, fault: Option<Fault>) -> (World, DeploymentId, bool) {
    let world = World::new();
    world.set_policy(policy());
    (story.bad)(&world);
    if let Some(fault) = fault {
        world.add_fault(fault);
    }
    let id = world.deploy("2");
    let is_quiet = Play::new(&world).until_quiet(Duration::from_secs(2 * 3600));
    (world, id, is_quiet)
}

#[test]
fn stories_end_as_told() {
    for story in &STORIES {
        let (world, id, is_quiet) = play(story, None);
        let outcome = world.outcome(&id);
        let told: Vec<String> = world.story(&id).into_iter().map(|line| format!("{} {}", line.at, line.text)).collect();
        assert!(is_quiet, "{}: {told:#?}", story.name);
        assert!(outcome.as_ref() == story.outcomes.first(), "{}: {outcome:?} {told:#?}", story.name);
        let strict = Rules { in_time: true, may_notify_twice: false, may_fail_to_undo: false };
        assert_eq!(broken_promises(&world, strict), Vec::<String>::new(), "{}: {told:#?}", story.name);
    }
}

fn every_call(how: How) {
    for story in &STORIES {
        let (world, _, _) = play(story, None);
        let calls = world.calls();
        let mut wrong = Vec::new();
        for n in 1..=calls {
            let (world, id, is_quiet) = play(story, Some(Fault { at: n, how }));
            let outcome = world.outcome(&id);
            let call = world.faulted().unwrap_or("none");
            let has_died = matches!(how, How::CrashBefore | How::CrashAfter);
            let is_right = outcome.is_some_and(|outcome| {
                story.outcomes.contains(&outcome) || (has_died && story.else_allowed.contains(&outcome))
            });
            // The sender died, or did not hear that SNS took the message.
            let may_notify_twice = match how {
                How::CrashBefore | How::CrashAfter => true,
                How::LoseAnswer(_) => call == "sns:Publish",
                How::Fail(_) => false,
            };
            let mut broken =
                broken_promises(&world, Rules { in_time: true, may_notify_twice, may_fail_to_undo: false });
            if !is_quiet {
                broken.push("never quiet".to_owned());
            }
            if !is_right {
                broken.push(format!("ended {outcome:?}"));
            }
            if world.count_published(&id, NoticeKind::RollbackStuck) > 0 {
                broken.push("paged for nothing".to_owned());
            }
            if !broken.is_empty() {
                wrong.push(format!("call {n} ({call}): {}", broken.join("; ")));
            }
        }
        assert!(wrong.is_empty(), "{} with {how:?}, {} of {calls}:\n{}", story.name, wrong.len(), wrong.join("\n"));
    }
}

#[test]
fn a_call_that_fails_once() {
    every_call(How::Fail(CallErrorKind::Unreachable));
}

#[test]
fn a_call_whose_answer_is_lost() {
    every_call(How::LoseAnswer(CallErrorKind::Unreachable));
}

#[test]
fn a_crash_before_a_call() {
    every_call(How::CrashBefore);
}

#[test]
fn a_crash_after_a_call() {
    every_call(How::CrashAfter);
}
