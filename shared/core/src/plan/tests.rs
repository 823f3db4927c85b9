//! Decision tables: what is known, and what is done about it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test helper may panic")]

use super::*;
use crate::alarm::AlarmState;
use crate::deployment::{Bake, Incident, Lease, Order};
use crate::example::{alarm, compared, record, second};
use crate::id::{DeploymentId, ExecutionId, GroupRef};
use crate::judged::Finding;
use crate::lifecycle::Phase;
use crate::observed::{AliasFacts, DeploymentFacts, DeploymentStatus, EventFacts, Platform, TargetFacts};
use crate::pause::{Said, Scope};
use crate::policy::{AtDeadline, Expect, Probe, ProbeKind, Settings, SignalPolicy, WithoutEvidence};
use crate::sla::Objective;

/// The bake of the examples begins and ends here, in seconds.
const BAKE: (i64, i64) = (320, 920);
/// When the rows of the shift and of the bake are decided.
const IN_SHIFT: i64 = 200;
const IN_BAKE: i64 = 500;

/// One row's facts.
struct Facts {
    record: Record,
    story: Vec<Evidence>,
    readings: Readings,
    judged: Option<Judged>,
    suffering: Suffering,
    control: Control,
    pauses: Vec<Pause>,
    trigger: Trigger,
    now_s: i64,
}

impl Facts {
    fn in_shift(change: impl FnOnce(&mut Settings)) -> Self {
        Self {
            record: record(|settings| {
                settings.before_traffic.probes = vec![probe(ProbeKind::Invoke { payload: "{}".to_owned() })];
                change(settings);
            }),
            story: Vec::new(),
            readings: Readings::None,
            judged: Some(fine(IN_SHIFT)),
            suffering: Suffering { baseline: Some(false), canary: Some(true) },
            control: Control::BothPass,
            pauses: Vec::new(),
            trigger: Trigger::Alarm,
            now_s: IN_SHIFT,
        }
    }

    fn in_bake(change: impl FnOnce(&mut Settings)) -> Self {
        let mut facts = Self { judged: Some(fine(IN_BAKE)), now_s: IN_BAKE, ..Self::in_shift(change) };
        let deployment = &mut facts.record.deployment;
        deployment.phase = Phase::InBake;
        deployment.weights.push((second(310), 1.0));
        deployment.bake = Some(Bake { started_at: second(BAKE.0), ends_at: second(BAKE.1) });
        facts.record.leases.push(Lease {
            event: LifecycleEvent::AfterAllowTraffic,
            execution_id: ExecutionId::parse("execution-1").unwrap(),
            owner: "hook".to_owned(),
            taken_at: second(BAKE.0 + 1),
            deadline: second(BAKE.0 + 3300),
            result: None,
            answered: None,
        });
        facts
    }

    /// At the end of the bake, all alarms just read.
    fn at_end(change: impl FnOnce(&mut Settings)) -> Self {
        let mut facts =
            Self { judged: Some(fine(1000)), now_s: 1000, trigger: Trigger::Sweep, ..Self::in_bake(change) };
        facts.readings = Readings::All(Vec::new(), second(1000));
        facts
    }

    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// An alarm went red at that second, and its event is here.
    fn red(self, name: &str, since_s: i64) -> Self {
        self.with(|facts| {
            let reading = red(name, since_s);
            facts.readings = Readings::Event { reading, source: "event-1".to_owned() };
        })
    }

    fn judged(self, change: impl FnOnce(&mut Judged)) -> Self {
        self.with(|facts| change(facts.judged.as_mut().unwrap()))
    }

    fn shared(self) -> Self {
        self.with(|facts| facts.suffering = Suffering { baseline: Some(true), canary: Some(true) })
    }

    fn probes(self, control: Control) -> Self {
        self.with(|facts| facts.control = control)
    }

    /// A shared incident since then, looked at last at.
    fn incident(self, since_s: i64, checked_s: i64) -> Self {
        self.with(|facts| {
            let (since, checked_at) = (second(since_s), second(checked_s));
            let incident = Incident { since, checked_at, over_at: None, cause: Cause::Errors };
            facts.record.deployment.incident = Some(incident);
            facts.record.deployment.was_held = true;
        })
    }

    fn at(self, now_s: i64) -> Self {
        self.with(|facts| {
            facts.now_s = now_s;
            if let Readings::All(_, at) = &mut facts.readings {
                *at = second(now_s);
            }
            if let Some(judged) = facts.judged.as_mut() {
                judged.until = second(now_s - 90);
            }
        })
    }

    /// Paused since then, and on record as such.
    fn paused(self, scope: &str, since_s: i64) -> Self {
        self.with(|facts| {
            let pause = pause(scope, since_s);
            facts.record.deployment.paused_at =
                pause.scope.covers(Some(&facts.record.deployment.group)).then_some(pause.began.at);
            facts.pauses.push(pause);
        })
    }

    fn observed(&self) -> Observed {
        let deployment = &self.record.deployment;
        let share = deployment.canary_share();
        let started = |at_s| EventFacts { is_in_progress: false, started_at: Some(second(at_s)), ended_at: None };
        let is_baking = deployment.bake.is_some();
        Observed {
            deployment: DeploymentFacts {
                id: DeploymentId::parse("d-ABCDEFGHI").unwrap(),
                group: GroupRef::new("shop", "live").unwrap(),
                platform: Platform::Lambda,
                status: DeploymentStatus::Running,
                creator: "user".to_owned(),
                config: None,
                app_spec: None,
                created_at: second(-30),
                completed_at: None,
                error: None,
                rollback_deployment: None,
                rolls_back: None,
                auto_rollback: None,
            },
            target: Some(TargetFacts {
                before: started(-25),
                allow: started(12),
                after: if is_baking { started(BAKE.0) } else { EventFacts::default() },
                target: None,
            }),
            alias: Some(AliasFacts {
                version: if share >= 1.0 { "2" } else { "1" }.to_owned(),
                others: if share >= 1.0 { Vec::new() } else { vec![("2".to_owned(), share)] },
            }),
            rollback: None,
        }
    }

