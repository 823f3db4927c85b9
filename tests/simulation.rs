//! Random stories from a seed: whatever happens, the promises hold. `make sim SEED=…` plays one again.
#![allow(clippy::panic, clippy::expect_used, reason = "a test helper may panic")]

use snapback_app::ports::CallErrorKind;
use snapback_core::alarm::AlarmState;
use snapback_core::deployment::Verb;
use snapback_core::policy::{AgainstBaseline, PolicySettings};
use snapback_core::{DeploymentId, Mode, Outcome, Signal};
use snapback_testkit::{
    Action, Bad, Chaos, Play, Quality, Rules, SimulatedPlatform, Status, World, alarm, at, broken_promises, policy,
    scope_of,
};
use std::time::Duration;

/// Seeds of an ordinary run.
const RUNS: u64 = 300;
/// The trouble ends here; from then on calls are permitted, nothing crashes and the watcher runs.
const TROUBLE_ENDS: u64 = 900;

/// What one seed chose.
#[derive(Debug)]
#[expect(dead_code, reason = "printed when a seed fails")]
struct Plot {
    is_bad: bool,
    mode: Mode,
    is_guarded: bool,
    has_chaos: bool,
    spares_sweep: bool,
    has_outage: bool,
    has_request: bool,
    has_pause: bool,
    compared: Option<Compared>,
}

/// What the numbers of a compared deployment show.
#[derive(Debug, Clone, Copy)]
#[expect(dead_code, reason = "printed when a seed fails")]
struct Compared {
    /// Requests a second.
    per_second: f64,
    /// Whether many requests of the new version fail, are slow or do not arrive, from its first one on.
    is_bad: bool,
    /// Whether there is enough traffic and time to find that for sure.
    is_plain: bool,
}

/// Half of all stories: canary and baseline are compared, and their alarms only make Snapback look. These dice are of their own, so
/// that the other half stays as it is.
fn compare(world: &World, settings: &mut PolicySettings, seed: u64) -> Option<Compared> {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0x5EED);
    if rng.bool() {
        return None;
    }
    for signal in settings.signals.values_mut() {
        signal.against_baseline = Some(AgainstBaseline::new());
        signal.is_sufficient = false;
    }
    let mut availability = settings.signals.get(&Signal::Errors)?.clone();
    availability.alarms.clear();
    settings.signals.insert(Signal::Availability, availability);
    settings.bake = Duration::from_secs(pick(&mut rng, &[0, 120, 300, 600]));
    let per_second = pick(&mut rng, &[0.0, 0.05, 5.0, 20.0, 200.0]);
    world.set_traffic(per_second);
    let is_bad = rng.bool();
    if is_bad {
        let of = Quality::default();
        let qualities = [Quality { errors: 0.4, ..of }, Quality { slow: 0.9, ..of }, Quality { errors: 1.0, ..of }];
        world.set_quality("2", 0, pick(&mut rng, &qualities));
    }
    let is_plain = per_second >= 5.0 && settings.bake >= Duration::from_secs(300);
    Some(Compared { per_second, is_bad, is_plain })
}

/// A quarter of all stories: somebody pauses Snapback, and resumes before the trouble ends. Dice of their own, as above.
fn pause(world: &World, seed: u64) -> bool {
    let mut rng = fastrand::Rng::with_seed(seed ^ 0xCA1F);
    if rng.u8(0..4) > 0 {
        return false;
    }
    for _ in 0..rng.usize(1..3) {
        let scope = scope_of(pick(&mut rng, &["*", "shop/live"]));
        let from = rng.u64(0..300);
        world.script(at(from), Action::Pause(scope.clone()));
        world.script(at((from + rng.u64(1..600)).min(TROUBLE_ENDS)), Action::Resume(scope));
    }
    true
}

fn pick<T: Copy>(rng: &mut fastrand::Rng, choices: &[T]) -> T {
    *rng.choice(choices).expect("something to choose from")
}

fn chaos(rng: &mut fastrand::Rng) -> Chaos {
    let mut share = |most: f64| if rng.bool() { rng.f64() * most } else { 0.0 };
    Chaos {
        fail: share(0.08),
        lose_answer: share(0.05),
        crash_before: share(0.03),
        crash_after: share(0.03),
        lose_event: share(0.3),
        double_event: share(0.5),
        late_event: share(0.4),
        spares_sweep: false,
    }
}

