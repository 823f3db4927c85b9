//! The policy of one service: validated settings. A constructor is the only way in.

mod comparison;

pub use comparison::{AgainstBaseline, BUCKETS, Overrides};

use crate::id::{AlarmName, DeploymentId};
use crate::metrics::{Api, Peer, Source};
use crate::vocabulary::{Mode, Signal};
use snapback_judge::Judge;
use snapback_judge::detector::MAX_PEERS;
use snapback_judge::slo::Objective;
use std::collections::BTreeMap;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Longest bake: CodeDeploy gives AfterAllowTraffic an hour, Snapback answers five minutes before that.
pub const MAX_BAKE: Duration = Duration::from_secs(55 * 60);
/// Longest deadline of the checks before traffic: a function lives at most 15 minutes and needs a reserve to answer.
pub const MAX_DEADLINE: Duration = Duration::from_secs(14 * 60);
/// Probes that one policy may name.
pub const MAX_PROBES: usize = 20;
/// Most pairs of one burst.
pub const MAX_BURST: u8 = 50;
/// A pair of probes is sent once a second; a shorter time is for rehearsals, whose seconds are shorter.
pub const PAIR_EVERY: Duration = SECOND;
/// Shortest time between two pairs.
const PAIR_EVERY_MIN: Duration = Duration::from_millis(20);
/// Alarms that one policy may name, over all signals: one page of DescribeAlarms.
pub const MAX_ALARMS: usize = 100;

/// What a red alarm means when it was red before the deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedAlarms {
    /// It does not stop the deployment; it judges only worsening.
    Exempt,
    /// The deployment is refused.
    Block,
}

/// What to do when nobody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithoutEvidence {
    /// Go on, with a warning on the record.
    PassWithWarning,
    /// Wait for better evidence, at most until the deadline.
    Hold,
    /// Refuse.
    Fail,
}

/// What to do when a hold reaches its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtDeadline {
    /// Answer `Failed`.
    Fail,
    /// Answer `Succeeded`, with a warning on the record.
    PassWithWarning,
}

/// What a probe's answer must look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// `statusCode` of the answer (Lambda) or HTTP status; `None`: any answer that is no error.
    pub status: Option<u16>,
    /// Slowest acceptable answer.
    pub within: Option<Duration>,
}

/// How a probe reaches the new version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeKind {
    /// Invokes the new version by its version number; `payload` is JSON text.
    Invoke {
        /// JSON text sent as the event.
        payload: String,
    },
    /// GET of a URL.
    Http {
        /// Absolute https URL; loopback http only in a rehearsal (checked where it is called).
        url: String,
    },
    /// Invokes a team's own check function.
    Function {
        /// Function ARN.
        arn: String,
        /// JSON text sent as the event.
        payload: String,
    },
}

/// One check of the new version before it gets traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// How it reaches the version.
    pub kind: ProbeKind,
    /// What the answer must look like.
    pub expect: Expect,
    /// Calls per check, 1 to 100; each must be good.
    pub times: u32,
    /// Name by which the policy refers to it; `None`: its kind.
    pub label: Option<String>,
    /// Whether a person said that thousands of calls a deployment are safe: no order, mail, lock or bill. Only such a probe is
    /// used beside traffic.
    pub is_repeatable: bool,
}

impl Probe {
    /// Whether it may be called beside traffic: a person said so, and it tells the versions apart.
    #[must_use]
    pub const fn is_safe_beside_traffic(&self) -> bool {
        self.is_repeatable && matches!(self.kind, ProbeKind::Invoke { .. })
    }

    /// Short name for records and messages, for example `invoke` or `http https://…`.
    #[must_use]
    pub fn name(&self) -> String {
        if let Some(label) = &self.label {
            return label.clone();
        }
        match &self.kind {
            ProbeKind::Invoke { .. } => "invoke".to_owned(),
            ProbeKind::Http { url } => format!("http {url}"),
            ProbeKind::Function { arn, .. } => format!("function {arn}"),
        }
    }
}