    /// What is done next, with nothing seen but `observed`.
    fn step(&self, observed: &Observed) -> Step {
        let caller = Caller { trigger: self.trigger, owner: "me".to_owned() };
        next_step(&Case {
            record: &self.record,
            observed,
            readings: &Readings::None,
            judged: None,
            suffering: &[],
            control: None,
            pauses: &self.pauses,
            caller: &caller,
            now: second(self.now_s),
        })
    }

    /// Everything that is done in one visit, in words.
    fn visit(&mut self) -> Vec<String> {
        let observed = self.observed();
        let caller = Caller { trigger: self.trigger, owner: "me".to_owned() };
        let (mut suffering, mut control) = (Vec::new(), None);
        let mut done = Vec::new();
        for _ in 0..20 {
            let case = Case {
                record: &self.record,
                observed: &observed,
                readings: &self.readings,
                judged: self.judged.as_ref(),
                suffering: &suffering,
                control,
                pauses: &self.pauses,
                caller: &caller,
                now: second(self.now_s),
            };
            match next_step(&case) {
                Step::Rest => return done,
                Step::LookAtVersions(signal) => {
                    done.push(format!("look at {signal}"));
                    suffering.push((signal, self.suffering));
                }
                Step::ControlProbe => {
                    done.push("probe".to_owned());
                    control = Some(self.control);
                }
                Step::Record(deployment, writes) => done.extend(self.store(*deployment, writes)),
                Step::Send(kind) => {
                    done.push(format!("tell {}", kind.as_str()));
                    let now = second(self.now_s);
                    let notice = self.record.notices.iter_mut().find(|notice| notice.kind == kind).unwrap();
                    notice.delivery = Delivery::Sent(now);
                }
                Step::Answer(event, status, _) => {
                    done.push(format!("answer {status}"));
                    let now = second(self.now_s);
                    let lease = self.record.leases.iter_mut().find(|lease| lease.event == event).unwrap();
                    lease.answered = Some((status, now));
                }
                Step::Undo(_) => return done,
                step @ (Step::ReadAlarms | Step::StopBeforeTraffic | Step::Settle) => panic!("{step:?} after {done:?}"),
            }
        }
        panic!("it never rests: {done:?}");
    }

    fn store(&mut self, deployment: Deployment, writes: Vec<Write>) -> Option<String> {
        let before = std::mem::replace(&mut self.record.deployment, deployment);
        let after = &self.record.deployment;
        self.record.version += 1;
        let mut word = None;
        for write in writes {
            match write {
                Write::Rollback(rollback) => {
                    word = Some(format!("go back: {}", rollback.cause));
                    self.record.rollback = Some(rollback);
                }
                Write::Notice(notice) => self.record.notices.push(notice),
                Write::Evidence(line) => self.story.push(line),
                Write::Lease(_) | Write::Good(_) | Write::Refused(_) => {}
            }
        }
        let is_open = |deployment: &Deployment| deployment.incident.is_some_and(|incident| incident.is_open());
        word.or_else(|| match (is_open(&before), is_open(after)) {
            (false, true) => Some("hold: shared".to_owned()),
            (true, false) => Some("over".to_owned()),
            (true, true) if before.incident != after.incident => Some("still".to_owned()),
            (true, true) | (false, false) if after.was_held && !before.was_held => Some("hold: blind".to_owned()),
            (true, true) | (false, false) if after.doubts.len() > before.doubts.len() => Some("doubt".to_owned()),
            (true, true) | (false, false) if after.bake_passed_at != before.bake_passed_at => Some("passed".to_owned()),
            // What intake takes over.
            (true, true) | (false, false) => None,
        })
    }
}

fn pause(scope: &str, since_s: i64) -> Pause {
    let began = Said { at: second(since_s), who: "ann".to_owned(), why: "false alarms".to_owned() };
    Pause { scope: Scope::parse(scope).unwrap(), began, ended: None }
}

fn shift(change: impl FnOnce(&mut Settings)) -> Facts {
    Facts::in_shift(change)
}

fn bake(change: impl FnOnce(&mut Settings)) -> Facts {
    Facts::in_bake(change)
}

fn end(change: impl FnOnce(&mut Settings)) -> Facts {
    Facts::at_end(change)
}

fn probe(kind: ProbeKind) -> Probe {
    Probe { kind, expect: Expect { status: Some(200), within: None }, times: 1 }
}

fn red(name: &str, since_s: i64) -> AlarmReading {
    AlarmReading {
        name: alarm(name),
        state: AlarmState::Alarm,
        since: second(since_s),
        previous: None,
        reason: "Threshold Crossed".to_owned(),
        oldest_breaching: None,
    }
}

/// Everything that ended 90 seconds ago is judged, nothing is bad, there was enough to tell.
fn fine(now_s: i64) -> Judged {
    Judged { until: second(now_s - 60), is_conclusive: true, ..Judged::nothing() }
}

fn finding(signal: Signal, is_concurrent: bool, is_sufficient: bool) -> Option<Finding> {
    Some(Finding {
        signal: Some(signal),
        cause: Cause::from(signal),
        why: "version 2 is worse".to_owned(),
        impact_started_at: Some(second(60)),
        alarms: Vec::new(),
        is_sufficient,
        is_concurrent,
    })
}

fn of_alarms(settings: &mut Settings) {
    settings.signals.insert(Signal::Errors, SignalPolicy::of_alarms(vec![alarm("checkout-5xx")]));
}