fn set_up(world: &World, rng: &mut fastrand::Rng, seed: u64) -> (Plot, DeploymentId) {
    let modes = [Mode::Rollback, Mode::Rollback, Mode::Rollback, Mode::Advise, Mode::Observe];
    let mut settings = policy();
    settings.mode = pick(rng, &modes);
    settings.bake = Duration::from_secs(pick(rng, &[0, 60, 120, 300]));
    settings.tick = Duration::from_secs(pick(rng, &[2, 5, 10]));
    let mode = settings.mode;
    let compared = compare(world, &mut settings, seed);
    world.set_policy(settings);
    let is_guarded = mode == Mode::Rollback && rng.bool();
    world.set_group(|group| {
        group.is_guarded = is_guarded;
        group.auto_rollback.on_failure = rng.u8(0..4) > 0;
        group.auto_rollback.on_request = rng.bool();
        group.stop_takes = Duration::from_secs(rng.u64(0..20));
        if rng.bool() {
            group.shift = (0..5).map(|step| (Duration::from_secs(30 * step), 0.2 * (step + 1) as f64)).collect();
        }
    });
    let is_bad = rng.bool();
    if is_bad {
        let name = pick(rng, &["checkout-5xx", "checkout-p99"]);
        world.set_bad(Bad::new("2", name, rng.u64(1..200)));
    }
    for _ in 0..rng.usize(0..3) {
        // Alarms of others, and alarms that were red before: raw material for exemptions.
        let name = pick(rng, &["checkout-5xx", "checkout-p99", "somebody-else"]);
        let from = rng.u64(0..5);
        let states = [AlarmState::Alarm, AlarmState::InsufficientData];
        world.script(at(from), Action::Alarm(alarm(name), pick(rng, &states)));
        world.script(at(from + rng.u64(1..300)), Action::Alarm(alarm(name), AlarmState::Ok));
    }
    let has_outage = rng.u8(0..3) == 0;
    if has_outage {
        let calls = [
            "codedeploy:Stop",
            "codedeploy:Put",
            "cloudwatch:",
            "dynamodb:",
            "sns:",
            "ssm:",
            "codedeploy:GetDeploymentTarget",
        ];
        let call = pick(rng, &calls);
        let kind = pick(rng, &[CallErrorKind::Denied, CallErrorKind::Unreachable]);
        let from = rng.u64(0..400);
        world.script(at(from), Action::Break(call, kind));
        world.script(at((from + rng.u64(10..400)).min(TROUBLE_ENDS)), Action::Fix(call));
    }
    let has_chaos = rng.u8(0..4) > 0;
    let spares_sweep = rng.bool();
    if has_chaos {
        world.set_chaos(Chaos { spares_sweep, ..chaos(rng) });
    }
    let id = world.deploy("2");
    let has_request = rng.u8(0..6) == 0;
    if has_request {
        let verb = pick(rng, &[Verb::Promote, Verb::RollBack]);
        world.script(at(rng.u64(5..300)), Action::OperatorRequest(id.clone(), verb));
    }
    let has_pause = pause(world, seed);
    (Plot { is_bad, mode, is_guarded, has_chaos, spares_sweep, has_outage, has_request, has_pause, compared }, id)
}

