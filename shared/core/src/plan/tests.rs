//! Decision tables: what is known, and what is done about it.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test helper may panic")]

use super::*;
use crate::alarm::{AlarmState, Evaluation};
use crate::deployment::{Incident, OperatorRequest, Verb};
use crate::example::{alarm, compared, record, second};
use crate::id::{DeploymentId, ExecutionId, GroupRef};
use crate::lifecycle::Bake;
use crate::lifecycle::Phase;
use crate::observed::{Creator, DeploymentFacts, DeploymentStatus, EventFacts, Platform, TargetFacts, TrafficFacts};
use crate::pause::{Attribution, PauseScope};
use crate::policy::{AtDeadline, Expect, PolicySettings, Probe, ProbeKind, SignalPolicy, WithoutEvidence};
use crate::record::Lease;
use crate::warning::{EvidenceSource, MAX_WARNINGS, Uncertainty, Warning};
use snapback_judge::result::Detection;
use snapback_judge::slo::Objective;
use std::time::Duration;

/// The bake of the examples begins and ends here, in seconds.
const BAKE: (i64, i64) = (320, 920);
/// When the rows of the shift and of the bake are decided.
const IN_SHIFT: i64 = 200;
const IN_BAKE: i64 = 500;

/// One row's facts.
struct Facts {
    record: Record,
    timeline: Vec<TimelineEntry>,
    readings: Readings,
    analysis: Option<AnalysisResult>,
    degradation: Degradation,
    control: Control,
    pauses: Vec<Pause>,
    trigger: Trigger,
    now_s: i64,
}

impl Facts {
    fn in_shift(change: impl FnOnce(&mut PolicySettings)) -> Self {
        Self {
            record: record(|settings| {
                settings.before_traffic.probes = vec![probe(ProbeKind::Invoke { payload: "{}".to_owned() })];
                change(settings);
            }),
            timeline: Vec::new(),
            readings: Readings::None,
            analysis: Some(fine(IN_SHIFT)),
            degradation: Degradation { baseline: Some(false), canary: Some(true) },
            control: Control::BothPass,
            pauses: Vec::new(),
            trigger: Trigger::Alarm,
            now_s: IN_SHIFT,
        }
    }