fn sufficient(settings: &mut Settings) {
    settings.signals.get_mut(&Signal::Errors).unwrap().is_sufficient = true;
}

fn advise(settings: &mut Settings) {
    settings.mode = Mode::Advise;
    sufficient(settings);
}

fn observe(settings: &mut Settings) {
    settings.mode = Mode::Observe;
    sufficient(settings);
}

fn check(table: Vec<(&str, Facts, &[&str])>) {
    for (case, mut facts, expected) in table {
        assert_eq!(facts.visit(), expected, "{case}");
    }
}

#[test]
fn a_finding_in_the_shift() {
    let both = |facts: &mut Facts| facts.judged.as_mut().unwrap().burning = finding(Signal::Sla, false, true);
    check(vec![
        ("nothing", shift(|_| {}), &[]),
        ("nothing, and nobody compared", shift(|_| {}).with(|f| f.judged = None), &[]),
        // An alarm.
        (
            "an alarm beside a comparison makes us look",
            shift(|_| {}).red("checkout-5xx", 150),
            &["look at errors", "doubt"],
        ),
        ("it is sufficient", shift(sufficient).red("checkout-5xx", 150), &["look at errors", "go back: errors"]),
        ("alarms alone", shift(of_alarms).red("checkout-5xx", 150), &["look at errors", "go back: errors"]),
        (
            "nobody can tell who suffers: the alarm decides",
            shift(sufficient).red("checkout-5xx", 150).with(|f| f.suffering = Suffering::default()),
            &["look at errors", "go back: errors"],
        ),
        (
            "both suffer",
            shift(sufficient).red("checkout-5xx", 150).shared(),
            &["look at errors", "hold: shared", "tell shared-incident"],
        ),
        (
            "both suffer, seen by an alarm that is not sufficient",
            shift(|_| {}).red("checkout-5xx", 150).shared(),
            &["look at errors", "hold: shared", "tell shared-incident"],
        ),
        ("red since before the shift", shift(sufficient).red("checkout-5xx", 12), &[]),
        (
            "exempt",
            shift(sufficient).red("checkout-5xx", 150).with(|f| f.record.deployment.alarms[0].is_exempt = true),
            &[],
        ),
        ("nobody watches it", shift(sufficient).red("somebody-else", 150), &[]),
        // A comparison.
        (
            "compared in the same minutes: whoever else suffers",
            shift(|_| {}).judged(|j| j.verdict = finding(Signal::Errors, true, true)).shared(),
            &["go back: errors"],
        ),
        (
            "compared with the past",
            shift(|_| {}).judged(|j| j.verdict = finding(Signal::Latency, false, true)),
            &["look at latency", "go back: latency"],
        ),
        (
            "compared with the past, both suffer",
            shift(|_| {}).judged(|j| j.verdict = finding(Signal::Latency, false, true)).shared(),
            &["look at latency", "hold: shared", "tell shared-incident"],
        ),
        // An objective.
        (
            "the budget burns",
            shift(|_| {}).judged(|j| j.burning = finding(Signal::Sla, false, true)),
            &["look at sla", "go back: sla"],
        ),
        (
            "the budget burns, both suffer",
            shift(|_| {}).judged(|j| j.burning = finding(Signal::Sla, false, true)).shared(),
            &["look at sla", "hold: shared", "tell shared-incident"],
        ),
        (
            "the budget burns, which is not sufficient",
            shift(|_| {}).judged(|j| j.burning = finding(Signal::Sla, false, false)),
            &["look at sla", "doubt"],
        ),
        // Several.
        (
            "an alarm that is not sufficient does not hide a budget that burns",
            shift(|_| {}).red("checkout-5xx", 150).with(both),
            &["look at errors", "doubt", "look at sla", "go back: sla"],
        ),
        (
            "the comparison goes before the alarm",
            shift(sufficient).red("checkout-5xx", 150).judged(|j| j.verdict = finding(Signal::Latency, true, true)),
            &["go back: latency"],
        ),
    ]);
}

#[test]
fn modes_in_the_shift() {
    let only_latency = |mode| {
        move |settings: &mut Settings| {
            settings.signals.insert(Signal::Latency, SignalPolicy { mode: Some(mode), ..compared(&["checkout-p99"]) });
        }
    };
    let burning = |j: &mut Judged| j.burning = finding(Signal::Sla, false, true);
    let objective = |mode| {
        move |settings: &mut Settings| {
            let of = SignalPolicy::of_alarms(Vec::new());
            settings.signals.insert(Signal::Sla, SignalPolicy { mode, objective: Objective::new(0.999), ..of });
        }
    };
    check(vec![
        ("advise", shift(advise).red("checkout-5xx", 150), &["doubt", "tell advice"]),
        ("observe", shift(observe).red("checkout-5xx", 150), &["doubt"]),
        (
            "advise on a comparison",
            shift(advise).judged(|j| j.advice = finding(Signal::Errors, true, true)),
            &["doubt", "tell advice"],
        ),
        ("observe a comparison", shift(observe).judged(|j| j.advice = finding(Signal::Errors, true, true)), &["doubt"]),
        (
            "one signal advises",
            shift(only_latency(Mode::Advise)).judged(|j| j.advice = finding(Signal::Latency, true, true)),
            &["doubt", "tell advice"],
        ),
        (
            "one signal observes",
            shift(only_latency(Mode::Observe)).judged(|j| j.advice = finding(Signal::Latency, true, true)),
            &["doubt"],
        ),
        (
            "one advises, another goes back",
            shift(only_latency(Mode::Advise)).judged(|j| {
                j.advice = finding(Signal::Latency, true, true);
                j.verdict = finding(Signal::Errors, true, true);
            }),
            &["go back: errors"],
        ),
        ("the objective only advises", shift(objective(Some(Mode::Advise))).judged(burning), &["doubt", "tell advice"]),
        ("the objective may", shift(objective(None)).judged(burning), &["look at sla", "go back: sla"]),
    ]);
}