fn run(seed: u64, runs_on: SimulatedPlatform) -> Vec<String> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let world = World::on(runs_on, rng.u64(..));
    let (plot, id) = set_up(&world, &mut rng, seed);
    let mut play = Play::new(&world).interleaved(rng.u64(..));
    play.until(at(TROUBLE_ENDS));
    world.set_chaos(Chaos::default());
    let is_quiet = play.until_quiet(Duration::from_secs(2 * 3600));
    let trouble = plot.has_chaos || plot.has_outage;
    let mut broken = broken_promises(
        &world,
        Rules {
            in_time: !plot.has_outage && (!plot.has_chaos || plot.spares_sweep),
            may_notify_twice: plot.has_chaos || plot.has_outage,
            may_fail_to_undo: trouble || plot.has_request,
        },
    );
    if !is_quiet {
        broken.push("never quiet".to_owned());
    }
    let record = world.record(&id);
    let is_live = world.alias().share_of("2") > 0.0;
    let acted = !world.rollbacks_of(&id).is_empty();
    if plot.mode != Mode::Rollback && !plot.has_request && acted && !plot.has_chaos && !plot.has_outage {
        broken.push(format!("mode {} acted", plot.mode));
    }
    // Where calls fail, a pause may not be read; then it does not hold.
    if !trouble {
        broken.extend(world.decided_while_paused().into_iter().map(|what| format!("decided while paused: {what}")));
    }
    let is_quiet = plot.mode == Mode::Rollback && !trouble && !plot.has_request && !plot.has_pause;
    if let Some(compared) = plot.compared.filter(|_| is_quiet) {
        if compared.is_bad && compared.is_plain && is_live {
            broken.push(format!("the numbers are bad, and it is live: {:?}", world.outcome(&id)));
        }
        if !compared.is_bad && acted {
            broken.push("the numbers are good, and it was rolled back".to_owned());
        }
    }
    if plot.is_bad && plot.compared.is_none() && is_quiet && is_live {
        // Red before traffic is exempt; anything else should have been seen before the end.
        let outcome = world.outcome(&id);
        let record = record.as_ref().expect("a record");
        let shift = world.shift_started_at(&id);
        let was_red = world.timeline(&id).iter().any(|line| Some(line.at) > shift && line.text.contains("is ALARM"))
            && record.rollback.is_none();
        let exempt = record.deployment.observation.alarms.iter().any(|alarm| alarm.is_exempt)
            || world.timeline(&id).iter().any(|line| line.text.contains("before the deployment"));
        if was_red && !exempt {
            broken.push(format!("the bad version is live: {outcome:?}"));
        }
    }
    let is_over = world.status(&id).is_some_and(|(status, _)| status != Status::InProgress);
    if is_over && record.is_some_and(|record| record.rollback.is_some()) && is_live {
        let outcome = world.outcome(&id);
        if outcome != Some(Outcome::Held) {
            broken.push(format!("rolled back, but the alias says otherwise: {outcome:?}"));
        }
    }
    broken.extend(deploy_again(&world, &mut play, &plot, runs_on));
    if !broken.is_empty() {
        broken.push(format!("{plot:?}"));
        broken
            .extend(world.timeline(&id).into_iter().map(|line| format!("  {} {:?} {}", line.at, line.kind, line.text)));
        broken.extend(
            play.ended
                .iter()
                .filter(|ended| !matches!(ended.result, Some(Ok(()))))
                .map(|ended| format!("  {} {:?} {:?}", ended.at, ended.delivery, ended.result)),
        );
        broken.push(format!("  status {:?}, alias {:?}", world.status(&id), world.alias()));
    }
    broken
}

/// P4 and P6: the same version again, then a fix.
fn deploy_again(world: &World, play: &mut Play<'_>, plot: &Plot, runs_on: SimulatedPlatform) -> Vec<String> {
    let mut broken = Vec::new();
    // A version that nobody moved back by now is still live, or the alias has two: then nobody deploys it again.
    if plot.mode != Mode::Rollback || world.alias().version != "1" || !world.alias().others.is_empty() {
        return broken;
    }
    // The dead-man alarm is fine again some heartbeats after the trouble.
    play.until(at(TROUBLE_ENDS + 300));
    // Where nothing waits for an answer before traffic, nothing can be refused.
    let is_refused = runs_on.capabilities().gates_before_traffic && !world.history().refused.is_empty();
    for version in ["2", "3"] {
        // Version 2 may hurt only after its bake; then the fix meets an alarm that it did not cause.
        if world.alias().version != "1" {
            break;
        }
        let id = world.deploy(version);
        if !play.until_quiet(Duration::from_secs(2 * 3600)) {
            broken.push(format!("version {version} again: never quiet"));
        }
        let saw_traffic = world.shift_started_at(&id).is_some();
        let outcome = world.outcome(&id);
        if version == "2" && is_refused && saw_traffic {
            broken.push(format!("P4: a refused version got traffic again: {outcome:?}"));
        }
        if version == "3" && !outcome.is_some_and(Outcome::is_good) {
            broken.push(format!("P6: the fix did not ship: {outcome:?}"));
            broken.extend(
                world.timeline(&id).into_iter().map(|line| format!("  fix {} {:?} {}", line.at, line.kind, line.text)),
            );
        }
        let strict = Rules { in_time: true, may_notify_twice: true, may_fail_to_undo: true };
        broken.extend(broken_promises(world, strict).into_iter().filter(|line| line.starts_with(id.as_str())));
    }
    broken
}

#[test]
fn promises_hold_for_every_seed() {
    let number = |name: &str| option_env(name).and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_RUNS").unwrap_or(RUNS),
    };
    let mut failed = Vec::new();
    for (seed, runs_on) in seeds.flat_map(|seed| SimulatedPlatform::ALL.map(|runs_on| (seed, runs_on))) {
        let mut broken = run(seed, runs_on);
        if !broken.is_empty() {
            broken.push(format!("on {runs_on:?}"));
            failed.push((seed, broken));
        }
    }
    let first = failed.first().map(|(seed, broken)| format!("replay: make sim SEED={seed}\n{}", broken.join("\n")));
    let all: Vec<String> =
        failed.iter().map(|(seed, broken)| format!("{seed}: {}", broken.first().map_or("", String::as_str))).collect();
    assert!(failed.is_empty(), "{} seeds failed:\n{}\n\n{}", failed.len(), all.join("\n"), first.unwrap_or_default());
}

fn option_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
