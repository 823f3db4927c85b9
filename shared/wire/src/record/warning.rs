//! Warnings of a STATE item: a word and what belongs to it. Their texts are made in core.

use super::attr;
use super::item::{Writer, cut, reason};
use crate::reader::{Fault, Reader};
use snapback_core::pause::Restraint;
use snapback_core::warning::{EvidenceSource, MissingMetric, Suspicion, Uncertainty, Warning};
use snapback_core::{AlarmName, Mode};

const PAUSED: &str = "paused";
/// Names of checks are cut after this many characters; a probe is named by its URL or ARN.
const MAX_CHECK: usize = 256;

/// One warning; long texts of checks are cut.
pub(super) fn warning(warning: &Warning) -> Writer {
    let map = Writer::map().put(attr::KIND, word(warning));
    match warning {
        Warning::Check { check, detail } => {
            map.put(attr::CHECK, cut(check, MAX_CHECK)).put(attr::DETAIL, reason(detail))
        }
        Warning::NotRefused { restraint, check, detail } => map
            .put(attr::RESTRAINT, restraint_word(*restraint))
            .put(attr::CHECK, cut(check, MAX_CHECK))
            .put(attr::DETAIL, reason(detail)),
        Warning::HookUnanswered(restraint) => map.put(attr::RESTRAINT, restraint_word(*restraint)),
        Warning::NotRolledBack { restraint, suspicion: of } => {
            suspicion(map.put(attr::RESTRAINT, restraint_word(*restraint)), of)
        }
        Warning::NotSufficient(of) => suspicion(map, of),
        Warning::SharedCount(alarm) => map.put(attr::ALARM, alarm.as_str()),
        Warning::Unreadable { evidence, since } => {
            map.put(attr::EVIDENCE, evidence_word(*evidence)).time(attr::SINCE_MS, *since)
        }
        Warning::NoData(MissingMetric { signal, metric }) => {
            map.put(attr::SIGNAL, signal.as_str()).put(attr::METRIC, reason(metric))
        }
        Warning::NoWitness(front) => map.put(attr::METRIC, reason(front)),
        Warning::JudgedAnew => map,
        Warning::BakeEnded(uncertainty) => map.put(attr::REASON, uncertainty_word(*uncertainty)),
    }
}

/// Reads what [`warning`] wrote.
pub(super) fn parse_warning(map: &Reader<'_>) -> Result<Warning, Fault> {
    let check = || Ok::<_, Fault>((map.text(attr::CHECK)?.to_owned(), map.text(attr::DETAIL)?.to_owned()));
    let restraint = || map.parsed(attr::RESTRAINT, parse_restraint);
    Ok(match map.text(attr::KIND)? {
        "check" => {
            let (check, detail) = check()?;
            Warning::Check { check, detail }
        }
        "not-refused" => {
            let (check, detail) = check()?;
            Warning::NotRefused { restraint: restraint()?, check, detail }
        }
        "hook-unanswered" => Warning::HookUnanswered(restraint()?),
        "not-rolled-back" => Warning::NotRolledBack { restraint: restraint()?, suspicion: parse_suspicion(map)? },
        "not-sufficient" => Warning::NotSufficient(parse_suspicion(map)?),
        "shared-count" => Warning::SharedCount(map.parsed(attr::ALARM, AlarmName::parse)?),
        "unreadable" => Warning::Unreadable {
            evidence: map.parsed(attr::EVIDENCE, |word| {
                let all = [EvidenceSource::Alarms, EvidenceSource::Metrics];
                all.into_iter().find(|evidence| evidence_word(*evidence) == word).ok_or("alarms or metrics")
            })?,
            since: map.time(attr::SINCE_MS)?,
        },
        "no-data" => Warning::NoData(MissingMetric {
            signal: map.parsed(attr::SIGNAL, str::parse)?,
            metric: map.text(attr::METRIC)?.to_owned(),
        }),
        "no-witness" => Warning::NoWitness(map.text(attr::METRIC)?.to_owned()),
        "judged-anew" => Warning::JudgedAnew,
        "bake-ended" => Warning::BakeEnded(map.parsed(attr::REASON, |word| {
            let known = Uncertainty::ALL.iter().find(|uncertainty| uncertainty_word(**uncertainty) == word);
            known.copied().ok_or("incident-open, incident-alarm-red, unreadable, too-little-traffic or not-compared")
        })?),
        _ => {
            let words = "check, not-refused, hook-unanswered, not-rolled-back, not-sufficient, shared-count, unreadable, no-data, no-witness, judged-anew or bake-ended";
            return Err(map.fault(attr::KIND, words));
        }
    })
}

const fn word(warning: &Warning) -> &'static str {
    match warning {
        Warning::Check { .. } => "check",
        Warning::NotRefused { .. } => "not-refused",
        Warning::HookUnanswered(_) => "hook-unanswered",
        Warning::NotRolledBack { .. } => "not-rolled-back",
        Warning::NotSufficient(_) => "not-sufficient",
        Warning::SharedCount(_) => "shared-count",
        Warning::Unreadable { .. } => "unreadable",
        Warning::NoData(_) => "no-data",
        Warning::NoWitness(_) => "no-witness",
        Warning::JudgedAnew => "judged-anew",
        Warning::BakeEnded(_) => "bake-ended",
    }
}

const fn restraint_word(restraint: Restraint) -> &'static str {
    match restraint {
        Restraint::Paused => PAUSED,
        Restraint::Mode(mode) => mode.as_str(),
    }
}

fn parse_restraint(word: &str) -> Result<Restraint, &'static str> {
    if word == PAUSED {
        return Ok(Restraint::Paused);
    }
    word.parse::<Mode>().map(Restraint::Mode).map_err(|_| "paused, or a mode")
}

const fn evidence_word(evidence: EvidenceSource) -> &'static str {
    match evidence {
        EvidenceSource::Alarms => "alarms",
        EvidenceSource::Metrics => "metrics",
    }
}

const fn uncertainty_word(uncertainty: Uncertainty) -> &'static str {
    match uncertainty {
        Uncertainty::IncidentIsOpen => "incident-open",
        Uncertainty::IncidentAlarmIsRed => "incident-alarm-red",
        Uncertainty::Unreadable => "unreadable",
        Uncertainty::TooLittleTraffic => "too-little-traffic",
        Uncertainty::NotCompared => "not-compared",
    }
}

fn suspicion(map: Writer, suspicion: &Suspicion) -> Writer {
    match suspicion {
        Suspicion::Alarm(alarm) => map.put(attr::ALARM, alarm.as_str()),
        Suspicion::Impact(cause) => map.put(attr::CAUSE, cause.as_str()),
    }
}

fn parse_suspicion(map: &Reader<'_>) -> Result<Suspicion, Fault> {
    Ok(match map.optional_parsed(attr::ALARM, AlarmName::parse)? {
        Some(alarm) => Suspicion::Alarm(alarm),
        None => Suspicion::Impact(map.parsed(attr::CAUSE, str::parse)?),
    })
}