#[test]
fn what_was_said_is_not_said_again() {
    let table = [
        ("advice of an alarm", Facts::in_shift(advise).red("checkout-5xx", 150)),
        ("advice of a comparison", Facts::in_shift(advise).judged(|j| j.advice = finding(Signal::Errors, true, true))),
        ("a doubt", Facts::in_shift(|_| {}).red("checkout-5xx", 150)),
        (
            "an objective that is not sufficient",
            Facts::in_shift(|_| {}).judged(|j| j.burning = finding(Signal::Sla, false, false)),
        ),
    ];
    for (case, mut facts) in table {
        assert!(facts.visit().contains(&"doubt".to_owned()), "{case}");
        for _ in 0..3 {
            facts.now_s += 60;
            let again: Vec<String> = facts.visit().into_iter().filter(|word| !word.starts_with("look")).collect();
            assert_eq!(again, Vec::<String>::new(), "{case}");
        }
        assert_eq!(facts.record.deployment.doubts.len(), 1, "{case}");
        assert!(!facts.record.deployment.doubts[0].ends_with(": "), "{case}: {}", facts.record.deployment.doubts[0]);
    }
}

#[test]
fn the_sweep_lets_the_event_go_first() {
    let sweep = |since_s: i64, now_s: i64| {
        let facts = Facts::in_shift(sufficient).with(|facts| {
            facts.trigger = Trigger::Sweep;
            facts.readings = Readings::All(vec![red("checkout-5xx", since_s)], second(now_s));
            facts.now_s = now_s;
        });
        facts.with(|_| {})
    };
    check(vec![
        ("one tick old", sweep(190, 200), &[]),
        ("two ticks old", sweep(180, 200), &["look at errors", "go back: errors"]),
    ]);
}

#[test]
fn a_finding_at_all_traffic() {
    use Control::{BothFail, BothPass, OnlyBaselineFails, OnlyCanaryFails, Unknown};
    let held: &[&str] = &["probe", "hold: shared", "tell shared-incident"];
    let verdict =
        |is_concurrent| move |judged: &mut Judged| judged.verdict = finding(Signal::Errors, is_concurrent, true);
    let of_alarm = |change: fn(&mut Settings), control| bake(change).red("checkout-5xx", 400).probes(control);
    let of_comparison = |control| bake(|_| {}).judged(verdict(false)).probes(control);
    let http = |settings: &mut Settings| {
        sufficient(settings);
        settings.before_traffic.probes = vec![probe(ProbeKind::Http { url: "https://example.com".to_owned() })];
    };
    check(vec![
        ("nothing", bake(|_| {}), &[]),
        // An alarm that is sufficient.
        ("probes pass on both: the alarm decides", of_alarm(sufficient, BothPass), &["probe", "go back: errors"]),
        ("probes fail on both", of_alarm(sufficient, BothFail), held),
        ("only the new one fails", of_alarm(sufficient, OnlyCanaryFails), &["probe", "go back: errors"]),
        (
            "only the old one fails, which says nothing of the new one",
            of_alarm(sufficient, OnlyBaselineFails),
            &["probe", "go back: errors"],
        ),
        ("nobody could ask", of_alarm(sufficient, Unknown), &["probe", "go back: errors"]),
        ("no probe reaches a version", bake(http).red("checkout-5xx", 400).probes(BothFail), &["go back: errors"]),
        // One that is not.
        ("not sufficient, probes pass on both", of_alarm(|_| {}, BothPass), &["probe", "doubt"]),
        ("not sufficient, probes fail on both", of_alarm(|_| {}, BothFail), held),
        ("not sufficient, only the new one fails", of_alarm(|_| {}, OnlyCanaryFails), &["probe", "go back: errors"]),
        ("not sufficient, nobody could ask", of_alarm(|_| {}, Unknown), &["probe", "doubt"]),
        // A comparison with the past.
        ("worse than the past, probes pass on both", of_comparison(BothPass), &["probe", "go back: errors"]),
        ("worse than the past, probes fail on both", of_comparison(BothFail), held),
        ("worse than the past, only the new one fails", of_comparison(OnlyCanaryFails), &["probe", "go back: errors"]),
        (
            "worse than the past, only the old one fails",
            of_comparison(OnlyBaselineFails),
            &["probe", "go back: errors"],
        ),
        ("worse than the past, nobody could ask", of_comparison(Unknown), &["probe", "go back: errors"]),
        (
            "it was worse in the same minutes, probes pass on both",
            bake(|_| {}).judged(verdict(true)),
            &["probe", "go back: errors"],
        ),
        (
            "it was worse in the last minute of both, probes fail on both",
            bake(|_| {}).judged(verdict(true)).probes(BothFail),
            held,
        ),
        // An objective.
        (
            "the budget burns, probes fail on both",
            bake(|_| {}).judged(|j| j.burning = finding(Signal::Sla, false, true)).probes(BothFail),
            held,
        ),
        (
            "all traffic, but the hook of the bake has not begun",
            Facts::in_shift(sufficient).red("checkout-5xx", 150).probes(BothFail).with(|facts| {
                facts.record.deployment.weights.push((second(140), 1.0));
            }),
            held,
        ),
        ("advise does not probe", bake(advise).red("checkout-5xx", 400), &["doubt", "tell advice"]),
    ]);
}

