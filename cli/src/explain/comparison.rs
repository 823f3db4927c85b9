//! What the comparison of both versions found: totals, the detector's sentences, and for machines every record and every poll.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use snapback_app::ports::AnalysisStore;
use snapback_aws::Aws;
use snapback_core::Timestamp;
use snapback_core::policy::human;
use snapback_core::record::Record;
use snapback_judge::Share;
use snapback_judge::analysis::{Analysis, JudgedPoll};
use snapback_judge::detector::{
    BucketRecord, Counts, Judgement, Latencies, MetricEvidence, Reading, Said, Side, State, headline,
};
use snapback_judge::{Metric, Signal, Verdict};

/// A stored state is checked with the longest grace: slow functions may have got more than their policy says.
const LONGEST_GRACE_S: f64 = 300.0;

/// The numbers of one deployment.
pub(super) struct Numbers {
    analysis: Analysis,
    polls: Vec<JudgedPoll>,
    detectors: Vec<Detector>,
}

/// One detector: the signals that may roll back share one, those that may only tell another.
struct Detector {
    decides: bool,
    headline: String,
    judgement: Judgement,
}

/// Requests in the judged buckets of one signal.
#[derive(Default)]
struct Totals {
    starts: BTreeSet<i64>,
    baseline: u64,
    canary: u64,
}

impl Numbers {
    /// The numbers on record; `None` when nothing was compared.
    ///
    /// # Errors
    /// Why they cannot be read. The rest of the timeline can still be told.
    pub(super) async fn load(aws: &Aws, record: &Record) -> Result<Option<Self>, String> {
        if !record.policy.is_compared() {
            return Ok(None);
        }
        let id = &record.deployment.identity.id;
        let Some(stored) = aws.analysis(id).await.map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let analysis = stored.analysis.ok_or("another version of Snapback stored them")?;
        let polls = aws.judged_polls(id).await.map_err(|error| error.to_string())?;
        let states = [(true, &analysis.enforcing), (false, &analysis.advisory)];
        let detectors = states.into_iter().filter_map(|(decides, state)| Some((decides, state.as_ref()?)));
        let detectors =
            detectors.map(|(decides, state)| Detector::of(record, decides, state)).collect::<Result<_, _>>()?;
        Ok(Some(Self { analysis, polls, detectors }))
    }

    /// For people; lines are indented by two.
    pub(super) fn text(&self, record: &Record) -> String {
        let target = &record.deployment.identity.target;
        let mut out = format!(
            "  version {} with version {}, in buckets of {}; second 0 is {}\n",
            target.canary(),
            target.baseline(),
            human(record.policy.judge.bucket),
            self.analysis.origin
        );
        if let Some(from) = self.analysis.anew_from {
            out.push_str(&format!("  evidence counts since {from}, when a shared incident was over\n"));
        }
        let totals = self.totals();
        for detector in &self.detectors {
            let role = if detector.decides { "roll back" } else { "only tell" };
            out.push_str(&format!("  Signals that may {role}: {}\n", detector.headline));
            let signals: BTreeSet<Signal> =
                detector.judgement.evidence.iter().map(|it| Signal::from(it.metric)).collect();
            for signal in signals {
                out.push_str(&format!("    {signal}: {}\n", totals.get(&signal).unwrap_or(&Totals::default()).text()));
                for evidence in detector.judgement.evidence.iter().filter(|it| Signal::from(it.metric) == signal) {
                    out.push_str(&format!("      {}\n", evidence.sentence()));
                }
            }
            for note in &detector.judgement.notes {
                out.push_str(&format!("    not held against it: {}\n", note.sentence()));
            }
        }
        if self.detectors.is_empty() {
            out.push_str("  nothing was judged\n");
        }
        out
    }

    fn totals(&self) -> BTreeMap<Signal, Totals> {
        let mut all: BTreeMap<Signal, Totals> = BTreeMap::new();
        for record in self.polls.iter().flat_map(|poll| &poll.records) {
            let Reading::Version(side, counts) = record.reading else { continue };
            let measured = [
                (Signal::Errors, counts.e5.is_some()),
                (Signal::Latency, counts.latencies.is_some()),
                (Signal::Availability, true),
                (Signal::Transactions, counts.tx.is_some()),
            ];
            for (signal, _) in measured.into_iter().filter(|(_, is_measured)| *is_measured) {
                let totals = all.entry(signal).or_default();
                totals.starts.insert(record.start_s);
                let requests = match side {
                    Side::Baseline => &mut totals.baseline,
                    Side::Canary => &mut totals.canary,
                };
                *requests = requests.saturating_add(counts.requests);
            }
        }
        all
    }

    /// What the detectors rest on, for machines.
    pub(super) fn document(&self) -> Value {
        json!({
            "origin_ms": self.analysis.origin.ms(),
            "anew_from_ms": self.analysis.anew_from.map(Timestamp::ms),
            "detectors": self.detectors.iter().map(|detector| {
                let mut document = detector.document(self.analysis.origin);
                if let Some(members) = document.as_object_mut() {
                    members.insert("polls".to_owned(), self.said(detector.decides));
                }
                document
            }).collect::<Vec<_>>(),
        })
    }