/// The event of a team's own check function: `payload`, and which deployment and version it is about in the member `snapback`. A
/// payload that is no JSON object is sent as it is, and one with a `snapback` of its own keeps that.
#[must_use]
pub fn check_event(payload: &str, deployment: &DeploymentId, function: &str, version: &str) -> String {
    // Ids, names and version numbers have no characters that JSON escapes.
    let about = format!(r#"{{"deployment":"{deployment}","function":"{function}","version":"{version}"}}"#);
    with_snapback(payload, &about)
}

/// The event of a probe beside traffic: `payload` with the member `snapback: {"probe": true}`, by which the function can leave
/// it out of its own metrics. As with [`check_event`], what is no JSON object and what has a `snapback` of its own stays.
#[must_use]
pub fn probe_event(payload: &str) -> String {
    with_snapback(payload, r#"{"probe":true}"#)
}

/// `payload` with a member `snapback` before its own ones: the last of two members of one name counts.
fn with_snapback(payload: &str, value: &str) -> String {
    let Some(members) = payload.trim().strip_prefix('{') else {
        return payload.to_owned();
    };
    let comma = if members.trim_start().starts_with('}') { "" } else { "," };
    format!(r#"{{"snapback":{value}{comma}{members}"#)
}

/// PolicySettings of the checks before traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeforeTraffic {
    /// Time for all checks, from the start of the hook.
    pub deadline: Duration,
    /// Meaning of alarms that are red already.
    pub red_alarms: RedAlarms,
    /// Checks of the new version, run side by side.
    pub probes: Vec<Probe>,
}

/// What tells whether a difference can be laid to the version.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WitnessPolicy {
    /// What stands in front of the service and counts its requests, whoever answers.
    pub front: Option<Api>,
    /// Other services behind the same dependencies, at most [`MAX_PEERS`].
    pub peers: Vec<Peer>,
    /// How often both versions are probed beside traffic; `None`: not at all.
    pub probe_every: Option<Duration>,
}

/// Pairs of probes that may roll back within seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FastPolicy {
    /// Names of the probes, each a repeatable one; in turn.
    pub probes: Vec<String>,
    /// Pairs that are sent at once when the new version is suspected; 0: never, and the pairs only advise.
    pub burst: u8,
}

/// What the policy says of pairs of probes, from both places where it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairPolicy<'a> {
    /// Which probes, in turn; at least one.
    pub probes: Vec<&'a Probe>,
    /// Time from one pair to the next.
    pub every: Duration,
    /// Pairs of a burst; 0: the pairs only advise.
    pub burst: u8,
}

/// PolicySettings of one signal.
#[derive(Debug, Clone, PartialEq)]
pub struct SignalPolicy {
    /// Raw customer-impact alarms of this signal.
    pub alarms: Vec<AlarmName>,
    /// Overrides the policy's mode for this signal.
    pub mode: Option<Mode>,
    /// Whether an alarm of this signal rolls back alone; else it only makes Snapback look.
    pub is_sufficient: bool,
    /// Compares canary and baseline; `None`: this signal is judged by its alarms only.
    pub against_baseline: Option<AgainstBaseline>,
    /// Where its counts come from; `None`: from Lambda's own metrics.
    pub source: Option<Source>,
    /// Objective of the signal `slo`.
    pub objective: Option<Objective>,
}

impl SignalPolicy {
    /// A signal that is judged by these alarms alone.
    #[must_use]
    pub const fn of_alarms(alarms: Vec<AlarmName>) -> Self {
        Self { alarms, mode: None, is_sufficient: true, against_baseline: None, source: None, objective: None }
    }
}

/// What a missing answer means, by kind of absence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoEvidence {
    /// There is too little to tell.
    pub silence: WithoutEvidence,
    /// Snapback could not look.
    pub unreachable: WithoutEvidence,
}

/// All settings, unchecked; [`Policy::new`] checks them.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicySettings {
    /// Service name for records, metrics and messages.
    pub service: String,
    /// How far Snapback may go.
    pub mode: Mode,
    /// Checks before traffic.
    pub before_traffic: BeforeTraffic,
    /// Witnesses beside traffic.
    pub witness: WitnessPolicy,
    /// Pairs of probes.
    pub fast: Option<FastPolicy>,
    /// Customer impact, by kind.
    pub signals: BTreeMap<Signal, SignalPolicy>,
    /// How long alarms are watched after all traffic has moved; zero: not at all.
    pub bake: Duration,
    /// How often the sweep looks.
    pub tick: Duration,
    /// How canary and baseline are compared.
    pub judge: Judge,
    /// What missing evidence means.
    pub no_evidence: NoEvidence,
    /// What the end of a hold means.
    pub at_deadline: AtDeadline,
    /// How long a revision that was rolled back is refused; zero: not at all.
    pub refuse_for: Duration,
    /// ARN of the SNS topic that people read.
    pub notify: Option<String>,
}