#[test]
fn a_shared_incident_in_the_shift() {
    let held = |since_s, checked_s| Facts::in_shift(sufficient).incident(since_s, checked_s);
    let suffering = |baseline, canary| move |facts: &mut Facts| facts.suffering = Suffering { baseline, canary };
    let verdict =
        |is_concurrent| move |judged: &mut Judged| judged.verdict = finding(Signal::Errors, is_concurrent, true);
    check(vec![
        ("looked at a moment ago", held(140, 141), &[]),
        ("a minute later both still suffer", held(140, 140).shared(), &["look at errors", "still"]),
        (
            "the old version is fine again",
            held(140, 140).with(suffering(Some(false), Some(true))),
            &["look at errors", "over"],
        ),
        (
            "the new version is fine again",
            held(140, 140).with(suffering(Some(true), Some(false))),
            &["look at errors", "over"],
        ),
        ("nobody can tell: that is no end", held(140, 140).with(suffering(None, None)), &["look at errors", "still"]),
        ("an alarm goes red meanwhile: it is exempt", held(140, 141).red("checkout-5xx", 190), &[]),
        ("worse in the same minutes all the same", held(140, 141).judged(verdict(true)), &["go back: errors"]),
        ("worse than the past says nothing now", held(140, 141).judged(verdict(false)), &[]),
        (
            "what was judged before its end is not held against the new version",
            held(140, 140).judged(verdict(false)).with(suffering(Some(false), Some(false))),
            &["look at errors", "over"],
        ),
        (
            "nor a budget that burned in it",
            held(140, 140)
                .judged(|j| j.burning = finding(Signal::Sla, false, true))
                .with(suffering(Some(false), Some(false))),
            &["look at errors", "over"],
        ),
    ]);
}

#[test]
fn a_shared_incident_at_all_traffic() {
    use Control::{BothFail, BothPass, OnlyBaselineFails, OnlyCanaryFails, Unknown};
    let held = |control| Facts::in_bake(sufficient).incident(440, 440).probes(control);
    let still_red = |facts: &mut Facts| {
        let alarm = &mut facts.record.deployment.alarms[0];
        (alarm.last, alarm.is_exempt) = (Some((AlarmState::Alarm, second(400))), true);
    };
    let verdict = |judged: &mut Judged| judged.verdict = finding(Signal::Errors, false, true);
    check(vec![
        ("looked at a moment ago", held(BothPass).incident(440, 460), &[]),
        ("both still fail", held(BothFail), &["probe", "still"]),
        ("only the old one fails still", held(OnlyBaselineFails), &["probe", "over"]),
        ("both pass again", held(BothPass), &["probe", "over"]),
        ("only the new one fails now", held(OnlyCanaryFails), &["probe", "go back: errors"]),
        ("nobody can ask, its alarm is red", held(Unknown).with(still_red), &["probe", "still"]),
        ("nobody can ask, its alarm is fine", held(Unknown), &["probe", "still"]),
        ("there is no probe, its alarm is fine", held(Unknown).with(no_probe), &["over"]),
        ("there is no probe, its alarm is red", held(Unknown).with(no_probe).with(still_red), &["still"]),
        ("there is no probe, the numbers are bad", held(Unknown).with(no_probe).judged(verdict), &["still"]),
        ("judged before its end: not held against the new version", held(BothPass).judged(verdict), &["probe", "over"]),
    ]);
}

#[test]
fn after_an_incident_the_new_version_is_judged_anew() {
    let after = |until_s: i64| {
        let facts = Facts::in_bake(sufficient).incident(400, 440).judged(|judged| {
            judged.verdict = finding(Signal::Errors, false, true);
            judged.until = second(until_s);
        });
        facts.with(|facts| facts.record.deployment.incident.as_mut().unwrap().over_at = Some(second(440)))
    };
    check(vec![
        ("judged before it was over", after(420), &[]),
        ("judged since", after(480), &["probe", "go back: errors"]),
        ("a new one", after(480).probes(Control::BothFail), &["probe", "hold: shared", "tell shared-incident"]),
        ("an alarm that went red since", after(420).red("checkout-5xx", 460), &["probe", "go back: errors"]),
    ]);
}

#[test]
fn the_page_about_an_incident_is_sent_once() {
    let mut facts = Facts::in_bake(sufficient).red("checkout-5xx", 400).probes(Control::BothFail);
    assert_eq!(facts.visit(), ["probe", "hold: shared", "tell shared-incident"]);
    assert!(facts.record.deployment.was_held);
    assert!(facts.record.deployment.alarms[0].is_exempt, "it says nothing about the new version any more");
    let mut told = Vec::new();
    for _ in 0..5 {
        facts.now_s += 60;
        told.extend(facts.visit());
    }
    assert_eq!(told, ["probe", "still"].repeat(5));
    facts.control = Control::BothPass;
    facts.now_s += 60;
    assert_eq!(facts.visit(), ["probe", "over"]);
    assert_eq!(facts.record.notices.len(), 1);
}

#[test]
fn nobody_can_see() {
    let blind = |since_s: i64, change: fn(&mut Settings)| {
        Facts::in_shift(change).with(|facts| {
            facts.judged = None;
            facts.record.deployment.metrics_unreadable_since = Some(second(since_s));
        })
    };
    let fail = |settings: &mut Settings| settings.no_evidence.unreachable = WithoutEvidence::Fail;
    let pass = |settings: &mut Settings| settings.no_evidence.unreachable = WithoutEvidence::PassWithWarning;
    check(vec![
        ("for less than six ticks", blind(141, |_| {}), &[]),
        ("hold and page", blind(140, |_| {}), &["hold: blind", "tell held"]),
        ("go back", blind(140, fail), &["go back: no-evidence"]),
        ("go on with a doubt", blind(140, pass), &["doubt"]),
        ("advise never holds", blind(140, advise), &["doubt"]),
        (
            "what is seen goes first",
            blind(140, sufficient).red("checkout-5xx", 150),
            &["look at errors", "go back: errors"],
        ),
    ]);
    let mut facts = blind(140, |_| {});
    facts.visit();
    facts.now_s += 600;
    assert_eq!(facts.visit(), Vec::<String>::new(), "told once");
}

