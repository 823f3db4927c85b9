//! The document itself. Its comments are the descriptions in the JSON Schema.

use super::PolicyError;
use super::comparison::{AgainstBaselineFile, FastFile, JudgeFile, MetricFile, WitnessFile};
use super::duration::DurationText;
use super::share::ShareText;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use snapback_core::policy::{
    AtDeadline, BeforeTraffic, Expect, FastPolicy, NoEvidence, Policy, PolicySettings, Probe, ProbeKind, RedAlarms,
    SignalPolicy, WithoutEvidence,
};
use snapback_core::{AlarmName, Mode, Signal};
use snapback_http::{HttpUrl, Loopback};
use snapback_judge::Judge;
use snapback_judge::slo::Objective;
use std::collections::BTreeMap;
use std::time::Duration;

/// Snapback's policy for one service: when a new version is refused, watched and rolled back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Name of the service in records, metrics and messages; 1 to 64 characters.
    service: String,
    /// How far Snapback may go for this service.
    mode: ModeWord,
    /// Checks of the new version before it gets traffic.
    #[serde(default)]
    before_traffic: BeforeTrafficFile,
    /// Witnesses beside traffic: what tells whether a difference can be laid to the version.
    #[serde(default, skip_serializing_if = "WitnessFile::is_empty")]
    witness: WitnessFile,
    /// Pairs of probes that may roll back within seconds. Off unless it is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fast: Option<FastFile>,
    /// The kinds of customer impact: the alarms that show them, and whether canary and baseline are compared. At most 100
    /// alarms in all.
    #[serde(default)]
    signals: SignalsFile,
    /// How long alarms are watched after all traffic has moved, 0s to 55m.
    #[serde(default = "default_bake")]
    bake: DurationText,
    /// How often Snapback looks, 1s to 1m.
    #[serde(default = "default_tick")]
    tick: DurationText,
    /// Times and strictness of the comparison.
    #[serde(default)]
    judge: JudgeFile,
    /// What it means when nobody can tell.
    #[serde(default)]
    no_evidence: NoEvidenceFile,
    /// What a hold becomes when its deadline is reached.
    #[serde(default)]
    at_deadline: AtDeadlineWord,
    /// How long a revision that was rolled back is refused, 0s to 720h.
    #[serde(default = "default_refuse_for")]
    refuse_for: DurationText,
    /// Who is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    notify: Option<NotifyFile>,
}

/// How far Snapback may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
enum ModeWord {
    /// Record only.
    Observe,
    /// Record and tell people.
    Advise,
    /// Refuse and roll back too.
    Rollback,
}

/// Checks of the new version before it gets traffic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
struct BeforeTrafficFile {
    /// Time for all checks, 2s to 14m.
    deadline: DurationText,
    /// What an alarm means that is red before the deployment.
    red_alarms: RedAlarmsWord,
    /// Checks of the new version, run side by side; at most 20.
    probes: Vec<ProbeFile>,
}

/// What an alarm means that is red before the deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
enum RedAlarmsWord {
    /// It does not stop the deployment, so that a fix can ship; it judges only worsening.
    Exempt,
    /// The deployment is refused.
    Block,
}

/// One check of the new version; exactly one kind per list entry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
enum ProbeFile {
    /// Invokes the new version by its version number.
    Invoke(InvokeFile),
    /// GET of a URL.
    Http(HttpFile),
    /// Invokes a team's own check function.
    Function(FunctionFile),
}

/// Invokes the new version by its version number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct InvokeFile {
    /// The event that is sent, any JSON.
    #[serde(default = "empty_object")]
    payload: Value,
    /// What the answer must look like.
    #[serde(default)]
    expect: ExpectFile,
    /// How often it is called, 1 to 100; every answer must be good.
    #[serde(default = "once")]
    times: u32,
    /// Name for messages and for `fast`; without it its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// true: a person says that thousands of calls a deployment are safe (no order, mail, lock or bill). Only such a probe is
    /// called beside traffic.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    repeatable: bool,
}

/// GET of a URL.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct HttpFile {
    /// Absolute https URL without user name and password.
    url: String,
    /// What the answer must look like.
    #[serde(default)]
    expect: ExpectFile,
    /// How often it is called, 1 to 100; every answer must be good.
    #[serde(default = "once")]
    times: u32,
    /// Name for messages and for `fast`; without it its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// Invokes a team's own check function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct FunctionFile {
    /// ARN of the function.
    arn: String,
    /// The event that is sent, any JSON.
    #[serde(default = "empty_object")]
    payload: Value,
    /// What the answer must look like.
    #[serde(default)]
    expect: ExpectFile,
    /// How often it is called, 1 to 100; every answer must be good.
    #[serde(default = "once")]
    times: u32,
    /// Name for messages and for `fast`; without it its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
}

