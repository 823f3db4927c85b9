//! Every call of a whole deployment goes wrong once: the end is the same.
#![allow(clippy::panic, clippy::expect_used, reason = "a test helper may panic")]

use snapback_app::ports::CallErrorKind;
use snapback_core::notice::NoticeKind;
use snapback_core::policy::{AgainstBaseline, SignalPolicy};
use snapback_core::{DeploymentId, Outcome, Signal};
use snapback_testkit::{
    Bad, Fault, How, Play, Quality, Rules, SimulatedPlatform, World, alarm, broken_promises, policy,
};
use std::time::Duration;

/// A plot with one thing that goes wrong, and how it must end.
struct Plot {
    name: &'static str,
    bad: fn(&World),
    /// The right end, then those that are right when a call failed once.
    outcomes: &'static [Outcome],
    /// The right end where nothing can be refused before traffic.
    without_gate: &'static [Outcome],
    /// What a dead function may lead to instead.
    else_allowed: &'static [Outcome],
}

static PLOTS: [Plot; 7] = [
    Plot {
        name: "healthy",
        bad: |_| {},
        outcomes: &[Outcome::Promoted],
        without_gate: &[Outcome::Promoted],
        else_allowed: &[Outcome::RefusedBeforeTraffic],
    },
    Plot {
        name: "bad in shift",
        bad: |world| world.set_bad(Bad::new("2", "checkout-5xx", 25)),
        // An alarm event that failed comes again after a minute; by then all traffic has moved.
        outcomes: &[Outcome::RolledBackInShift, Outcome::RolledBackInBake],
        without_gate: &[Outcome::RolledBackInShift, Outcome::RolledBackInBake],
        else_allowed: &[Outcome::RefusedBeforeTraffic],
    },
    Plot {
        name: "bad in bake",
        bad: |world| world.set_bad(Bad::new("2", "checkout-p99", 100)),
        outcomes: &[Outcome::RolledBackInBake],
        without_gate: &[Outcome::RolledBackInBake],
        else_allowed: &[Outcome::RefusedBeforeTraffic],
    },
    Plot {
        name: "a probe fails",
        bad: |world| world.set_probe(Err(CallErrorKind::NotFound)),
        outcomes: &[Outcome::RefusedBeforeTraffic],
        without_gate: &[Outcome::Promoted],
        else_allowed: &[],
    },
    Plot {
        name: "compared, healthy",
        bad: |world| compare(world, 180),
        outcomes: &[Outcome::Promoted],
        without_gate: &[Outcome::Promoted],
        else_allowed: &[Outcome::RefusedBeforeTraffic],
    },
    Plot {
        name: "compared, bad in shift",
        bad: |world| {
            compare(world, 180);
            world.set_quality("2", 0, Quality { errors: 0.3, ..Quality::default() });
        },
        // A minute's delay is enough for all traffic to move.
        outcomes: &[Outcome::RolledBackInShift, Outcome::RolledBackInBake],
        without_gate: &[Outcome::RolledBackInShift, Outcome::RolledBackInBake],
        else_allowed: &[Outcome::RefusedBeforeTraffic],
    },
    Plot {
        name: "compared, bad in bake",
        bad: |world| {
            compare(world, 60);
            world.set_quality("2", 65, Quality { errors: 0.3, ..Quality::default() });
        },
        outcomes: &[Outcome::RolledBackInBake],
        without_gate: &[Outcome::RolledBackInBake],
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

impl Plot {
    /// The right end on a platform, then those that are right when a call failed once.
    fn ends(&self, runs_on: SimulatedPlatform) -> &'static [Outcome] {
        if runs_on.capabilities().gates_before_traffic { self.outcomes } else { self.without_gate }
    }
}

fn play(plot: &Plot, runs_on: SimulatedPlatform, fault: Option<Fault>) -> (World, DeploymentId, bool) {
    let world = World::on(runs_on, 0);
    world.set_policy(policy());
    (plot.bad)(&world);
    if let Some(fault) = fault {
        world.add_fault(fault);
    }
    let id = world.deploy("2");
    let is_quiet = Play::new(&world).until_quiet(Duration::from_secs(2 * 3600));
    (world, id, is_quiet)
}

/// Each plot on each platform.
fn everywhere() -> impl Iterator<Item = (&'static Plot, SimulatedPlatform)> {
    PLOTS.iter().flat_map(|plot| SimulatedPlatform::ALL.map(|runs_on| (plot, runs_on)))
}

#[test]
fn stories_end_as_told() {
    for (plot, runs_on) in everywhere() {
        let (world, id, is_quiet) = play(plot, runs_on, None);
        let outcome = world.outcome(&id);
        let told: Vec<String> =
            world.timeline(&id).into_iter().map(|line| format!("{} {}", line.at, line.text)).collect();
        assert!(is_quiet, "{}: {told:#?}", plot.name);
        assert!(outcome.as_ref() == plot.ends(runs_on).first(), "{} {runs_on:?}: {outcome:?} {told:#?}", plot.name);
        let strict = Rules { in_time: true, may_notify_twice: false, may_fail_to_undo: false };
        assert_eq!(broken_promises(&world, strict), Vec::<String>::new(), "{}: {told:#?}", plot.name);
    }
}

fn every_call(how: How) {
    for (plot, runs_on) in everywhere() {
        let (world, _, _) = play(plot, runs_on, None);
        let calls = world.calls();
        let mut wrong = Vec::new();
        for n in 1..=calls {
            let (world, id, is_quiet) = play(plot, runs_on, Some(Fault { at: n, how }));
            let outcome = world.outcome(&id);
            let call = world.faulted().unwrap_or("none");
            let has_died = matches!(how, How::CrashBefore | How::CrashAfter);
            let is_right = outcome.is_some_and(|outcome| {
                plot.ends(runs_on).contains(&outcome) || (has_died && plot.else_allowed.contains(&outcome))
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
        assert!(
            wrong.is_empty(),
            "{} on {runs_on:?} with {how:?}, {} of {calls}:\n{}",
            plot.name,
            wrong.len(),
            wrong.join("\n")
        );
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