#[test]
fn unreadable_numbers_go_on_record_and_come_off_it() {
    let mut facts = Facts::in_shift(|_| {}).judged(|judged| judged.unreadable = Some("Forbidden".to_owned()));
    facts.visit();
    assert_eq!(facts.record.deployment.metrics_unreadable_since, Some(second(IN_SHIFT)));
    facts.now_s += 30;
    facts.visit();
    assert_eq!(facts.record.deployment.metrics_unreadable_since, Some(second(IN_SHIFT)), "since the first time");
    facts.judged = None;
    facts.visit();
    assert!(facts.record.deployment.metrics_unreadable_since.is_some(), "somebody who did not look knows nothing");
    facts.judged = Some(fine(IN_SHIFT));
    facts.visit();
    assert_eq!(facts.record.deployment.metrics_unreadable_since, None);
}

#[test]
fn the_end_of_a_bake() {
    let last = BAKE.0 + 3300;
    let promoted: &[&str] = &["passed", "answer Succeeded"];
    let warned: &[&str] = &["doubt", "answer Succeeded"];
    let silent = |change: fn(&mut Settings)| end(change).judged(|judged| judged.is_conclusive = false);
    let fail = |settings: &mut Settings| settings.no_evidence.silence = WithoutEvidence::Fail;
    let hold = |settings: &mut Settings| settings.no_evidence.silence = WithoutEvidence::Hold;
    let hold_then_pass = |settings: &mut Settings| {
        settings.no_evidence.silence = WithoutEvidence::Hold;
        settings.at_deadline = AtDeadline::PassWithWarning;
    };
    let advise_fail = |settings: &mut Settings| {
        settings.mode = Mode::Advise;
        settings.no_evidence.silence = WithoutEvidence::Fail;
    };
    let unread = |facts: &mut Facts| facts.record.deployment.metrics_unreadable_since = Some(second(930));
    let unread_now = |judged: &mut Judged| judged.unreadable = Some("PartialData".to_owned());
    check(vec![
        ("before its end", end(|_| {}).at(919), &[]),
        ("all is well", end(|_| {}), promoted),
        ("alarms alone", end(of_alarms).with(|f| f.judged = None), promoted),
        ("the last whole bucket is not judged yet", end(|_| {}).judged(|j| j.until = second(860)), &[]),
        ("it is", end(|_| {}).judged(|j| j.until = second(861)), promoted),
        ("nobody has looked yet", end(|_| {}).with(|f| f.judged = None), &[]),
        // 60 s + 30 s + 3 ticks after the end.
        ("it never comes", end(|_| {}).at(1040).judged(|j| j.until = second(800)), promoted),
        ("the watchdog does not wait", end(|_| {}).with(|f| (f.judged, f.trigger) = (None, Trigger::Watchdog)), warned),
        ("the alarms were read before the end", end(|_| {}).with(|f| f.readings = Readings::None), &[]),
        // Too little to tell.
        ("too little, and that passes", silent(|_| {}), warned),
        ("too little, and that fails", silent(fail), &["go back: no-evidence"]),
        ("too little, and that is waited for", silent(hold), &[]),
        ("at the last moment", silent(hold).at(last), &["go back: no-evidence"]),
        ("a second before", silent(hold).at(last - 1), &[]),
        ("at the last moment, and that passes", silent(hold_then_pass).at(last), warned),
        ("enough by then", end(hold).at(1900), promoted),
        ("too little, advise", silent(advise_fail), warned),
        // Unreadable.
        (
            "unreadable: wait",
            end(|_| {}).with(unread).judged(unread_now).with(|f| f.record.deployment.was_held = true),
            &[],
        ),
        (
            "unreadable until the last moment",
            end(|_| {}).with(unread).judged(unread_now).with(|f| f.record.deployment.was_held = true).at(last),
            &["go back: no-evidence"],
        ),
        ("readable again", end(|_| {}).with(unread), promoted),
        // Bad.
        (
            "worse",
            end(|_| {}).judged(|j| j.verdict = finding(Signal::Errors, true, true)),
            &["probe", "go back: errors"],
        ),
        (
            "an alarm that is a moment old: there is no later",
            end(sufficient).with(|f| f.readings = Readings::All(vec![red("checkout-5xx", 995)], second(1000))),
            &["probe", "go back: errors"],
        ),
        // A shared incident.
        ("a shared incident goes on", end(|_| {}).incident(600, 999), &[]),
        ("until the last moment", end(|_| {}).incident(600, last - 1).at(last), warned),
        ("it is over, and too little came since", silent(|_| {}).incident(600, 930).with(over), warned),
        ("it is over, and too little came since, which fails else", silent(fail).incident(600, 930).with(over), warned),
        ("it is over, at the last moment", silent(hold).incident(600, 930).at(last).with(over), warned),
        ("it is over, and nothing is judged since", silent(fail).incident(600, 990).with(over), &[]),
        ("it is over, and enough came since", end(fail).incident(600, 700).with(over), promoted),
        // Red before traffic, green for a minute, red again: exempt, and no incident.
        ("an alarm that was red before is red", end(|_| {}).with(red_in_bake), promoted),
        ("one that went red in a shared incident is", end(|_| {}).incident(600, 700).with(over).with(red_in_bake), &[]),
        // A person.
        ("a person promotes", end(|_| {}).at(600).with(|f| order(f, Verb::Promote)), &["answer Succeeded"]),
        ("a person goes back", end(|_| {}).at(600).with(|f| order(f, Verb::RollBack)), &["go back: operator"]),
    ]);
}

fn no_probe(facts: &mut Facts) {
    let mut settings = (*facts.record.policy).clone();
    settings.before_traffic.probes.clear();
    facts.record.policy = crate::policy::Policy::new(settings).unwrap();
}