/// A setting that is out of its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("policy field `{field}` is {value}, allowed is {allowed}")]
pub struct OutOfRange {
    /// Path of the field as people write it, for example `before_traffic.deadline`.
    pub field: String,
    /// What was found.
    pub value: String,
    /// What would be right.
    pub allowed: String,
}

/// Validated settings of one service.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    settings: PolicySettings,
    detectors: comparison::Detectors,
}

impl Policy {
    /// Checks every range.
    ///
    /// # Errors
    /// Names the first field that is out of range, its value and what is allowed.
    pub fn new(settings: PolicySettings) -> Result<Self, OutOfRange> {
        name("service", &settings.service)?;
        duration("before_traffic.deadline", settings.before_traffic.deadline, 2 * SECOND, MAX_DEADLINE)?;
        count("before_traffic.probes", settings.before_traffic.probes.len(), 0, MAX_PROBES)?;
        for (index, probe) in settings.before_traffic.probes.iter().enumerate() {
            if let Some(label) = &probe.label {
                let field = format!("before_traffic.probes[{index}].name");
                name(&field, label)?;
                let before = settings.before_traffic.probes.iter().take(index);
                if before.filter_map(|probe| probe.label.as_ref()).any(|known| known == label) {
                    return Err(out_of_range(&field, format!("`{label}`"), "a name that no other probe has"));
                }
            }
            let times = usize::try_from(probe.times).unwrap_or(usize::MAX);
            count(&format!("before_traffic.probes[{index}].times"), times, 1, 100)?;
            if let Some(within) = probe.expect.within {
                let field = format!("before_traffic.probes[{index}].expect.within");
                duration(&field, within, Duration::from_millis(1), settings.before_traffic.deadline)?;
            }
        }
        check_witness(&settings)?;
        count("signals", settings.signals.values().map(|signal| signal.alarms.len()).sum(), 0, MAX_ALARMS)?;
        duration("bake", settings.bake, Duration::ZERO, MAX_BAKE)?;
        duration("tick", settings.tick, SECOND, MINUTE)?;
        let detectors = comparison::check(&settings)?;
        check_marks(&settings)?;
        duration("refuse_for", settings.refuse_for, Duration::ZERO, 720 * 60 * MINUTE)?;
        if let Some(topic) = &settings.notify
            && !(topic.starts_with("arn:") && topic.contains(":sns:"))
        {
            return Err(out_of_range("notify.sns", topic, "the ARN of an SNS topic"));
        }
        Ok(Self { settings, detectors })
    }

    /// What holds for a deployment group without a policy parameter: mode `advise`, no probes, no bake, only the group's
    /// own alarms.
    #[must_use]
    pub fn without_parameter(service: &str) -> Self {
        let settings = PolicySettings {
            service: service.to_owned(),
            mode: Mode::Advise,
            before_traffic: BeforeTraffic { deadline: 2 * MINUTE, red_alarms: RedAlarms::Exempt, probes: Vec::new() },
            witness: WitnessPolicy::default(),
            fast: None,
            signals: BTreeMap::new(),
            bake: Duration::ZERO,
            tick: 10 * SECOND,
            judge: Judge::recommended(),
            no_evidence: NoEvidence { silence: WithoutEvidence::PassWithWarning, unreachable: WithoutEvidence::Hold },
            at_deadline: AtDeadline::Fail,
            refuse_for: 24 * 60 * MINUTE,
            notify: None,
        };
        // No signal is named, so none is compared.
        Self { settings, detectors: comparison::Detectors::NONE }
    }

    /// What holds while a group's policy exists but cannot be understood: as without one, but with permission to refuse,
    /// because a document that nobody can read must not let a version through.
    #[must_use]
    pub fn unreadable(service: &str) -> Self {
        let mut policy = Self::without_parameter(service);
        policy.settings.mode = Mode::Rollback;
        policy
    }

    /// The mode that holds for `signal`: its own, or the policy's.
    #[must_use]
    pub fn mode_of(&self, signal: Option<Signal>) -> Mode {
        signal.and_then(|signal| self.signals.get(&signal)).and_then(|signal| signal.mode).unwrap_or(self.mode)
    }

    /// Whether an alarm of `signal` rolls back alone. One that the policy does not name does.
    #[must_use]
    pub fn is_sufficient(&self, signal: Option<Signal>) -> bool {
        signal.and_then(|signal| self.signals.get(&signal)).is_none_or(|signal| signal.is_sufficient)
    }