/// What the answer of a probe must look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct ExpectFile {
    /// HTTP status, or the `statusCode` of a function's answer; without it any answer that is no error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// Slowest acceptable answer, 1ms to the deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    within: Option<DurationText>,
}

/// The kinds of customer impact.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct SignalsFile {
    /// Failed requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errors: Option<SignalFile>,
    /// Slow requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    latency: Option<SignalFile>,
    /// Requests without an answer, or traffic that is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    availability: Option<SignalFile>,
    /// Business transactions that fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transactions: Option<SignalFile>,
    /// A service level objective whose error budget burns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slo: Option<SlaFile>,
}

/// A service level objective. Its burn rates over minutes are counted from the same requests as the signal errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct SlaFile {
    /// Share of requests that must be good, 50% to 99.999%.
    objective: ShareText,
    /// Names of CloudWatch alarms on the objective.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    alarms: Vec<String>,
    /// How far Snapback may go for it; without it the policy's mode holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<ModeWord>,
    /// Whether a burning budget, or one of the alarms, rolls back alone.
    #[serde(default = "yes")]
    sufficient: bool,
}

/// One kind of customer impact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct SignalFile {
    /// Names of CloudWatch alarms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    alarms: Vec<String>,
    /// How far Snapback may go for this signal; without it the policy's mode holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<ModeWord>,
    /// Compare the new version with the old one. An empty object takes everything as recommended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    against_baseline: Option<AgainstBaselineFile>,
    /// Where the counts come from, for errors and transactions. Without it errors are Lambda's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metric: Option<MetricFile>,
    /// Whether an alarm of this signal rolls back alone. By default true, but false beside against_baseline (then an alarm only
    /// makes Snapback look), except for availability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sufficient: Option<bool>,
}

/// What missing evidence means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
struct NoEvidenceFile {
    /// There is too little to tell.
    silence: WithoutEvidenceWord,
    /// Snapback could not look.
    unreachable: WithoutEvidenceWord,
}

/// What to do when nobody can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
enum WithoutEvidenceWord {
    /// Go on, with a warning on the record.
    PassWithWarning,
    /// Wait for better evidence, at most until the deadline.
    Hold,
    /// Refuse.
    Fail,
}