fn over(facts: &mut Facts) {
    let incident = facts.record.deployment.incident.as_mut().unwrap();
    incident.over_at = Some(incident.checked_at);
}

fn red_in_bake(facts: &mut Facts) {
    let alarm = &mut facts.record.deployment.alarms[0];
    (alarm.last, alarm.is_exempt) = (Some((AlarmState::Alarm, second(650))), true);
}

fn order(facts: &mut Facts, verb: Verb) {
    let (who, why) = ("ann".to_owned(), "because".to_owned());
    facts.record.deployment.order = Some(Order { verb, who, why, at: second(590) });
}

#[test]
fn a_rollback_has_what_the_finding_showed() {
    let mut facts = Facts::in_shift(|_| {}).judged(|judged| judged.verdict = finding(Signal::Latency, true, true));
    facts.trigger = Trigger::Sweep;
    facts.visit();
    let rollback = facts.record.rollback.as_ref().unwrap();
    assert_eq!(
        (rollback.cause, rollback.trigger, rollback.exposure),
        (Cause::Latency, Trigger::Sweep, Exposure::Shift)
    );
    assert_eq!((rollback.impact_started_at, rollback.impact_is_from_alarm), (Some(second(60)), false));
    assert_eq!((rollback.detected_at, rollback.why.as_str()), (second(IN_SHIFT), "version 2 is worse"));
    assert_eq!(rollback.alarms, []);

    let mut facts = Facts::in_bake(sufficient).red("checkout-5xx", 400).probes(Control::OnlyCanaryFails);
    facts.visit();
    let rollback = facts.record.rollback.as_ref().unwrap();
    assert_eq!((rollback.exposure, rollback.alarms.as_slice()), (Exposure::Bake, [alarm("checkout-5xx")].as_slice()));
    assert!(rollback.impact_is_from_alarm && rollback.why.ends_with("the control probe fails on the new version only"));
}

#[test]
fn while_paused_findings_are_only_noted() {
    let verdict = |judged: &mut Judged| judged.verdict = finding(Signal::Errors, true, true);
    let burning = |judged: &mut Judged| judged.burning = finding(Signal::Sla, false, true);
    let silent = |settings: &mut Settings| settings.no_evidence.silence = WithoutEvidence::Fail;
    let blind = |settings: &mut Settings| settings.no_evidence.unreachable = WithoutEvidence::Fail;
    let unread = |facts: &mut Facts| facts.record.deployment.metrics_unreadable_since = Some(second(140));
    let advise_latency = |settings: &mut Settings| {
        let latency = SignalPolicy { mode: Some(Mode::Rollback), ..compared(&["checkout-p99"]) };
        settings.signals.insert(Signal::Latency, latency);
        settings.mode = Mode::Advise;
    };
    let over = |facts: &mut Facts| facts.pauses[0].ended = Some(pause("*", 150).began);
    let resumed: &[&str] = &["look at errors", "go back: errors"];
    check(vec![
        ("an alarm in the shift", shift(sufficient).red("checkout-5xx", 150).paused("*", 100), &["doubt"]),
        ("a comparison in the shift", shift(|_| {}).judged(verdict).paused("*", 100), &["doubt"]),
        ("a budget in the shift", shift(|_| {}).judged(burning).paused("*", 100), &["doubt"]),
        ("blind in the shift", shift(blind).with(unread).with(|f| f.judged = None).paused("*", 100), &["doubt"]),
        (
            "both suffer: nothing is held",
            shift(sufficient).red("checkout-5xx", 150).shared().paused("*", 9),
            &["doubt"],
        ),
        ("an alarm in the bake", bake(sufficient).red("checkout-5xx", 400).paused("*", 100), &["doubt"]),
        ("a comparison in the bake", bake(|_| {}).judged(verdict).paused("*", 100), &["doubt"]),
        (
            "worse at the end of the bake",
            end(|_| {}).judged(verdict).paused("*", 100),
            &["doubt", "passed", "answer Succeeded"],
        ),
        (
            "silence at the end of the bake",
            end(silent).judged(|judged| judged.is_conclusive = false).paused("*", 100),
            &["doubt", "answer Succeeded"],
        ),
        (
            "blind at the end of the bake",
            end(|_| {}).judged(|j| j.unreadable = Some("PartialData".to_owned())).paused("*", 100),
            &["doubt", "answer Succeeded"],
        ),
        (
            "one signal may",
            shift(advise_latency).judged(|j| j.verdict = finding(Signal::Latency, true, true)).paused("*", 9),
            &["doubt"],
        ),
        ("advise: nobody is told what was not done", shift(advise).red("checkout-5xx", 150).paused("*", 9), &["doubt"]),
        ("its group is paused", shift(sufficient).red("checkout-5xx", 150).paused("shop/live", 100), &["doubt"]),
        ("another group is", shift(sufficient).red("checkout-5xx", 150).paused("shop/test", 100), resumed),
        ("no longer paused", shift(sufficient).red("checkout-5xx", 150).paused("*", 100).with(over), resumed),
        // What a person asks for is done.
        (
            "a person goes back",
            bake(|_| {}).paused("*", 100).with(|f| order(f, Verb::RollBack)),
            &["go back: operator"],
        ),
        ("a person promotes", bake(|_| {}).paused("*", 100).with(|f| order(f, Verb::Promote)), &["answer Succeeded"]),
    ]);
}