    /// Whether any signal compares canary and baseline, or has an objective, so that the numbers of both are read.
    #[must_use]
    pub fn is_compared(&self) -> bool {
        self.signals.values().any(|signal| signal.against_baseline.is_some() || signal.objective.is_some())
    }

    /// The pairs of probes, if the policy asks for any: those of `fast`, or else all that are safe beside traffic.
    #[must_use]
    pub fn pairs(&self) -> Option<PairPolicy<'_>> {
        let all = &self.before_traffic.probes;
        let (probes, burst): (Vec<&Probe>, u8) = match (&self.fast, self.witness.probe_every) {
            (Some(fast), _) => {
                let named = fast.probes.iter().filter_map(|name| all.iter().find(|probe| probe.name() == *name));
                (named.collect(), fast.burst)
            }
            (None, Some(_)) => (all.iter().collect(), 0),
            (None, None) => return None,
        };
        let probes: Vec<&Probe> = probes.into_iter().filter(|probe| probe.is_safe_beside_traffic()).collect();
        let every = self.witness.probe_every.unwrap_or(PAIR_EVERY);
        (!probes.is_empty()).then_some(PairPolicy { probes, every, burst })
    }

    /// The signal to which the policy assigns `alarm`.
    #[must_use]
    pub fn signal_of(&self, alarm: &AlarmName) -> Option<Signal> {
        self.signals.iter().find(|(_, policy)| policy.alarms.contains(alarm)).map(|(signal, _)| *signal)
    }
}

fn check_witness(settings: &PolicySettings) -> Result<(), OutOfRange> {
    let (witness, probes) = (&settings.witness, &settings.before_traffic.probes);
    count("witness.peers", witness.peers.len(), 0, MAX_PEERS)?;
    if let Some(every) = witness.probe_every {
        duration("witness.probe.every", every, PAIR_EVERY_MIN, PAIR_EVERY)?;
        if !probes.iter().any(Probe::is_safe_beside_traffic) {
            let allowed = "given beside an invoke probe with `repeatable: true`: it is called thousands of times";
            return Err(out_of_range("witness.probe", "given", allowed));
        }
    }
    let Some(fast) = &settings.fast else { return Ok(()) };
    count("fast.burst", usize::from(fast.burst), 0, usize::from(MAX_BURST))?;
    count("fast.probes", fast.probes.len(), 1, MAX_PROBES)?;
    for (index, name) in fast.probes.iter().enumerate() {
        let mut found = probes.iter().filter(|probe| probe.name() == *name);
        let (first, second) = (found.next(), found.next());
        if second.is_some() {
            let allowed = "the name of one probe; give each a `name`";
            return Err(out_of_range(&format!("fast.probes[{index}]"), format!("`{name}`, the name of two"), allowed));
        }
        if !first.is_some_and(Probe::is_safe_beside_traffic) {
            let allowed = "the name of an invoke probe of before_traffic with `repeatable: true`";
            return Err(out_of_range(&format!("fast.probes[{index}]"), format!("`{name}`"), allowed));
        }
    }
    Ok(())
}

/// Beside probes a team's own metrics count without their calls, or Snapback would be taken for a customer.
fn check_marks(settings: &PolicySettings) -> Result<(), OutOfRange> {
    if settings.witness.probe_every.is_none() && settings.fast.is_none() {
        return Ok(());
    }
    let counts_probes = |of: &SignalPolicy| matches!(of.source, Some(Source::Custom { without_probes: false, .. }));
    match settings.signals.iter().find(|(_, of)| counts_probes(of)) {
        Some((signal, _)) => {
            let allowed = "true beside witness.probe and fast: their calls, which carry a mark, would be taken for customers \
                           (docs/metrics.md)";
            Err(out_of_range(&format!("signals.{signal}.metric.custom.without_probes"), false, allowed))
        }
        None => Ok(()),
    }
}

impl std::ops::Deref for Policy {
    type Target = PolicySettings;
    fn deref(&self) -> &PolicySettings {
        &self.settings
    }
}

fn out_of_range(field: &str, value: impl ToString, allowed: impl Into<String>) -> OutOfRange {
    OutOfRange { field: field.to_owned(), value: value.to_string(), allowed: allowed.into() }
}

fn name(field: &str, value: &str) -> Result<(), OutOfRange> {
    let is_valid = (1..=64).contains(&value.chars().count()) && !value.chars().any(char::is_control);
    if is_valid { Ok(()) } else { Err(out_of_range(field, format!("`{value}`"), "a name of 1 to 64 characters")) }
}