/// What a hold becomes when its deadline is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
enum AtDeadlineWord {
    /// The hook is answered `Failed`.
    #[default]
    Fail,
    /// The hook is answered `Succeeded`, with a warning on the record.
    PassWithWarning,
}

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(any(test, feature = "schema"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct NotifyFile {
    /// ARN of an SNS topic.
    sns: String,
}

const fn minutes(count: u64) -> DurationText {
    DurationText(Duration::from_secs(60 * count))
}

const fn default_bake() -> DurationText {
    minutes(10)
}

const fn default_tick() -> DurationText {
    DurationText(Duration::from_secs(10))
}

const fn default_refuse_for() -> DurationText {
    minutes(24 * 60)
}

const fn once() -> u32 {
    1
}

const fn yes() -> bool {
    true
}

pub(super) const fn default_judge() -> Judge {
    Judge::recommended()
}

fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}

impl Default for BeforeTrafficFile {
    fn default() -> Self {
        Self { deadline: minutes(2), red_alarms: RedAlarmsWord::Exempt, probes: Vec::new() }
    }
}

impl Default for NoEvidenceFile {
    fn default() -> Self {
        Self { silence: WithoutEvidenceWord::PassWithWarning, unreachable: WithoutEvidenceWord::Hold }
    }
}

impl PolicyFile {
    /// Checks every field.
    ///
    /// # Errors
    /// When a field is out of its range; names it.
    pub fn into_policy(self) -> Result<Policy, PolicyError> {
        let probes = self.before_traffic.probes.into_iter().enumerate();
        let settings = PolicySettings {
            service: self.service,
            mode: self.mode.into(),
            before_traffic: BeforeTraffic {
                deadline: self.before_traffic.deadline.0,
                red_alarms: self.before_traffic.red_alarms.into(),
                probes: probes
                    .map(|(index, probe)| probe.into_probe(&format!("before_traffic.probes[{index}]")))
                    .collect::<Result<_, _>>()?,
            },
            witness: self.witness.into_witness()?,
            fast: self.fast.map(FastPolicy::from),
            signals: self.signals.into_signals()?,
            bake: self.bake.0,
            tick: self.tick.0,
            judge: self.judge.into(),
            no_evidence: NoEvidence {
                silence: self.no_evidence.silence.into(),
                unreachable: self.no_evidence.unreachable.into(),
            },
            at_deadline: self.at_deadline.into(),
            refuse_for: self.refuse_for.0,
            notify: self.notify.map(|notify| notify.sns),
        };
        Ok(Policy::new(settings)?)
    }
}

impl From<&Policy> for PolicyFile {
    fn from(policy: &Policy) -> Self {
        Self {
            service: policy.service.clone(),
            mode: policy.mode.into(),
            before_traffic: BeforeTrafficFile {
                deadline: DurationText(policy.before_traffic.deadline),
                red_alarms: policy.before_traffic.red_alarms.into(),
                probes: policy.before_traffic.probes.iter().map(ProbeFile::from).collect(),
            },
            witness: WitnessFile::from(&policy.witness),
            fast: policy.fast.as_ref().map(FastFile::from),
            signals: SignalsFile::from(&policy.signals),
            bake: DurationText(policy.bake),
            tick: DurationText(policy.tick),
            judge: JudgeFile::from(&policy.judge),
            no_evidence: NoEvidenceFile {
                silence: policy.no_evidence.silence.into(),
                unreachable: policy.no_evidence.unreachable.into(),
            },
            at_deadline: policy.at_deadline.into(),
            refuse_for: DurationText(policy.refuse_for),
            notify: policy.notify.clone().map(|sns| NotifyFile { sns }),
        }
    }
}

impl ProbeFile {
    fn into_probe(self, path: &str) -> Result<Probe, PolicyError> {
        let (kind, expect, times, label, is_repeatable) = match self {
            Self::Invoke(probe) => {
                let kind = ProbeKind::Invoke { payload: probe.payload.to_string() };
                (kind, probe.expect, probe.times, probe.name, probe.repeatable)
            }
            Self::Http(probe) => {
                // Whether loopback is allowed depends on where it runs, so it is checked again where it is called.
                HttpUrl::parse(&probe.url, Loopback::Allowed)
                    .map_err(|error| PolicyError::Field { path: format!("{path}.http.url"), why: error.to_string() })?;
                (ProbeKind::Http { url: probe.url }, probe.expect, probe.times, probe.name, false)
            }
            Self::Function(probe) => {
                if !is_function_arn(&probe.arn) {
                    return Err(PolicyError::Field {
                        path: format!("{path}.function.arn"),
                        why: format!("`{}` is not the ARN of a Lambda function", crate::reader::quote(&probe.arn)),
                    });
                }
                let payload = probe.payload.to_string();
                (ProbeKind::Function { arn: probe.arn, payload }, probe.expect, probe.times, probe.name, false)
            }
        };
        Ok(Probe {
            kind,
            expect: Expect { status: expect.status, within: expect.within.map(|within| within.0) },
            times,
            label,
            is_repeatable,
        })
    }
}

fn is_function_arn(arn: &str) -> bool {
    let mut parts = arn.split(':');
    let head = (parts.next(), parts.next(), parts.next());
    matches!(head, (Some("arn"), Some(_), Some("lambda")))
        && parts.nth(2) == Some("function")
        && arn.len() <= 512
        && arn.bytes().all(|byte| byte.is_ascii_graphic())
}

impl From<&Probe> for ProbeFile {
    fn from(probe: &Probe) -> Self {
        let expect = ExpectFile { status: probe.expect.status, within: probe.expect.within.map(DurationText) };
        let (times, name, repeatable) = (probe.times, probe.label.clone(), probe.is_repeatable);
        match &probe.kind {
            ProbeKind::Invoke { payload } => {
                Self::Invoke(InvokeFile { payload: json(payload), expect, times, name, repeatable })
            }
            ProbeKind::Http { url } => Self::Http(HttpFile { url: url.clone(), expect, times, name }),
            ProbeKind::Function { arn, payload } => {
                Self::Function(FunctionFile { arn: arn.clone(), payload: json(payload), expect, times, name })
            }
        }
    }
}

/// A payload is JSON text whenever it came from a document; any other text is sent as a JSON string.
fn json(payload: &str) -> Value {
    serde_json::from_str(payload).unwrap_or_else(|_| payload.into())
}

impl SignalsFile {
    fn into_signals(self) -> Result<BTreeMap<Signal, SignalPolicy>, PolicyError> {
        let signals = [
            (Signal::Errors, self.errors),
            (Signal::Latency, self.latency),
            (Signal::Availability, self.availability),
            (Signal::Transactions, self.transactions),
        ];
        let present = signals.into_iter().filter_map(|(signal, file)| Some((signal, file?)));
        let mut all: BTreeMap<_, _> = present
            .map(|(signal, file)| Ok((signal, file.into_signal(signal)?)))
            .collect::<Result<_, PolicyError>>()?;
        if let Some(slo) = self.slo {
            all.insert(Signal::Slo, slo.into_signal()?);
        }
        Ok(all)
    }
}

impl From<&BTreeMap<Signal, SignalPolicy>> for SignalsFile {
    fn from(signals: &BTreeMap<Signal, SignalPolicy>) -> Self {
        let file = |signal| signals.get(&signal).map(|policy| SignalFile::of(signal, policy));
        Self {
            errors: file(Signal::Errors),
            latency: file(Signal::Latency),
            availability: file(Signal::Availability),
            transactions: file(Signal::Transactions),
            slo: signals.get(&Signal::Slo).and_then(SlaFile::of),
        }
    }
}

fn alarm_names(signal: Signal, names: Vec<String>) -> Result<Vec<AlarmName>, PolicyError> {
    let names = names.into_iter().enumerate().map(|(index, name)| {
        AlarmName::parse(name).map_err(|error| PolicyError::Field {
            path: format!("signals.{signal}.alarms[{index}]"),
            why: error.to_string(),
        })
    });
    names.collect()
}

impl SignalFile {
    fn into_signal(self, signal: Signal) -> Result<SignalPolicy, PolicyError> {
        let path = format!("signals.{signal}");
        if self.alarms.is_empty() && self.against_baseline.is_none() {
            let why = "neither alarms nor against_baseline, so nothing judges it".to_owned();
            return Err(PolicyError::Field { path, why });
        }
        let is_compared = self.against_baseline.is_some();
        if !is_compared && self.sufficient == Some(false) {
            let why = "not sufficient and not compared, so nothing would ever act on it".to_owned();
            return Err(PolicyError::Field { path: format!("{path}.sufficient"), why });
        }
        if !is_compared && self.metric.is_some() {
            let why = "read only where the signal is compared: add against_baseline".to_owned();
            return Err(PolicyError::Field { path: format!("{path}.metric"), why });
        }
        Ok(SignalPolicy {
            alarms: alarm_names(signal, self.alarms)?,
            mode: self.mode.map(Mode::from),
            is_sufficient: self.sufficient.unwrap_or(is_sufficient(signal, is_compared)),
            against_baseline: self
                .against_baseline
                .map(|comparison| comparison.into_comparison(signal, &format!("{path}.against_baseline")))
                .transpose()?,
            source: self.metric.map(|metric| metric.into_source(&format!("{path}.metric"))).transpose()?,
            objective: None,
        })
    }

    fn of(signal: Signal, policy: &SignalPolicy) -> Self {
        let by_default = is_sufficient(signal, policy.against_baseline.is_some());
        Self {
            alarms: policy.alarms.iter().map(ToString::to_string).collect(),
            mode: policy.mode.map(ModeWord::from),
            against_baseline: policy.against_baseline.as_ref().map(Into::into),
            metric: policy.source.as_ref().map(MetricFile::from),
            sufficient: (policy.is_sufficient != by_default).then_some(policy.is_sufficient),
        }
    }
}

/// Whether an alarm of `signal` rolls back alone when the policy does not say: an outage is not argued about.
fn is_sufficient(signal: Signal, is_compared: bool) -> bool {
    match signal {
        Signal::Availability | Signal::Slo => true,
        Signal::Errors | Signal::Latency | Signal::Transactions => !is_compared,
    }
}

impl SlaFile {
    fn into_signal(self) -> Result<SignalPolicy, PolicyError> {
        let objective = Objective::new(self.objective.0).ok_or_else(|| PolicyError::Field {
            path: "signals.slo.objective".to_owned(),
            why: "allowed is 50% to 99.999%".to_owned(),
        })?;
        Ok(SignalPolicy {
            mode: self.mode.map(Mode::from),
            is_sufficient: self.sufficient,
            objective: Some(objective),
            ..SignalPolicy::of_alarms(alarm_names(Signal::Slo, self.alarms)?)
        })
    }

    fn of(policy: &SignalPolicy) -> Option<Self> {
        Some(Self {
            objective: ShareText(policy.objective?.good()),
            alarms: policy.alarms.iter().map(ToString::to_string).collect(),
            mode: policy.mode.map(ModeWord::from),
            sufficient: policy.is_sufficient,
        })
    }
}

macro_rules! same_words {
    ($file:ident, $core:ident, { $($variant:ident),+ }) => {
        impl From<$file> for $core {
            fn from(word: $file) -> Self {
                match word { $($file::$variant => Self::$variant),+ }
            }
        }

        impl From<$core> for $file {
            fn from(word: $core) -> Self {
                match word { $($core::$variant => Self::$variant),+ }
            }
        }
    };
}

same_words!(ModeWord, Mode, { Observe, Advise, Rollback });
same_words!(RedAlarmsWord, RedAlarms, { Exempt, Block });
same_words!(WithoutEvidenceWord, WithoutEvidence, { PassWithWarning, Hold, Fail });
same_words!(AtDeadlineWord, AtDeadline, { Fail, PassWithWarning });