    fn in_bake(change: impl FnOnce(&mut PolicySettings)) -> Self {
        let mut facts = Self { analysis: Some(fine(IN_BAKE)), now_s: IN_BAKE, ..Self::in_shift(change) };
        let deployment = &mut facts.record.deployment;
        deployment.observation.weights.push((second(310), 1.0));
        deployment.phase = Phase::InBake(Bake::new(second(BAKE.0), second(BAKE.1)));
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
    fn at_end(change: impl FnOnce(&mut PolicySettings)) -> Self {
        let mut facts =
            Self { analysis: Some(fine(1000)), now_s: 1000, trigger: Trigger::Sweep, ..Self::in_bake(change) };
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

    fn analyzed(self, change: impl FnOnce(&mut AnalysisResult)) -> Self {
        self.with(|facts| change(facts.analysis.as_mut().unwrap()))
    }

    fn shared(self) -> Self {
        self.with(|facts| facts.degradation = Degradation { baseline: Some(true), canary: Some(true) })
    }

    /// All alarms count what several functions share.
    fn behind_a_shared_api(self) -> Self {
        self.with(|facts| {
            facts.record.deployment.observation.alarms.iter_mut().for_each(|alarm| alarm.is_shared = true);
        })
    }

    fn probes(self, control: Control) -> Self {
        self.with(|facts| facts.control = control)
    }

    /// A shared incident since then, looked at last at.
    fn incident(self, since_s: i64, checked_s: i64) -> Self {
        self.with(|facts| {
            let (since, checked_at) = (second(since_s), second(checked_s));
            let incident = Incident { since, checked_at, over_at: None, cause: Cause::Errors };
            facts.record.deployment.observation.incident = Some(incident);
            facts.record.deployment.was_held = true;
        })
    }

    fn at(self, now_s: i64) -> Self {
        self.with(|facts| {
            facts.now_s = now_s;
            if let Readings::All(_, at) = &mut facts.readings {
                *at = second(now_s);
            }
            if let Some(judged) = facts.analysis.as_mut() {
                judged.until = second(now_s - 90);
            }
        })
    }

    /// Paused since then, and on record as such.
    fn paused(self, scope: &str, since_s: i64) -> Self {
        self.with(|facts| {
            let pause = pause(scope, since_s);
            facts.record.deployment.requests.paused_at =
                pause.scope.covers(Some(&facts.record.deployment.identity.group)).then_some(pause.began.at);
            facts.pauses.push(pause);
        })
    }

    fn observed(&self) -> Observed {
        let deployment = &self.record.deployment;
        let share = deployment.canary_share();
        let started = |at_s| EventFacts { is_in_progress: false, started_at: Some(second(at_s)), ended_at: None };
        let is_baking = deployment.bake().is_some();
        Observed {
            deployment: DeploymentFacts {
                id: DeploymentId::parse("d-ABCDEFGHI").unwrap(),
                group: GroupRef::new("shop", "live").unwrap(),
                platform: Platform::Lambda,
                status: DeploymentStatus::Running,
                creator: Creator::User,
                config: None,
                app_spec: None,
                created_at: second(-30),
                completed_at: None,
                end_reason: None,
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
            traffic: Some(TrafficFacts {
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
            analysis: None,
            degradation: &[],
            control: None,
            pauses: &self.pauses,
            caller: &caller,
            now: second(self.now_s),
        })
    }

    /// Everything that is done in one reconciliation, in words.
    fn reconcile(&mut self) -> Vec<String> {
        let observed = self.observed();
        let caller = Caller { trigger: self.trigger, owner: "me".to_owned() };
        let (mut degradation, mut control) = (Vec::new(), None);
        let mut done = Vec::new();
        for _ in 0..20 {
            let case = Case {
                record: &self.record,
                observed: &observed,
                readings: &self.readings,
                analysis: self.analysis.as_ref(),
                degradation: &degradation,
                control,
                pauses: &self.pauses,
                caller: &caller,
                now: second(self.now_s),
            };
            match next_step(&case) {
                Step::Rest => return done,
                Step::ReadDegradation(signal) => {
                    done.push(format!("look at {signal}"));
                    degradation.push((signal, self.degradation));
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
                step @ (Step::ReadAlarms | Step::StopBeforeTraffic | Step::Archive) => {
                    panic!("{step:?} after {done:?}")
                }
            }
        }
        panic!("it never rests: {done:?}");
    }

    fn store(&mut self, deployment: Deployment, writes: Vec<Write>) -> Option<String> {
        let before = self.record.apply(deployment, &writes);
        let after = &self.record.deployment;
        let mut word = None;
        for write in writes {
            match write {
                Write::Rollback(rollback) => word = Some(format!("go back: {}", rollback.cause)),
                Write::Entry(line) => self.timeline.push(line),
                Write::Notice(_) | Write::Lease(_) | Write::Good(_) | Write::Refused(_) => {}
            }
        }
        let passed_at = |deployment: &Deployment| deployment.bake().and_then(|bake| bake.passed_at);
        let is_open =
            |deployment: &Deployment| deployment.observation.incident.is_some_and(|incident| incident.is_open());
        word.or_else(|| match (is_open(&before), is_open(after)) {
            (false, true) => Some("hold: shared".to_owned()),
            (true, false) => Some("over".to_owned()),
            (true, true) if before.observation.incident != after.observation.incident => Some("still".to_owned()),
            (true, true) | (false, false) if after.was_held && !before.was_held => Some("hold: blind".to_owned()),
            (true, true) | (false, false) if after.warnings.len() > before.warnings.len() => Some("warning".to_owned()),
            (true, true) | (false, false) if passed_at(after) != passed_at(&before) => Some("passed".to_owned()),
            // What observations takes over.
            (true, true) | (false, false) => None,
        })
    }
}

fn pause(scope: &str, since_s: i64) -> Pause {
    let began = Attribution { at: second(since_s), who: "ann".to_owned(), why: "false alarms".to_owned() };
    Pause { scope: PauseScope::parse(scope).unwrap(), began, ended: None }
}

fn shift(change: impl FnOnce(&mut PolicySettings)) -> Facts {
    Facts::in_shift(change)
}

fn bake(change: impl FnOnce(&mut PolicySettings)) -> Facts {
    Facts::in_bake(change)
}

fn end(change: impl FnOnce(&mut PolicySettings)) -> Facts {
    Facts::at_end(change)
}

fn probe(kind: ProbeKind) -> Probe {
    Probe { kind, expect: Expect { status: Some(200), within: None }, times: 1, label: None, is_repeatable: false }
}

fn red(name: &str, since_s: i64) -> AlarmReading {
    AlarmReading {
        name: alarm(name),
        state: AlarmState::Alarm,
        since: second(since_s),
        previous: None,
        reason: "Threshold Crossed".to_owned(),
        breaching: Vec::new(),
        evaluation: None,
        scope: None,
    }
}

/// Everything that ended 90 seconds ago is judged, nothing is bad, there was enough to tell.
fn fine(now_s: i64) -> AnalysisResult {
    AnalysisResult { until: second(now_s - 60), is_conclusive: true, ..AnalysisResult::nothing() }
}

fn finding(signal: Signal, is_concurrent: bool, is_sufficient: bool) -> Option<Detection> {
    Some(Detection {
        signal,
        why: "5xx answers: 83 of 210".to_owned(),
        impact_started_at: Some(second(60)),
        is_sufficient,
        is_concurrent,
    })
}

fn of_alarms(settings: &mut PolicySettings) {
    settings.signals.insert(Signal::Errors, SignalPolicy::of_alarms(vec![alarm("checkout-5xx")]));
}

fn sufficient(settings: &mut PolicySettings) {
    settings.signals.get_mut(&Signal::Errors).unwrap().is_sufficient = true;
}

fn advise(settings: &mut PolicySettings) {
    settings.mode = Mode::Advise;
    sufficient(settings);
}

fn observe(settings: &mut PolicySettings) {
    settings.mode = Mode::Observe;
    sufficient(settings);
}

fn check(table: Vec<(&str, Facts, &[&str])>) {
    for (case, mut facts, expected) in table {
        assert_eq!(facts.reconcile(), expected, "{case}");
    }
}

#[test]
fn the_verdict_knows_no_platform() {
    let text = include_str!("verdict.rs");
    for word in ["CodeDeploy", "Lambda", "alias", "hook", "codedeploy", "RollbackAction", "Target"] {
        assert!(!text.contains(word), "verdict.rs speaks of {word}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one table")]
fn a_finding_in_the_shift() {
    let both = |facts: &mut Facts| facts.analysis.as_mut().unwrap().burning = finding(Signal::Slo, false, true);
    check(vec![
        ("nothing", shift(|_| {}), &[]),
        ("nothing, and nobody compared", shift(|_| {}).with(|f| f.analysis = None), &[]),
        // An alarm.
        (
            "an alarm beside a comparison makes us look",
            shift(|_| {}).red("checkout-5xx", 150),
            &["look at errors", "warning"],
        ),
        ("it is sufficient", shift(sufficient).red("checkout-5xx", 150), &["look at errors", "go back: errors"]),
        ("alarms alone", shift(of_alarms).red("checkout-5xx", 150), &["look at errors", "go back: errors"]),
        (
            "nobody can tell which is degraded: the alarm decides",
            shift(sufficient).red("checkout-5xx", 150).with(|f| f.degradation = Degradation::default()),
            &["look at errors", "go back: errors"],
        ),
        (
            "both are degraded",
            shift(sufficient).red("checkout-5xx", 150).shared(),
            &["look at errors", "hold: shared", "tell shared-incident"],
        ),
        (
            "both are degraded, seen by an alarm that is not sufficient",
            shift(|_| {}).red("checkout-5xx", 150).shared(),
            &["look at errors", "hold: shared", "tell shared-incident"],
        ),
        ("red since before the shift", shift(sufficient).red("checkout-5xx", 12), &[]),
        (
            "exempt",
            shift(sufficient)
                .red("checkout-5xx", 150)
                .with(|f| f.record.deployment.observation.alarms[0].is_exempt = true),
            &[],
        ),
        ("nobody watches it", shift(sufficient).red("somebody-else", 150), &[]),
        // A comparison.
        (
            "compared in the same minutes: whoever else is degraded",
            shift(|_| {}).analyzed(|j| j.verdict = finding(Signal::Errors, true, true)).shared(),
            &["go back: errors"],
        ),
        (
            "pairs of probes: whoever else is degraded",
            shift(|_| {}).analyzed(|j| j.paired = finding(Signal::Errors, true, true)).shared(),
            &["go back: errors"],
        ),
        (
            "pairs of probes, but the policy only advises",
            shift(advise).analyzed(|j| j.paired = finding(Signal::Errors, true, true)),
            &["warning", "tell advice"],
        ),
        (
            "compared with the past",
            shift(|_| {}).analyzed(|j| j.verdict = finding(Signal::Latency, false, true)),
            &["look at latency", "go back: latency"],
        ),
        (
            "compared with the past, both are degraded",
            shift(|_| {}).analyzed(|j| j.verdict = finding(Signal::Latency, false, true)).shared(),
            &["look at latency", "hold: shared", "tell shared-incident"],
        ),
        // An objective.
        (
            "the budget burns",
            shift(|_| {}).analyzed(|j| j.burning = finding(Signal::Slo, false, true)),
            &["look at slo", "go back: slo"],
        ),
        (
            "the budget burns, both are degraded",
            shift(|_| {}).analyzed(|j| j.burning = finding(Signal::Slo, false, true)).shared(),
            &["look at slo", "hold: shared", "tell shared-incident"],
        ),
        (
            "the budget burns, which is not sufficient",
            shift(|_| {}).analyzed(|j| j.burning = finding(Signal::Slo, false, false)),
            &["look at slo", "warning"],
        ),
        // Several.
        (
            "an alarm that is not sufficient does not hide a budget that burns",
            shift(|_| {}).red("checkout-5xx", 150).with(both),
            &["look at errors", "warning", "look at slo", "go back: slo"],
        ),
        (
            "the comparison goes before the alarm",
            shift(sufficient).red("checkout-5xx", 150).analyzed(|j| j.verdict = finding(Signal::Latency, true, true)),
            &["go back: latency"],
        ),
    ]);
}

#[test]
fn modes_in_the_shift() {
    let only_latency = |mode| {
        move |settings: &mut PolicySettings| {
            settings.signals.insert(Signal::Latency, SignalPolicy { mode: Some(mode), ..compared(&["checkout-p99"]) });
        }
    };
    let burning = |j: &mut AnalysisResult| j.burning = finding(Signal::Slo, false, true);
    let objective = |mode| {
        move |settings: &mut PolicySettings| {
            let of = SignalPolicy::of_alarms(Vec::new());
            settings.signals.insert(Signal::Slo, SignalPolicy { mode, objective: Objective::new(0.999), ..of });
        }
    };
    check(vec![
        ("advise", shift(advise).red("checkout-5xx", 150), &["warning", "tell advice"]),
        ("observe", shift(observe).red("checkout-5xx", 150), &["warning"]),
        (
            "advise on a comparison",
            shift(advise).analyzed(|j| j.advice = finding(Signal::Errors, true, true)),
            &["warning", "tell advice"],
        ),
        (
            "observe a comparison",
            shift(observe).analyzed(|j| j.advice = finding(Signal::Errors, true, true)),
            &["warning"],
        ),
        (
            "one signal advises",
            shift(only_latency(Mode::Advise)).analyzed(|j| j.advice = finding(Signal::Latency, true, true)),
            &["warning", "tell advice"],
        ),
        (
            "one signal observes",
            shift(only_latency(Mode::Observe)).analyzed(|j| j.advice = finding(Signal::Latency, true, true)),
            &["warning"],
        ),
        (
            "one advises, another goes back",
            shift(only_latency(Mode::Advise)).analyzed(|j| {
                j.advice = finding(Signal::Latency, true, true);
                j.verdict = finding(Signal::Errors, true, true);
            }),
            &["go back: errors"],
        ),
        (
            "the objective only advises",
            shift(objective(Some(Mode::Advise))).analyzed(burning),
            &["warning", "tell advice"],
        ),
        ("the objective may", shift(objective(None)).analyzed(burning), &["look at slo", "go back: slo"]),
    ]);
}

#[test]
fn what_was_said_is_not_said_again() {
    let table = [
        ("advice of an alarm", Facts::in_shift(advise).red("checkout-5xx", 150)),
        (
            "advice of a comparison",
            Facts::in_shift(advise).analyzed(|j| j.advice = finding(Signal::Errors, true, true)),
        ),
        ("a warning", Facts::in_shift(|_| {}).red("checkout-5xx", 150)),
        (
            "an objective that is not sufficient",
            Facts::in_shift(|_| {}).analyzed(|j| j.burning = finding(Signal::Slo, false, false)),
        ),
    ];
    for (case, mut facts) in table {
        assert!(facts.reconcile().contains(&"warning".to_owned()), "{case}");
        for _ in 0..3 {
            facts.now_s += 60;
            let again: Vec<String> = facts.reconcile().into_iter().filter(|word| !word.starts_with("look")).collect();
            assert_eq!(again, Vec::<String>::new(), "{case}");
        }
        assert_eq!(facts.record.deployment.warnings.len(), 1, "{case}");
        let text = facts.record.deployment.warnings[0].to_string();
        assert!(!text.ends_with(": "), "{case}: {text}");
    }
}

#[test]
fn every_finding_that_may_not_act_is_noted_once() {
    let two = |change: fn(&mut PolicySettings)| {
        Facts::in_shift(|settings| {
            let errors = SignalPolicy::of_alarms(vec![alarm("checkout-5xx"), alarm("checkout-4xx")]);
            settings.signals.insert(Signal::Errors, errors);
            change(settings);
        })
        .with(|facts| {
            let readings = vec![red("checkout-5xx", 150), red("checkout-4xx", 160)];
            facts.readings = Readings::All(readings, second(IN_SHIFT));
            facts.analysis.as_mut().unwrap().advice = finding(Signal::Latency, true, true);
        })
    };
    let table = [
        ("advise", two(|settings| settings.mode = Mode::Advise), &["warning", "warning", "warning", "tell advice"][..]),
        ("observe", two(|settings| settings.mode = Mode::Observe), &["warning", "warning", "warning"]),
        ("a pause", two(|_| {}).paused("*", 100), &["warning", "warning", "warning"]),
    ];
    for (case, mut facts, expected) in table {
        assert_eq!(facts.reconcile(), expected, "{case}");
        facts.now_s += 60;
        assert_eq!(facts.reconcile(), Vec::<String>::new(), "{case}: once each");
        assert_eq!(facts.record.deployment.warnings.len(), 3, "{case}: {:?}", facts.record.deployment.warnings);
    }
}

#[test]
fn a_full_record_keeps_nothing_from_its_turn() {
    let full = |facts: &mut Facts| {
        let since = |number: usize| second(i64::try_from(number).unwrap());
        let warning = |number| Warning::Unreadable { evidence: EvidenceSource::Alarms, since: since(number) };
        facts.record.deployment.warnings = (0..MAX_WARNINGS).map(warning).collect();
    };
    let verdict = |judged: &mut AnalysisResult| judged.verdict = finding(Signal::Errors, true, true);
    check(vec![
        ("observe", shift(observe).red("checkout-5xx", 150).with(full), &[]),
        ("advise: people are told all the same", shift(advise).red("checkout-5xx", 150).with(full), &["tell advice"]),
        ("a pause", shift(sufficient).red("checkout-5xx", 150).paused("*", 100).with(full), &[]),
        ("not sufficient", shift(|_| {}).red("checkout-5xx", 150).with(full), &["look at errors"]),
        (
            "the hook of the bake is answered",
            end(observe).analyzed(verdict).with(full),
            &["passed", "answer Succeeded"],
        ),
    ]);
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
    let verdict = |is_concurrent| {
        move |judged: &mut AnalysisResult| judged.verdict = finding(Signal::Errors, is_concurrent, true)
    };
    let of_alarm = |change: fn(&mut PolicySettings), control| bake(change).red("checkout-5xx", 400).probes(control);
    let of_comparison = |control| bake(|_| {}).analyzed(verdict(false)).probes(control);
    let http = |settings: &mut PolicySettings| {
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
        ("not sufficient, probes pass on both", of_alarm(|_| {}, BothPass), &["probe", "warning"]),
        ("not sufficient, probes fail on both", of_alarm(|_| {}, BothFail), held),
        ("not sufficient, only the new one fails", of_alarm(|_| {}, OnlyCanaryFails), &["probe", "go back: errors"]),
        ("not sufficient, nobody could ask", of_alarm(|_| {}, Unknown), &["probe", "warning"]),
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
            bake(|_| {}).analyzed(verdict(true)),
            &["probe", "go back: errors"],
        ),
        (
            "it was worse in the last minute of both, probes fail on both",
            bake(|_| {}).analyzed(verdict(true)).probes(BothFail),
            held,
        ),
        (
            "pairs of probes are control probes: nobody asks others",
            bake(|_| {}).analyzed(|j| j.paired = finding(Signal::Errors, true, true)).probes(BothFail),
            &["go back: errors"],
        ),
        // An objective.
        (
            "the budget burns, probes fail on both",
            bake(|_| {}).analyzed(|j| j.burning = finding(Signal::Slo, false, true)).probes(BothFail),
            held,
        ),
        (
            "all traffic, but the hook of the bake has not begun",
            Facts::in_shift(sufficient).red("checkout-5xx", 150).probes(BothFail).with(|facts| {
                facts.record.deployment.observation.weights.push((second(140), 1.0));
            }),
            held,
        ),
        ("advise does not probe", bake(advise).red("checkout-5xx", 400), &["warning", "tell advice"]),
    ]);
}

/// An alarm on an API stage or a load balancer that several functions share.
#[test]
#[expect(clippy::too_many_lines, reason = "a table stays in one place")]
fn a_count_that_neighbours_share() {
    use Control::{BothFail, BothPass, OnlyBaselineFails, OnlyCanaryFails, Unknown};
    let fine = Degradation { baseline: Some(false), canary: Some(false) };
    let nobody = Degradation::default();
    let held: &[&str] = &["probe", "hold: shared", "tell shared-incident"];
    let in_shift = |change: fn(&mut PolicySettings), degradation| {
        shift(change).red("checkout-5xx", 150).behind_a_shared_api().with(|facts| facts.degradation = degradation)
    };
    let in_bake = |change: fn(&mut PolicySettings), control| {
        bake(change).red("checkout-5xx", 400).behind_a_shared_api().probes(control)
    };
    let unreadable = |facts: &mut Facts| {
        facts.record.deployment.observation.metrics_unreadable_since = Some(second(100));
        facts.analysis = None;
    };
    let http = |settings: &mut PolicySettings| {
        of_alarms(settings);
        settings.before_traffic.probes = vec![probe(ProbeKind::Http { url: "https://example.com".to_owned() })];
    };
    check(vec![
        // In the shift, with numbers of the versions' own.
        ("the own numbers are fine", in_shift(sufficient, fine), &["look at errors", "warning"]),
        ("nobody could tell", in_shift(sufficient, nobody), &["look at errors", "warning"]),
        (
            "together with the own numbers",
            in_shift(sufficient, Degradation { baseline: Some(false), canary: Some(true) }),
            &["look at errors", "go back: errors"],
        ),
        (
            "only the old version is degraded",
            in_shift(sufficient, Degradation { baseline: Some(true), canary: Some(false) }),
            &["look at errors", "warning"],
        ),
        (
            "both are degraded",
            in_shift(sufficient, fine).shared(),
            &["look at errors", "hold: shared", "tell shared-incident"],
        ),
        (
            "the own numbers blame it anyway",
            in_shift(sufficient, fine).analyzed(|j| j.verdict = finding(Signal::Latency, true, true)),
            &["go back: latency"],
        ),
        // In the shift, alarms alone.
        ("alarms alone, probes pass on both", in_shift(of_alarms, fine), &["look at errors", "probe", "warning"]),
        (
            "alarms alone, only the new one fails",
            in_shift(of_alarms, fine).probes(OnlyCanaryFails),
            &["look at errors", "probe", "go back: errors"],
        ),
        (
            "alarms alone, probes fail on both",
            in_shift(of_alarms, fine).probes(BothFail),
            &["look at errors", "probe", "hold: shared", "tell shared-incident"],
        ),
        (
            "alarms alone, nobody could ask",
            in_shift(of_alarms, fine).probes(Unknown),
            &["look at errors", "probe", "go back: errors"],
        ),
        (
            "alarms alone, no probe reaches a version",
            shift(http).red("checkout-5xx", 150).behind_a_shared_api(),
            &["look at errors", "go back: errors"],
        ),
        (
            "the own numbers cannot be read, probes pass on both",
            in_shift(sufficient, nobody).with(unreadable),
            &["look at errors", "probe", "warning", "hold: blind", "tell held"],
        ),
        (
            "the own numbers cannot be read, nobody could ask",
            in_shift(sufficient, nobody).with(unreadable).probes(Unknown),
            &["look at errors", "probe", "go back: errors"],
        ),
        // At all traffic.
        ("at all traffic, probes pass on both", in_bake(sufficient, BothPass), &["probe", "warning"]),
        ("at all traffic, only the old one fails", in_bake(sufficient, OnlyBaselineFails), &["probe", "warning"]),
        ("at all traffic, nobody could ask", in_bake(sufficient, Unknown), &["probe", "warning"]),
        ("at all traffic, only the new one fails", in_bake(sufficient, OnlyCanaryFails), &["probe", "go back: errors"]),
        ("at all traffic, probes fail on both", in_bake(sufficient, BothFail), held),
        ("at all traffic, alarms alone, probes pass on both", in_bake(of_alarms, BothPass), &["probe", "warning"]),
        ("at all traffic, alarms alone, nobody could ask", in_bake(of_alarms, Unknown), &["probe", "go back: errors"]),
        // Modes.
        ("advise", shift(advise).red("checkout-5xx", 150).behind_a_shared_api(), &["warning"]),
        (
            "advise, alarms alone",
            shift(|settings| {
                of_alarms(settings);
                settings.mode = Mode::Advise;
            })
            .red("checkout-5xx", 150)
            .behind_a_shared_api(),
            &["warning", "tell advice"],
        ),
    ]);
}

#[test]
fn what_neighbours_did_is_noted_once_and_is_no_doubt() {
    let mut facts = shift(sufficient).red("checkout-5xx", 150).behind_a_shared_api().with(|facts| {
        facts.degradation = Degradation { baseline: Some(false), canary: Some(false) };
    });
    assert_eq!(facts.reconcile(), ["look at errors", "warning"]);
    assert_eq!(facts.reconcile(), ["look at errors"]);
    let [warning] = facts.record.deployment.warnings.as_slice() else { panic!("one warning") };
    assert_eq!(*warning, Warning::SharedCount(alarm("checkout-5xx")));
    assert!(!warning.leaves_doubt());
    let noted = facts.timeline.iter().filter(|line| line.text.contains("several functions share")).count();
    assert_eq!(noted, 1);
}

/// Red since second 150, looked at every minute, two of three; the shift began at second 12.
fn early(facts: Facts, breaching: &[i64]) -> Facts {
    facts.with(|facts| {
        let reading = AlarmReading {
            breaching: breaching.iter().map(|at| second(*at)).collect(),
            evaluation: Some(Evaluation { datapoints_to_alarm: 2, periods: 3, period: Duration::from_secs(60) }),
            ..red("checkout-5xx", 150)
        };
        facts.readings = Readings::All(vec![reading], second(facts.now_s));
    })
}

#[test]
fn an_alarm_that_is_red_by_data_from_before_the_shift_counts_later() {
    let mut facts = early(shift(sufficient), &[0, 60]);
    assert_eq!(facts.reconcile(), Vec::<String>::new());
    let watched = &facts.record.deployment.observation.alarms[0];
    assert!(watched.is_early && !watched.is_exempt && watched.is_armed());
    let told = facts.timeline.iter().filter(|line| line.text.contains("does not count yet")).count();
    assert_eq!(facts.reconcile(), Vec::<String>::new());
    assert_eq!(told, 1);
    let tick = facts.record.policy.tick;
    let read_at = facts.record.deployment.observation.alarms_read_at.unwrap();
    assert!(!should_read_alarms(&facts.record, None, read_at + tick - Duration::from_millis(1)));
    assert!(should_read_alarms(&facts.record, None, read_at + tick), "the next tick");
    // The same reason, still red: minutes 60 to 240 are all of the shift, and the last one was looked at by 300.
    let mut later = early(facts.at(299), &[0, 60]);
    assert_eq!(later.reconcile(), Vec::<String>::new());
    let mut later = early(later.at(300), &[0, 60]);
    assert_eq!(later.reconcile(), ["look at errors", "go back: errors"]);
    assert!(!later.record.deployment.observation.alarms[0].is_early);
}

#[test]
fn an_event_does_not_tell_how_many_datapoints_it_takes() {
    let event = |breaching: &[i64]| {
        let facts = shift(sufficient);
        let breaching = breaching.iter().map(|at| second(*at)).collect();
        let reading = AlarmReading { breaching, ..red("checkout-5xx", 150) };
        facts.with(|facts| facts.readings = Readings::Event { reading, source: "event-1".to_owned() })
    };
    let needs = |facts: &Facts| {
        let caller = Caller { trigger: facts.trigger, owner: "me".to_owned() };
        let case = Case {
            record: &facts.record,
            observed: &facts.observed(),
            readings: &facts.readings,
            analysis: None,
            degradation: &[],
            control: None,
            pauses: &[],
            caller: &caller,
            now: second(facts.now_s),
        };
        verdict::next(&case)
    };
    assert_eq!(needs(&event(&[0, 60])), Some(Step::ReadAlarms), "one from before");
    assert_eq!(needs(&event(&[60, 120])), Some(Step::ReadDegradation(Signal::Errors)), "all of the shift");
    assert_eq!(needs(&event(&[])), Some(Step::ReadDegradation(Signal::Errors)), "none named");
    let exempt = event(&[0, 60]).with(|facts| facts.record.deployment.observation.alarms[0].is_exempt = true);
    assert_eq!(needs(&exempt), None, "exempt");
}

/// A version that was let through is one to go back to when nothing but too little traffic kept it from being promoted.
#[test]
fn what_is_good_enough_to_go_back_to() {
    let little = Warning::BakeEnded(Uncertainty::TooLittleTraffic);
    let blind = Warning::BakeEnded(Uncertainty::Unreadable);
    let neighbours = Warning::SharedCount(alarm("checkout-5xx"));
    let (ok, red) = (AlarmState::Ok, AlarmState::Alarm);
    // Outcome, and whether it is doubtful.
    let table: [(&str, Vec<Warning>, AlarmState, Outcome, bool); 7] = [
        ("promoted", vec![], ok, Outcome::Promoted, false),
        ("promoted, an alarm from before is red", vec![], red, Outcome::Promoted, false),
        ("neighbours failed", vec![neighbours.clone()], red, Outcome::Promoted, false),
        ("too little traffic", vec![little.clone()], ok, Outcome::Inconclusive, false),
        ("too little traffic, and something is red", vec![little.clone()], red, Outcome::Inconclusive, true),
        ("too little traffic, and nobody could see", vec![little, blind.clone()], ok, Outcome::Inconclusive, true),
        ("nobody could see", vec![blind, neighbours], ok, Outcome::Inconclusive, true),
    ];
    for (name, warnings, state, outcome, is_doubtful) in table {
        let mut facts = end(|_| {});
        facts.record.deployment.warnings = warnings;
        facts.record.deployment.observation.alarms[0].last = Some((state, second(20)));
        let mut observed = facts.observed();
        observed.deployment.status = DeploymentStatus::Succeeded;
        let Step::Record(deployment, writes) = facts.step(&observed) else { panic!("{name}: not over") };
        assert_eq!(deployment.outcome(), Some(outcome), "{name}");
        let good = writes.iter().find_map(|write| if let Write::Good(good) = write { Some(good) } else { None });
        assert_eq!(good.map(|good| good.is_doubtful), Some(is_doubtful), "{name}");
    }
}

#[test]
fn a_shared_incident_in_the_shift() {
    let held = |since_s, checked_s| Facts::in_shift(sufficient).incident(since_s, checked_s);
    let degradation = |baseline, canary| move |facts: &mut Facts| facts.degradation = Degradation { baseline, canary };
    let verdict = |is_concurrent| {
        move |judged: &mut AnalysisResult| judged.verdict = finding(Signal::Errors, is_concurrent, true)
    };
    check(vec![
        ("looked at a moment ago", held(140, 141), &[]),
        ("a minute later both still are degraded", held(140, 140).shared(), &["look at errors", "still"]),
        (
            "the old version is fine again",
            held(140, 140).with(degradation(Some(false), Some(true))),
            &["look at errors", "over"],
        ),
        (
            "the new version is fine again",
            held(140, 140).with(degradation(Some(true), Some(false))),
            &["look at errors", "over"],
        ),
        ("nobody can tell: that is no end", held(140, 140).with(degradation(None, None)), &["look at errors", "still"]),
        ("an alarm goes red meanwhile: it is exempt", held(140, 141).red("checkout-5xx", 190), &[]),
        ("worse in the same minutes all the same", held(140, 141).analyzed(verdict(true)), &["go back: errors"]),
        (
            "pairs of probes fail on the new version alone all the same",
            held(140, 141).analyzed(|j| j.paired = finding(Signal::Errors, true, true)),
            &["go back: errors"],
        ),
        ("worse than the past says nothing now", held(140, 141).analyzed(verdict(false)), &[]),
        (
            "what was judged before its end is not held against the new version",
            held(140, 140).analyzed(verdict(false)).with(degradation(Some(false), Some(false))),
            &["look at errors", "over"],
        ),
        (
            "nor a budget that burned in it",
            held(140, 140)
                .analyzed(|j| j.burning = finding(Signal::Slo, false, true))
                .with(degradation(Some(false), Some(false))),
            &["look at errors", "over"],
        ),
    ]);
}

#[test]
fn a_shared_incident_at_all_traffic() {
    use Control::{BothFail, BothPass, OnlyBaselineFails, OnlyCanaryFails, Unknown};
    let held = |control| Facts::in_bake(sufficient).incident(440, 440).probes(control);
    let still_red = |facts: &mut Facts| {
        let alarm = &mut facts.record.deployment.observation.alarms[0];
        (alarm.last, alarm.is_exempt) = (Some((AlarmState::Alarm, second(400))), true);
    };
    let verdict = |judged: &mut AnalysisResult| judged.verdict = finding(Signal::Errors, false, true);
    check(vec![
        ("looked at a moment ago", held(BothPass).incident(440, 460), &[]),
        ("both still fail", held(BothFail), &["probe", "still"]),
        (
            "pairs fail on the new version alone",
            held(BothFail).analyzed(|j| j.paired = finding(Signal::Errors, true, true)),
            &["go back: errors"],
        ),
        ("only the old one fails still", held(OnlyBaselineFails), &["probe", "over"]),
        ("both pass again", held(BothPass), &["probe", "over"]),
        ("only the new one fails now", held(OnlyCanaryFails), &["probe", "go back: errors"]),
        ("nobody can ask, its alarm is red", held(Unknown).with(still_red), &["probe", "still"]),
        ("nobody can ask, its alarm is fine", held(Unknown), &["probe", "still"]),
        ("there is no probe, its alarm is fine", held(Unknown).with(no_probe), &["over"]),
        ("there is no probe, its alarm is red", held(Unknown).with(no_probe).with(still_red), &["still"]),
        ("there is no probe, the numbers are bad", held(Unknown).with(no_probe).analyzed(verdict), &["still"]),
        (
            "judged before its end: not held against the new version",
            held(BothPass).analyzed(verdict),
            &["probe", "over"],
        ),
    ]);
}

#[test]
fn after_an_incident_the_new_version_is_judged_anew() {
    let after = |until_s: i64| {
        let facts = Facts::in_bake(sufficient).incident(400, 440).analyzed(|judged| {
            judged.verdict = finding(Signal::Errors, false, true);
            judged.until = second(until_s);
        });
        facts.with(|facts| facts.record.deployment.observation.incident.as_mut().unwrap().over_at = Some(second(440)))
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
    assert_eq!(facts.reconcile(), ["probe", "hold: shared", "tell shared-incident"]);
    assert!(facts.record.deployment.was_held);
    assert!(facts.record.deployment.observation.alarms[0].is_exempt, "it says nothing about the new version any more");
    let mut told = Vec::new();
    for _ in 0..5 {
        facts.now_s += 60;
        told.extend(facts.reconcile());
    }
    assert_eq!(told, ["probe", "still"].repeat(5));
    facts.control = Control::BothPass;
    facts.now_s += 60;
    assert_eq!(facts.reconcile(), ["probe", "over"]);
    assert_eq!(facts.record.notices.len(), 1);
}

#[test]
fn nobody_can_see() {
    let blind = |since_s: i64, change: fn(&mut PolicySettings)| {
        Facts::in_shift(change).with(|facts| {
            facts.analysis = None;
            facts.record.deployment.observation.metrics_unreadable_since = Some(second(since_s));
        })
    };
    let fail = |settings: &mut PolicySettings| settings.no_evidence.unreachable = WithoutEvidence::Fail;
    let pass = |settings: &mut PolicySettings| settings.no_evidence.unreachable = WithoutEvidence::PassWithWarning;
    check(vec![
        ("for less than six ticks", blind(141, |_| {}), &[]),
        ("hold and page", blind(140, |_| {}), &["hold: blind", "tell held"]),
        ("go back", blind(140, fail), &["go back: no-evidence"]),
        ("go on with a warning", blind(140, pass), &["warning"]),
        ("advise never holds", blind(140, advise), &["warning"]),
        (
            "what is seen goes first",
            blind(140, sufficient).red("checkout-5xx", 150),
            &["look at errors", "go back: errors"],
        ),
    ]);
    let mut facts = blind(140, |_| {});
    facts.reconcile();
    facts.now_s += 600;
    assert_eq!(facts.reconcile(), Vec::<String>::new(), "told once");
}

#[test]
fn unreadable_numbers_go_on_record_and_come_off_it() {
    let mut facts = Facts::in_shift(|_| {}).analyzed(|judged| judged.unreadable = Some("Forbidden".to_owned()));
    facts.reconcile();
    assert_eq!(facts.record.deployment.observation.metrics_unreadable_since, Some(second(IN_SHIFT)));
    facts.now_s += 30;
    facts.reconcile();
    assert_eq!(
        facts.record.deployment.observation.metrics_unreadable_since,
        Some(second(IN_SHIFT)),
        "since the first time"
    );
    facts.analysis = None;
    facts.reconcile();
    assert!(
        facts.record.deployment.observation.metrics_unreadable_since.is_some(),
        "somebody who did not look knows nothing"
    );
    facts.analysis = Some(fine(IN_SHIFT));
    facts.reconcile();
    assert_eq!(facts.record.deployment.observation.metrics_unreadable_since, None);
}

#[test]
fn the_end_of_a_bake() {
    let last = BAKE.0 + 3300;
    let promoted: &[&str] = &["passed", "answer Succeeded"];
    let warned: &[&str] = &["warning", "answer Succeeded"];
    let silent = |change: fn(&mut PolicySettings)| end(change).analyzed(|judged| judged.is_conclusive = false);
    let fail = |settings: &mut PolicySettings| settings.no_evidence.silence = WithoutEvidence::Fail;
    let hold = |settings: &mut PolicySettings| settings.no_evidence.silence = WithoutEvidence::Hold;
    let hold_then_pass = |settings: &mut PolicySettings| {
        settings.no_evidence.silence = WithoutEvidence::Hold;
        settings.at_deadline = AtDeadline::PassWithWarning;
    };
    let advise_fail = |settings: &mut PolicySettings| {
        settings.mode = Mode::Advise;
        settings.no_evidence.silence = WithoutEvidence::Fail;
    };
    let unread = |facts: &mut Facts| facts.record.deployment.observation.metrics_unreadable_since = Some(second(930));
    let unread_now = |judged: &mut AnalysisResult| judged.unreadable = Some("PartialData".to_owned());
    check(vec![
        ("before its end", end(|_| {}).at(919), &[]),
        ("all is well", end(|_| {}), promoted),
        ("alarms alone", end(of_alarms).with(|f| f.analysis = None), promoted),
        ("the last whole bucket is not judged yet", end(|_| {}).analyzed(|j| j.until = second(860)), &[]),
        ("it is", end(|_| {}).analyzed(|j| j.until = second(861)), promoted),
        ("nobody has looked yet", end(|_| {}).with(|f| f.analysis = None), &[]),
        // 60 s + 30 s + 3 ticks after the end.
        ("it never comes", end(|_| {}).at(1040).analyzed(|j| j.until = second(800)), promoted),
        (
            "the watchdog does not wait",
            end(|_| {}).with(|f| (f.analysis, f.trigger) = (None, Trigger::Watchdog)),
            warned,
        ),
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
            end(|_| {}).with(unread).analyzed(unread_now).with(|f| f.record.deployment.was_held = true),
            &[],
        ),
        (
            "unreadable until the last moment",
            end(|_| {}).with(unread).analyzed(unread_now).with(|f| f.record.deployment.was_held = true).at(last),
            &["go back: no-evidence"],
        ),
        ("readable again", end(|_| {}).with(unread), promoted),
        // Bad.
        (
            "worse",
            end(|_| {}).analyzed(|j| j.verdict = finding(Signal::Errors, true, true)),
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
    let incident = facts.record.deployment.observation.incident.as_mut().unwrap();
    incident.over_at = Some(incident.checked_at);
}

fn red_in_bake(facts: &mut Facts) {
    let alarm = &mut facts.record.deployment.observation.alarms[0];
    (alarm.last, alarm.is_exempt) = (Some((AlarmState::Alarm, second(650))), true);
}

fn order(facts: &mut Facts, verb: Verb) {
    let (who, why) = ("ann".to_owned(), "because".to_owned());
    facts.record.deployment.requests.last = Some(OperatorRequest { verb, who, why, at: second(590) });
}

#[test]
fn a_rollback_has_what_the_finding_showed() {
    let mut facts = Facts::in_shift(|_| {}).analyzed(|judged| judged.verdict = finding(Signal::Latency, true, true));
    facts.trigger = Trigger::Sweep;
    facts.reconcile();
    let rollback = facts.record.rollback.as_ref().unwrap();
    assert_eq!(
        (rollback.cause, rollback.trigger, rollback.exposure),
        (Cause::Latency, Trigger::Sweep, Exposure::Shift)
    );
    assert_eq!((rollback.impact_started_at, rollback.impact_is_from_alarm), (Some(second(60)), false));
    let why = "version 2 is worse than version 1: 5xx answers: 83 of 210";
    assert_eq!((rollback.detected_at, rollback.why.as_str()), (second(IN_SHIFT), why));
    assert_eq!(rollback.alarms, []);

    let mut facts = Facts::in_bake(sufficient).red("checkout-5xx", 400).probes(Control::OnlyCanaryFails);
    facts.reconcile();
    let rollback = facts.record.rollback.as_ref().unwrap();
    assert_eq!((rollback.exposure, rollback.alarms.as_slice()), (Exposure::Bake, [alarm("checkout-5xx")].as_slice()));
    assert!(rollback.impact_is_from_alarm && rollback.why.ends_with("the control probe fails on the new version only"));
}

#[test]
fn while_paused_findings_are_only_noted() {
    let verdict = |judged: &mut AnalysisResult| judged.verdict = finding(Signal::Errors, true, true);
    let burning = |judged: &mut AnalysisResult| judged.burning = finding(Signal::Slo, false, true);
    let silent = |settings: &mut PolicySettings| settings.no_evidence.silence = WithoutEvidence::Fail;
    let blind = |settings: &mut PolicySettings| settings.no_evidence.unreachable = WithoutEvidence::Fail;
    let unread = |facts: &mut Facts| facts.record.deployment.observation.metrics_unreadable_since = Some(second(140));
    let advise_latency = |settings: &mut PolicySettings| {
        let latency = SignalPolicy { mode: Some(Mode::Rollback), ..compared(&["checkout-p99"]) };
        settings.signals.insert(Signal::Latency, latency);
        settings.mode = Mode::Advise;
    };
    let over = |facts: &mut Facts| facts.pauses[0].ended = Some(pause("*", 150).began);
    let resumed: &[&str] = &["look at errors", "go back: errors"];
    check(vec![
        ("an alarm in the shift", shift(sufficient).red("checkout-5xx", 150).paused("*", 100), &["warning"]),
        ("a comparison in the shift", shift(|_| {}).analyzed(verdict).paused("*", 100), &["warning"]),
        ("a budget in the shift", shift(|_| {}).analyzed(burning).paused("*", 100), &["warning"]),
        ("blind in the shift", shift(blind).with(unread).with(|f| f.analysis = None).paused("*", 100), &["warning"]),
        (
            "both are degraded: nothing is held",
            shift(sufficient).red("checkout-5xx", 150).shared().paused("*", 9),
            &["warning"],
        ),
        ("an alarm in the bake", bake(sufficient).red("checkout-5xx", 400).paused("*", 100), &["warning"]),
        ("a comparison in the bake", bake(|_| {}).analyzed(verdict).paused("*", 100), &["warning"]),
        (
            "worse at the end of the bake",
            end(|_| {}).analyzed(verdict).paused("*", 100),
            &["warning", "passed", "answer Succeeded"],
        ),
        (
            "silence at the end of the bake",
            end(silent).analyzed(|judged| judged.is_conclusive = false).paused("*", 100),
            &["warning", "answer Succeeded"],
        ),
        (
            "blind at the end of the bake",
            end(|_| {}).analyzed(|j| j.unreadable = Some("PartialData".to_owned())).paused("*", 100),
            &["warning", "answer Succeeded"],
        ),
        (
            "one signal may",
            shift(advise_latency).analyzed(|j| j.verdict = finding(Signal::Latency, true, true)).paused("*", 9),
            &["warning"],
        ),
        (
            "advise: nobody is told what was not done",
            shift(advise).red("checkout-5xx", 150).paused("*", 9),
            &["warning"],
        ),
        ("its group is paused", shift(sufficient).red("checkout-5xx", 150).paused("shop/live", 100), &["warning"]),
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
    let verdict = |judged: &mut AnalysisResult| judged.verdict = finding(Signal::Errors, true, true);
    let at_end = || end(sufficient).incident(600, 999).paused("*", 700);
    check(vec![
        ("it goes on", held(BothFail), &["probe", "still"]),
        ("it is over", held(BothPass), &["probe", "over"]),
        ("only the new version is degraded", held(OnlyCanaryFails), &["probe", "warning", "over"]),
        (
            "the new version is worse in the same minutes",
            shift(sufficient).incident(140, 141).analyzed(verdict).paused("*", 150),
            &[],
        ),
        ("it goes on at the end of the bake", at_end(), &["warning", "answer Succeeded"]),
        ("it is over, its alarm is red", at_end().with(over).with(red_in_bake), &["warning", "answer Succeeded"]),
    ]);
}

#[test]
fn while_paused_a_hook_that_died_lets_through() {
    let before = |scope: &str, has_lease: bool| {
        shift(|_| {}).paused(scope, -20).with(|facts| {
            let deployment = &mut facts.record.deployment;
            deployment.phase = Phase::BeforeTraffic;
            deployment.observation.shift_started_at = None;
            deployment.identity.hooks.before = Some("CodeDeployHook_snapback-before".to_owned());
            deployment.observation.weights.truncate(1);
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
        observed.traffic.as_mut().unwrap().others.clear();
        facts.step(&observed)
    };
    let mut paused = before("*", true);
    let Step::Record(deployment, writes) = step(&paused) else { panic!("{:?}", step(&paused)) };
    assert_eq!(deployment.warnings, [Warning::HookUnanswered(Restraint::Paused)]);
    paused.store(*deployment, writes);
    let answer = step(&paused);
    assert!(matches!(answer, Step::Answer(LifecycleEvent::BeforeAllowTraffic, HookStatus::Succeeded, _)), "{answer:?}");
    // Another group's pause lets nothing through.
    let Step::Record(refused, _) = step(&before("shop/test", true)) else { panic!("not refused") };
    assert!(matches!(refused.phase, Phase::Refused(_)), "{:?}", refused.phase);
    // Nobody knows how to answer: as in mode `observe` the deployment is stopped, or its hook would hang.
    let Step::Record(refused, _) = step(&before("*", false)) else { panic!("not stopped") };
    let Phase::Refused(refusal) = refused.phase else { panic!("{:?}", refused.phase) };
    assert_eq!(refusal.blame.cause, Cause::NoEvidence);
}

#[test]
fn a_rollback_on_record_is_finished_while_paused() {
    for (case, at_s) in [("decided a moment ago", IN_SHIFT), ("its claim has run out", IN_SHIFT + 60)] {
        let mut facts = Facts::in_shift(sufficient).red("checkout-5xx", 150);
        assert_eq!(facts.reconcile(), ["look at errors", "go back: errors"], "{case}");
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
        assert_eq!(step, Step::Undo(vec![RollbackAction::StopDeployment]), "{case}");
    }
}

#[test]
fn a_pause_is_on_the_record_once() {
    let said = |facts: &Facts| -> Vec<(i64, String)> {
        let lines = facts.timeline.iter().filter(|line| line.kind == EntryKind::Pause);
        lines.map(|line| ((line.at.ms() - second(0).ms()) / 1000, line.text.clone())).collect()
    };
    let mut facts = Facts::in_shift(sufficient).red("checkout-5xx", 150);
    facts.pauses = vec![pause("*", 100), pause("shop/live", 120), pause("shop/test", 50)];
    assert_eq!(facts.reconcile(), ["warning"]);
    assert_eq!(facts.reconcile(), Vec::<String>::new());
    let began = (100, "ann paused the whole installation: false alarms".to_owned());
    assert_eq!(said(&facts), [began]);
    assert!(facts.timeline.iter().any(|line| line.text.starts_with("would roll back (paused): alarm checkout-5xx")));
    // The pause of the group goes on.
    let resumed = |at_s| Some(Attribution { at: second(at_s), who: "bob".to_owned(), why: "fixed".to_owned() });
    facts.pauses[0].ended = resumed(210);
    facts.now_s = 220;
    assert_eq!(facts.reconcile(), Vec::<String>::new());
    let still = [
        (210, "bob resumed: fixed".to_owned()),
        (120, "ann paused deployment group shop/live: false alarms".to_owned()),
    ];
    assert_eq!(said(&facts)[1..], still);
    // It is over, and what was only noted is acted on.
    facts.pauses[1].ended = resumed(230);
    facts.now_s = 240;
    assert_eq!(facts.reconcile(), ["look at errors", "go back: errors"]);
    assert_eq!(said(&facts)[3..], [(230, "bob resumed: fixed".to_owned())]);
    assert_eq!(facts.record.deployment.requests.paused_at, None);
    // One that began before the deployment was seen is told from there on.
    let mut late = Facts::in_shift(|_| {});
    late.pauses = vec![pause("*", -500)];
    late.reconcile();
    assert_eq!(said(&late)[0].0, -29);
}