fn count(field: &str, value: usize, least: usize, most: usize) -> Result<(), OutOfRange> {
    if (least..=most).contains(&value) { Ok(()) } else { Err(out_of_range(field, value, format!("{least} to {most}"))) }
}

fn duration(field: &str, value: Duration, least: Duration, most: Duration) -> Result<(), OutOfRange> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(out_of_range(field, human(value), format!("{} to {}", human(least), human(most))))
    }
}

/// A duration as people write it in a policy: `90s`, `10m`, `800ms`.
#[must_use]
pub fn human(value: Duration) -> String {
    let ms = value.as_millis();
    match ms {
        0 => "0s".to_owned(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        _ => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> PolicySettings {
        (*Policy::without_parameter("checkout")).clone()
    }

    fn named(label: &str) -> Probe {
        Probe {
            kind: ProbeKind::Invoke { payload: "{}".into() },
            expect: Expect { status: None, within: None },
            times: 1,
            label: Some(label.to_owned()),
            is_repeatable: true,
        }
    }

    #[test]
    fn a_check_function_is_told_what_it_checks() {
        let id = DeploymentId::parse("d-A1B2C3D4E").unwrap();
        let about = r#""snapback":{"deployment":"d-A1B2C3D4E","function":"checkout","version":"7"}"#;
        let table = [
            ("{}", format!("{{{about}}}")),
            ("{ }", format!("{{{about} }}")),
            (r#"{"path":"/health"}"#, format!(r#"{{{about},"path":"/health"}}"#)),
            ("[1]", "[1]".to_owned()),
            ("null", "null".to_owned()),
        ];
        for (payload, event) in table {
            assert_eq!(check_event(payload, &id, "checkout", "7"), event, "{payload}");
        }
    }

    #[test]
    fn a_probe_beside_traffic_is_marked() {
        let table = [
            ("{}", r#"{"snapback":{"probe":true}}"#),
            (r#"{"path":"/health"}"#, r#"{"snapback":{"probe":true},"path":"/health"}"#),
            (r#""text""#, r#""text""#),
        ];
        for (payload, event) in table {
            assert_eq!(probe_event(payload), event);
        }
    }

    #[test]
    fn which_probes_are_sent_in_pairs() {
        let probe = |label: &str, is_repeatable| Probe {
            kind: ProbeKind::Invoke { payload: "{}".into() },
            expect: Expect { status: None, within: None },
            times: 1,
            label: Some(label.to_owned()),
            is_repeatable,
        };
        let fast = |burst| Some(FastPolicy { probes: vec!["b".to_owned()], burst });
        let ms = |ms| Some(Duration::from_millis(ms));
        // (case, fast, witness.probe.every, what is sent: names, every in ms, burst)
        let table = [
            ("nothing is asked for", None, None, None),
            ("by the minute", None, ms(1000), Some((vec!["a", "b"], 1000, 0))),
            ("fast", fast(10), None, Some((vec!["b"], 1000, 10))),
            ("both, in a rehearsal", fast(5), ms(20), Some((vec!["b"], 20, 5))),
        ];
        for (case, fast, every, expected) in table {
            let mut settings = settings();
            settings.before_traffic.probes = vec![probe("a", true), probe("b", true), probe("c", false)];
            (settings.fast, settings.witness.probe_every) = (fast, every);
            let policy = Policy::new(settings).unwrap();
            let found = policy.pairs().map(|pairs| {
                let names: Vec<String> = pairs.probes.iter().map(|probe| probe.name()).collect();
                (names, pairs.every.as_millis(), pairs.burst)
            });
            let expected =
                expected.map(|(names, every, burst)| (names.into_iter().map(str::to_owned).collect(), every, burst));
            assert_eq!(found, expected, "{case}");
        }
        for (case, every) in [("too short", ms(19)), ("too long", ms(1001))] {
            let mut settings = settings();
            settings.before_traffic.probes = vec![probe("a", true)];
            settings.witness.probe_every = every;
            let error = Policy::new(settings).unwrap_err().to_string();
            assert!(
                error.contains("`witness.probe.every`") && error.ends_with("allowed is 20ms to 1s"),
                "{case}: {error}"
            );
        }
    }

    #[test]
    fn ranges_name_field_value_and_range() {
        type Case = (&'static str, fn(&mut PolicySettings), Option<&'static str>);
        let table: [Case; 9] = [
            ("as it is", |_| {}, None),
            ("longest bake", |s| s.bake = 55 * MINUTE, None),
            ("bake too long", |s| s.bake = 56 * MINUTE, Some("policy field `bake` is 56m, allowed is 0s to 55m")),
            (
                "no service",
                |s| s.service.clear(),
                Some("policy field `service` is ``, allowed is a name of 1 to 64 characters"),
            ),
            (
                "tick too short",
                |s| s.tick = Duration::from_millis(900),
                Some("policy field `tick` is 900ms, allowed is 1s to 1m"),
            ),
            (
                "deadline too long",
                |s| s.before_traffic.deadline = 15 * MINUTE,
                Some("policy field `before_traffic.deadline` is 15m, allowed is 2s to 14m"),
            ),
            ("deadline for a rehearsal", |s| s.before_traffic.deadline = 5 * SECOND, None),
            (
                "zero times",
                |s| {
                    s.before_traffic.probes.push(Probe {
                        kind: ProbeKind::Invoke { payload: "{}".into() },
                        expect: Expect { status: None, within: None },
                        times: 0,
                        label: None,
                        is_repeatable: false,
                    });
                },
                Some("policy field `before_traffic.probes[0].times` is 0, allowed is 1 to 100"),
            ),
            (
                "not a topic",
                |s| s.notify = Some("ops@example.com".into()),
                Some("policy field `notify.sns` is ops@example.com, allowed is the ARN of an SNS topic"),
            ),
        ];
        for (case, change, expected) in table {
            let mut settings = settings();
            change(&mut settings);
            assert_eq!(Policy::new(settings).err().map(|error| error.to_string()).as_deref(), expected, "{case}");
        }
    }

    #[test]
    fn probes_have_names_and_stay_out_of_metrics() {
        type Case = (&'static str, fn(&mut PolicySettings), Option<&'static str>);
        let table: [Case; 3] = [
            (
                "two probes of one name",
                |s| s.before_traffic.probes = ["cart", "pay", "cart"].map(named).to_vec(),
                Some(
                    "policy field `before_traffic.probes[2].name` is `cart`, allowed is a name that no other probe has",
                ),
            ),
            (
                "a fast path by a name of two",
                |s| {
                    s.before_traffic.probes = vec![Probe { label: None, ..named("x") }; 2];
                    s.fast = Some(FastPolicy { probes: vec!["invoke".to_owned()], burst: 10 });
                },
                Some(
                    "policy field `fast.probes[0]` is `invoke`, the name of two, allowed is the name of one probe; give each a \
                     `name`",
                ),
            ),
            (
                "a metric that counts the calls of probes",
                |s| {
                    s.before_traffic.probes = vec![named("cart")];
                    s.witness.probe_every = Some(SECOND);
                    let source = Source::Custom {
                        namespace: "Shop".to_owned(),
                        all: "Requests".to_owned(),
                        bad: "ServerErrors".to_owned(),
                        client_errors: None,
                        dimensions: BTreeMap::new(),
                        version: None,
                        without_probes: false,
                    };
                    let errors = SignalPolicy { source: Some(source), ..SignalPolicy::of_alarms(Vec::new()) };
                    s.signals.insert(Signal::Errors, errors);
                },
                Some(
                    "policy field `signals.errors.metric.custom.without_probes` is false, allowed is true beside witness.probe \
                     and fast: their calls, which carry a mark, would be taken for customers (docs/metrics.md)",
                ),
            ),
        ];
        for (case, change, expected) in table {
            let mut settings = settings();
            change(&mut settings);
            assert_eq!(Policy::new(settings).err().map(|error| error.to_string()).as_deref(), expected, "{case}");
        }
    }

    #[test]
    fn a_signal_has_its_own_mode() {
        let mut settings = settings();
        let alarm = AlarmName::parse("p99").unwrap();
        settings.signals.insert(
            Signal::Latency,
            SignalPolicy { mode: Some(Mode::Rollback), ..SignalPolicy::of_alarms(vec![alarm.clone()]) },
        );
        let policy = Policy::new(settings).unwrap();
        assert_eq!(policy.signal_of(&alarm), Some(Signal::Latency));
        assert_eq!(policy.mode_of(Some(Signal::Latency)), Mode::Rollback);
        assert_eq!(policy.mode_of(Some(Signal::Errors)), Mode::Advise);
        assert_eq!(policy.mode_of(None), Mode::Advise);
    }
}