    /// What one detector said after each poll.
    fn said(&self, decides: bool) -> Value {
        let polls = self.polls.iter().filter_map(|poll| {
            let Said { rolled_back, log_e } = if decides { poll.enforcing? } else { poll.advisory? };
            let log_e = Metric::COMPARED.iter().zip(log_e);
            let log_e: BTreeMap<&str, f64> =
                log_e.filter_map(|(metric, log_e)| Some((metric.as_str(), log_e?))).collect();
            Some(json!({
                "at_ms": poll.polled_at.ms(),
                "rolled_back": rolled_back.map(Metric::as_str),
                "log_e": log_e,
            }))
        });
        polls.collect()
    }

    /// Every record that was judged, in the order in which they came, for machines.
    pub(super) fn series(&self) -> Value {
        let records = self.polls.iter().flat_map(|poll| poll.records.iter().map(move |of| record(poll, of)));
        records.collect()
    }

    /// The polls on record, oldest first.
    pub(super) fn polls(&self) -> &[JudgedPoll] {
        &self.polls
    }
}

impl Totals {
    fn text(&self) -> String {
        match self.starts.len() {
            0 => "no bucket judged".to_owned(),
            1 => format!("1 bucket judged, {}", self.requests()),
            many => format!("{many} buckets judged, {}", self.requests()),
        }
    }

    fn requests(&self) -> String {
        format!("requests: old version {}, new version {}", self.baseline, self.canary)
    }
}

impl Detector {
    fn of(record: &Record, decides: bool, state: &State) -> Result<Self, String> {
        let settings = record.policy.detector(decides).and_then(|settings| {
            settings.with(|it| (it.grace_s, it.no_data_timeout_s) = (LONGEST_GRACE_S, LONGEST_GRACE_S)).ok()
        });
        let settings = settings.ok_or("the pinned policy compares nothing that was judged")?;
        state.check().map_err(|error| error.to_string())?;
        let mut judgement = State::finish(&settings, state);
        if !record.deployment.phase.is_closed() && judgement.verdict != Verdict::Rollback {
            judgement.verdict = Verdict::Continue;
        }
        Ok(Self { decides, headline: headline(&settings, state, &judgement), judgement })
    }

    fn document(&self, origin: Timestamp) -> Value {
        json!({
            "may_roll_back": self.decides,
            "verdict": self.judgement.verdict.as_str(),
            "reason": self.judgement.reason.map(Metric::as_str),
            "log_e": self.judgement.log_e.filter(|log_e| log_e.is_finite()),
            "headline": self.headline,
            "advice": self.judgement.notes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "evidence": self.judgement.evidence.iter().map(|it| evidence(it, origin)).collect::<Vec<_>>(),
        })
    }
}

fn evidence(evidence: &MetricEvidence, origin: Timestamp) -> Value {
    let total = |total: Share| json!({ "bad": total.bad, "all": total.all });
    json!({
        "signal": Signal::from(evidence.metric).as_str(),
        "metric": evidence.metric.as_str(),
        "log_e": evidence.log_e.filter(|log_e| log_e.is_finite()),
        "baseline": total(evidence.baseline),
        "canary": total(evidence.canary),
        "canary_alone": total(evidence.alone),
        "reference": evidence.reference,
        "how": evidence.how.map(|how| how.as_str()),
        "first_bad_ms": evidence.first_bad_s.map(|second| origin.ms().saturating_add(second.saturating_mul(1000))),
        "sentence": evidence.sentence(),
    })
}

fn record(poll: &JudgedPoll, record: &BucketRecord) -> Value {
    let share = |share: Share| json!({ "bad": share.bad, "all": share.all });
    let of = |side: Side, of: [&'static str; 2]| if side == Side::Baseline { of[0] } else { of[1] };
    let start_ms = poll.origin.ms().saturating_add(record.start_s.saturating_mul(1000));
    match record.reading {
        Reading::Version(side, Counts { requests, e5, tx, e4, latencies }) => json!({
            "of": of(side, ["baseline", "canary"]), "start_ms": start_ms, "requests": requests,
            "e5": e5.map(share), "tx": tx.map(share), "e4": e4.map(share),
            "latencies": latencies.map(|Latencies { all, body, q90, q99 }| {
                json!({ "all": all, "body": body, "q90": q90, "q99": q99 })
            }),
        }),
        Reading::Front(requests) => json!({ "of": "front", "start_ms": start_ms, "requests": requests }),
        Reading::Peer(errors) => json!({ "of": "peers", "start_ms": start_ms, "e5": share(errors) }),
        Reading::Probe(side, errors) => {
            json!({ "of": of(side, ["probe-baseline", "probe-canary"]), "start_ms": start_ms, "e5": share(errors) })
        }
    }
}