#[test]
fn a_shared_incident_that_began_before_a_pause() {
    use Control::{BothFail, BothPass, OnlyCanaryFails};
    let held = |control| bake(sufficient).incident(440, 440).probes(control).paused("*", 450);
    let verdict = |judged: &mut Judged| judged.verdict = finding(Signal::Errors, true, true);
    let at_end = || end(sufficient).incident(600, 999).paused("*", 700);
    check(vec![
        ("it goes on", held(BothFail), &["probe", "still"]),
        ("it is over", held(BothPass), &["probe", "over"]),
        ("only the new version suffers", held(OnlyCanaryFails), &["probe", "doubt", "over"]),
        (
            "the new version is worse in the same minutes",
            shift(sufficient).incident(140, 141).judged(verdict).paused("*", 150),
            &[],
        ),
        ("it goes on at the end of the bake", at_end(), &["doubt", "answer Succeeded"]),
        ("it is over, its alarm is red", at_end().with(over).with(red_in_bake), &["doubt", "answer Succeeded"]),
    ]);
}

#[test]
fn while_paused_a_hook_that_died_lets_through() {
    let before = |scope: &str, has_lease: bool| {
        shift(|_| {}).paused(scope, -20).with(|facts| {
            let deployment = &mut facts.record.deployment;
            deployment.phase = Phase::BeforeTraffic;
            deployment.shift_started_at = None;
            deployment.hooks.before = Some("snapback-before".to_owned());
            deployment.weights.truncate(1);
            facts.trigger = Trigger::Sweep;
            facts.record.leases.extend(has_lease.then(|| Lease {
                event: LifecycleEvent::BeforeAllowTraffic,
                execution_id: ExecutionId::parse("execution-1").unwrap(),
                owner: "hook".to_owned(),
                taken_at: second(-20),
                deadline: second(100),
                result: None,
                answered: None,
            }));
        })
    };
    let step = |facts: &Facts| {
        let mut observed = facts.observed();
        let target = observed.target.as_mut().unwrap();
        target.before = EventFacts { is_in_progress: true, started_at: Some(second(-25)), ended_at: None };
        target.allow = EventFacts::default();
        observed.alias.as_mut().unwrap().others.clear();
        facts.step(&observed)
    };
    let mut paused = before("*", true);
    let Step::Record(deployment, writes) = step(&paused) else { panic!("{:?}", step(&paused)) };
    assert_eq!(deployment.doubts, ["paused, so not refused: the hook ended without an answer"]);
    paused.store(*deployment, writes);
    let answer = step(&paused);
    assert!(matches!(answer, Step::Answer(LifecycleEvent::BeforeAllowTraffic, HookStatus::Succeeded, _)), "{answer:?}");
    // Another group's pause lets nothing through.
    let Step::Record(refused, _) = step(&before("shop/test", true)) else { panic!("not refused") };
    assert_eq!(refused.phase, Phase::Refused);
    // Nobody knows how to answer: as in mode `observe` the deployment is stopped, or its hook would hang.
    let Step::Record(refused, _) = step(&before("*", false)) else { panic!("not stopped") };
    assert_eq!((refused.phase, refused.refusal.unwrap().cause), (Phase::Refused, Cause::NoEvidence));
}

#[test]
fn a_rollback_on_record_is_finished_while_paused() {
    for (case, at_s) in [("decided a moment ago", IN_SHIFT), ("its claim has run out", IN_SHIFT + 60)] {
        let mut facts = Facts::in_shift(sufficient).red("checkout-5xx", 150);
        assert_eq!(facts.visit(), ["look at errors", "go back: errors"], "{case}");
        let mut facts = facts.paused("*", IN_SHIFT).with(|facts| facts.now_s = at_s);
        facts.trigger = Trigger::Sweep;
        let observed = facts.observed();
        // The pause goes on record, and an old claim is taken over first.
        let mut step = facts.step(&observed);
        for _ in 0..5 {
            let Step::Record(deployment, writes) = step else { break };
            facts.store(*deployment, writes);
            step = facts.step(&observed);
        }
        assert_eq!(step, Step::Undo(vec![UndoCall::StopDeployment]), "{case}");
    }
}

#[test]
fn a_pause_is_on_the_record_once() {
    let said = |facts: &Facts| -> Vec<(i64, String)> {
        let lines = facts.story.iter().filter(|line| line.kind == EvidenceKind::Pause);
        lines.map(|line| ((line.at.ms() - second(0).ms()) / 1000, line.text.clone())).collect()
    };
    let mut facts = Facts::in_shift(sufficient).red("checkout-5xx", 150);
    facts.pauses = vec![pause("*", 100), pause("shop/live", 120), pause("shop/test", 50)];
    assert_eq!(facts.visit(), ["doubt"]);
    assert_eq!(facts.visit(), Vec::<String>::new());
    let began = (100, "ann paused the whole installation: false alarms".to_owned());
    assert_eq!(said(&facts), [began]);
    assert!(facts.story.iter().any(|line| line.text.starts_with("would roll back (paused): alarm checkout-5xx")));
    // The pause of the group goes on.
    let resumed = |at_s| Some(Said { at: second(at_s), who: "bob".to_owned(), why: "fixed".to_owned() });
    facts.pauses[0].ended = resumed(210);
    facts.now_s = 220;
    assert_eq!(facts.visit(), Vec::<String>::new());
    let still = [
        (210, "bob resumed: fixed".to_owned()),
        (120, "ann paused deployment group shop/live: false alarms".to_owned()),
    ];
    assert_eq!(said(&facts)[1..], still);
    // It is over, and what was only noted is acted on.
    facts.pauses[1].ended = resumed(230);
    facts.now_s = 240;
    assert_eq!(facts.visit(), ["look at errors", "go back: errors"]);
    assert_eq!(said(&facts)[3..], [(230, "bob resumed: fixed".to_owned())]);
    assert_eq!(facts.record.deployment.paused_at, None);
    // One that began before the deployment was seen is told from there on.
    let mut late = Facts::in_shift(|_| {});
    late.pauses = vec![pause("*", -500)];
    late.visit();
    assert_eq!(said(&late)[0].0, -29);
}
