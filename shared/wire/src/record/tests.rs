use super::*;
use crate::creator::parse_creator;
use crate::policy_file::parse_policy_json;
use crate::policy_file::tests::{any_policy, assert_snapshot};
use proptest::prelude::*;
use serde_json::{Value, json};
use snapback_core::alarm::{AlarmSource, AlarmState, WatchedAlarm};
use snapback_core::analysis_spec::StoredAnalysis;
use snapback_core::deployment::{
    Deployment, Direction, HookFunctions, Identity, Incident, Observation, OperatorRequest, Requests, Revisions,
    ShiftPlan, Verb,
};
use snapback_core::lifecycle::{Bake, Blame, Closing, Ending, Exposure, Phase, Reached, Refusal, Shift};
use snapback_core::notice::{Delivery, Notice, NoticeKind};
use snapback_core::observed::{AutoRollback, Creator, Platform};
use snapback_core::pause::{Attribution, Pause, PauseScope, Restraint};
use snapback_core::record::{GoodRevision, Lease, RefusedRevision};
use snapback_core::rollback::{Claim, Rollback, RollbackAction, RollbackResult};
use snapback_core::target::{LambdaAlias, Routed, Target, TargetGroups};
use snapback_core::timeline::{EntryKind, TimelineEntry};
use snapback_core::warning::{EvidenceSource, MissingMetric, Suspicion, Uncertainty, Warning};
use snapback_core::{
    AlarmName, Cause, ExecutionId, GroupRef, HookStatus, LifecycleEvent, Mode, Outcome, RevisionId, Signal, Timestamp,
    Trigger,
};
use snapback_judge::Metric;
use snapback_judge::Share;
use snapback_judge::analysis::{Analysis, Beginning, Begun, JudgedPoll, LateGrowth, Missing, Recent};
use snapback_judge::detector::{
    BucketRecord, Counts, DetectorSettings, Note, RateReference, References, Said, Side, State, Tally, Thresholds,
    TrafficReference, TrafficSchedule, Witnesses,
};
use snapback_judge::slo::Burn;
use std::collections::BTreeMap;
use std::time::Duration;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/record.json");
const TABLE_GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/table.json");

fn id() -> DeploymentId {
    DeploymentId::parse("d-A1B2C3D4E").unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_ms(1_795_169_726_900 + second * 1000)
}

fn alarm_name(name: &str) -> AlarmName {
    AlarmName::parse(name).unwrap()
}

/// A deployment that was rolled back in its bake, with every field set.
fn deployment() -> Deployment {
    Deployment {
        identity: Identity {
            id: id(),
            group: GroupRef::parse("checkout-app/checkout-live-dg").unwrap(),
            service: "checkout".to_owned(),
            platform: Platform::Lambda,
            target: Target::LambdaAlias(LambdaAlias {
                function: "checkout".to_owned(),
                alias: "live".to_owned(),
                baseline: "7".to_owned(),
                canary: "8".to_owned(),
            }),
            revisions: Revisions {
                baseline: Some(RevisionId::parse("7".repeat(64)).unwrap()),
                canary: Some(RevisionId::parse("8".repeat(64)).unwrap()),
            },
            direction: Direction::Forward,
            hooks: HookFunctions {
                before: Some("CodeDeployHook_snapback-before".to_owned()),
                after: Some("CodeDeployHook_snapback-after".to_owned()),
            },
            creator: Creator::User,
            auto_rollback: AutoRollback { on_failure: true, on_alarm: true, on_request: false },
            created_at: at(0),
            registered_at: at(1),
            shift_plan: ShiftPlan { lasts: Some(Duration::from_secs(300)), step: Some(Duration::from_secs(300)) },
            history_from: Some(at(-3600)),
            function_timeout: Some(Duration::from_secs(90)),
        },
        observation: Observation {
            alarms: vec![
                WatchedAlarm {
                    name: alarm_name("checkout-5xx"),
                    signal: Some(Signal::Errors),
                    source: AlarmSource::Policy,
                    last: Some((AlarmState::Alarm, at(400))),
                    is_exempt: false,
                    is_shared: true,
                    is_early: false,
                },
                WatchedAlarm {
                    name: alarm_name("old-alarm"),
                    signal: None,
                    source: AlarmSource::Group,
                    last: None,
                    is_exempt: true,
                    is_shared: false,
                    is_early: true,
                },
            ],
            alarms_read_at: Some(at(420)),
            alarms_unreadable_since: Some(at(300)),
            metrics_unreadable_since: Some(at(301)),
            shift_started_at: Some(at(10)),
            weights: vec![(at(10), 0.1), (at(310), 1.0)],
            incident: Some(Incident {
                since: at(320),
                checked_at: at(380),
                over_at: Some(at(381)),
                cause: Cause::Errors,
            }),
            notes: vec![Note::NoRecord, Note::Late(Metric::E5), Note::Margin(Metric::Body)],
        },
        requests: Requests {
            last: Some(OperatorRequest {
                verb: Verb::RollBack,
                who: "sam".to_owned(),
                why: "customers call".to_owned(),
                at: at(402),
            }),
            paused_at: Some(at(403)),
        },
        phase: Phase::Closed(closing()),
        warnings: vec![
            Warning::Unreadable { evidence: EvidenceSource::Alarms, since: at(300) },
            Warning::NoWitness("API shop, stage prod".to_owned()),
        ],
        was_held: true,
    }
}

/// The end of [`deployment`], which was refused, but got traffic all the same.
fn closing() -> Closing {
    let blame = Blame { cause: Cause::CheckFailed, trigger: Trigger::Hook };
    let refusal = Refusal { blame, why: "invoke: status 500".to_owned(), at: at(5) };
    let bake = Bake { passed_at: Some(at(911)), refusal: Some(refusal), ..Bake::new(at(311), at(911)) };
    let blame = Blame { cause: Cause::Errors, trigger: Trigger::Alarm };
    let ending = Ending::RolledBack(Exposure::Bake, blame);
    Closing { ending, at: at(430), reached: Reached::Bake(bake), is_archived: false }
}

fn rollback() -> Rollback {
    Rollback {
        cause: Cause::Errors,
        trigger: Trigger::Alarm,
        exposure: Exposure::Bake,
        why: "checkout-5xx: 7.0 was greater than the threshold (0.0)".to_owned(),
        alarms: vec![alarm_name("checkout-5xx")],
        asked_by: Some(("sam".to_owned(), "customers call".to_owned())),
        impact_started_at: Some(at(380)),
        impact_is_from_alarm: true,
        detected_at: at(401),
        claim: Claim { owner: "run-1".to_owned(), until: at(421) },
        tried_at: Some(at(401)),
        call_error: Some("ThrottlingException: slow down".to_owned()),
        requested_at: Some(at(402)),
        call: Some(RollbackAction::FailHook),
        rollback_deployment: Some(DeploymentId::parse("d-F5G6H7I8J").unwrap()),
        rolled_back_at: Some(at(415)),
        recovered_at: Some(at(425)),
        result: RollbackResult::Done,
    }
}

fn lease(event: LifecycleEvent) -> Lease {
    Lease {
        event,
        execution_id: ExecutionId::parse("eyJlbmNyeXB0ZWREYXRhIjoiRVhBTVBMRSJ9").unwrap(),
        owner: "run-0".to_owned(),
        taken_at: at(2),
        deadline: at(122),
        result: Some((HookStatus::Succeeded, "all checks passed".to_owned())),
        answered: Some((HookStatus::Succeeded, at(9))),
    }
}

fn notice(delivery: Delivery) -> Notice {
    Notice {
        kind: NoticeKind::Rollback,
        at: at(416),
        subject: "Rolled back: checkout version 8 (errors)".to_owned(),
        body: "Nothing is broken now.\n".to_owned(),
        delivery,
    }
}

fn evidence() -> TimelineEntry {
    TimelineEntry::new(at(401), EntryKind::Alarm, "checkout-5xx went to ALARM")
        .from_source("c4c1c1c9-6542-e61b-6ef0-8c4d36933a92")
        .with("from", "OK")
        .with("to", "ALARM")
}

fn policy() -> Policy {
    let text = r#"{"service":"checkout","mode":"rollback","signals":{"errors":{"alarms":["checkout-5xx"]}}}"#;
    parse_policy_json(text).unwrap()
}

fn all_items() -> Vec<Item> {
    let group = deployment().identity.group;
    let revision = RevisionId::parse("8".repeat(64)).unwrap();
    vec![
        state_item(&deployment(), 12),
        policy_item(&id(), &policy()),
        evidence_item(&id(), &evidence()),
        lease_item(&id(), &lease(LifecycleEvent::BeforeAllowTraffic)),
        lease_item(&id(), &lease(LifecycleEvent::AfterAllowTraffic)),
        rollback_item(&id(), &rollback()),
        notice_item(&id(), &notice(Delivery::Claimed(Claim { owner: "run-2".to_owned(), until: at(436) }))),
        watch_item(&alarm_name("checkout-5xx"), &id(), at(4_000)),
        good_item(
            &group,
            &GoodRevision {
                at: at(0),
                revision: Some(revision.clone()),
                version: "7".to_owned(),
                is_inherited: true,
                is_doubtful: false,
            },
        ),
        refused_item(&group, &refused(revision)),
        registry_item(&group),
        sweep_lease_item(0, &SweepLease { owner: "run-3".to_owned(), until: at(440) }),
        analysis_item(&id(), &analysis(), 4),
        judged_poll_item(&id(), &judged_poll()),
        pause_item(&pause(PauseScope::Installation, None)),
        pause_item(&pause(PauseScope::Group(group), Some(460))),
        past_pause_item(&pause(PauseScope::Installation, None)),
    ]
}

fn pause(scope: PauseScope, ended: Option<i64>) -> Pause {
    let said = |second, why: &str| Attribution { at: at(second), who: "sam".to_owned(), why: why.to_owned() };
    Pause {
        scope,
        began: said(403, "false alarms"),
        ended: ended.map(|second| said(second, "thresholds are right now")),
    }
}

/// A analysis after its first look: 40 of 200 requests of the new version failed.
fn analysis() -> Analysis {
    let (settings, schedule) =
        (DetectorSettings::default_method(), TrafficSchedule::new(60, vec![(0.0, 0.1)], 1200.0, 120.0).unwrap());
    let mut state = State::begin(&settings, &schedule, Witnesses::default(), 3600.0, &[], None);
    // Written out, because logarithms differ in their last digit from machine to machine.
    state.used.below = 1;
    state.information = 2.5;
    state.notes = vec![Note::OthersFail, Note::Margin(Metric::Q99)];
    state.rolled_back = Some(Metric::E5);
    let errors = &mut state.rates[0];
    errors.capital.no_change = Some([0.25, 1.0, 2.0, 4.0, 6.0, 3.0, -8.0]);
    errors.capital.margin = Some([-0.25, 0.5, 1.5, 3.0, 5.0, 2.0, -9.0]);
    errors.capital.early = errors.capital.no_change;
    errors.tally = Tally {
        baseline: Share { bad: 1, all: 200 },
        canary: Share { bad: 40, all: 200 },
        alone: Share { bad: 0, all: 0 },
        concurrent: 5.5,
        before_after: 0.0,
        run: 5.5,
        first_bad_s: Some(0),
    };
    let recent = [(Side::Baseline, counts(1, 200)), (Side::Canary, counts(40, 200))].map(|(side, counts)| Recent {
        side,
        start_s: 0,
        seen_requests: Some(counts.requests),
        given: Some(counts),
    });
    Analysis {
        origin: at(0),
        thresholds: Some(Thresholds { body: [30, 40, 50, 55, 61, 66, 72], q90: 77, q99: 90 }),
        is_missing: Missing {
            requests: false,
            transactions: true,
            front: false,
            peers: [false, true, false, false, false],
        },
        has_pipeline: true,
        has_canary_series: true,
        pairs: None,
        enforcing: Some(state),
        advisory: None,
        has_history: true,
        recent: recent.to_vec(),
        late: LateGrowth::default(),
        burn: Burn::default(),
        polled: 1,
        counted: 1,
        anew_from: None,
        is_restarted: false,
    }
}

fn counts(bad: u64, all: u64) -> Counts {
    Counts { e5: Some(Share::new(bad, all).unwrap()), ..Counts::of_requests(all) }
}

/// The poll that led to it.
fn judged_poll() -> JudgedPoll {
    let settings = DetectorSettings::default_method();
    let schedule = TrafficSchedule::new(60, vec![(0.0, 0.1)], 1200.0, 120.0).unwrap();
    // Written out, because logarithms differ in their last digit from machine to machine.
    let rate = RateReference {
        bad_long: 1.5,
        all_long: 2_000.0,
        bad_short: 0.5,
        all_short: 500.0,
        peak: 0.002,
        dispersion: 1.25,
        is_measured: true,
    };
    let traffic = TrafficReference { level: 400.0, lost_chance: 0.001, per_front: 1.0, peer_rate: 0.0005 };
    let beginning =
        Beginning { settings: (*settings).clone(), references: References { rates: [rate; 5], body: None, traffic } };
    let mut log_e = [None; 8];
    log_e[0] = Some(5.5);
    JudgedPoll {
        polled_at: at(90),
        origin: at(0),
        begun: Some(Begun { witnesses: Witnesses::default(), enforcing: Some(beginning), advisory: None }),
        schedule,
        from_s: 0.0,
        anew_from: None,
        records: vec![
            BucketRecord::of_version(Side::Baseline, 0, counts(1, 200)),
            BucketRecord::of_version(Side::Canary, 0, counts(40, 200)),
        ],
        enforcing: Some(Said { rolled_back: Some(Metric::E5), log_e }),
        advisory: None,
    }
}

#[test]
fn a_record_that_knows_nothing_of_numbers_is_read() {
    let mut item = state_item(&deployment(), 12);
    let new = [
        attr::INCIDENT,
        attr::NOTES,
        attr::METRICS_UNREADABLE_SINCE_MS,
        attr::PLANNED_SHIFT_MS,
        attr::HISTORY_FROM_MS,
        attr::FUNCTION_TIMEOUT_MS,
        attr::PAUSED_MS,
    ];
    for name in new {
        assert!(item.remove(name).is_some(), "{name}");
    }
    let mut expected = deployment();
    expected.observation.incident = None;
    expected.observation.notes = Vec::new();
    expected.observation.metrics_unreadable_since = None;
    expected.identity.shift_plan.lasts = None;
    expected.identity.history_from = None;
    expected.identity.function_timeout = None;
    expected.requests.paused_at = None;
    assert_eq!(parse_state(&item), Ok((expected, 12)));
}

fn refused(revision: RevisionId) -> RefusedRevision {
    RefusedRevision {
        revision,
        version: "8".to_owned(),
        deployment: id(),
        cause: Cause::Errors,
        at: at(430),
        until: at(86_830),
    }
}

#[test]
fn the_format_is_the_golden_one() {
    assert_snapshot(GOLDEN, &json!(all_items()));
}

#[test]
fn the_golden_record_is_read_back() {
    let text = std::fs::read_to_string(GOLDEN).unwrap();
    let items: Vec<Item> = serde_json::from_str(&text).unwrap();
    let of_deployment: Vec<Item> =
        items.iter().filter(|item| item["pk"] == "DEPLOYMENT#d-A1B2C3D4E").cloned().collect();
    let expected = Record {
        deployment: deployment(),
        version: 12,
        policy: policy(),
        leases: vec![lease(LifecycleEvent::BeforeAllowTraffic), lease(LifecycleEvent::AfterAllowTraffic)],
        rollback: Some(rollback()),
        notices: vec![notice(Delivery::Claimed(Claim { owner: "run-2".to_owned(), until: at(436) }))],
    };
    assert_eq!(parse_record(&of_deployment), Ok(Some(expected)));
    let [.., watch, good, refused_item, registry, sweep, detector, series, paused, group_paused, past] =
        items.as_slice()
    else {
        panic!("{} items", items.len());
    };
    let revision = RevisionId::parse("8".repeat(64)).unwrap();
    let expected = Watch {
        alarm: alarm_name("checkout-5xx"),
        deployment: id(),
        expires_at: Timestamp::from_ms(1_795_173_727_000),
    };
    assert_eq!(parse_watch(watch), Ok(expected), "rounded up to a second");
    let good = parse_good(good).unwrap();
    assert_eq!((good.revision, good.is_inherited), (Some(revision.clone()), true));
    assert_eq!(parse_refused(refused_item), Ok(refused(revision)));
    assert_eq!(parse_registry(registry), Ok(deployment().identity.group));
    let lease = parse_sweep_lease(sweep).unwrap();
    assert_eq!((lease.owner.as_str(), lease.until), ("run-3", at(440)));
    assert_eq!(parse_analysis(detector), Ok(StoredAnalysis { analysis: Some(analysis()), version: 4 }));
    assert_eq!(parse_judged_poll(series), Ok(Some(judged_poll())));
    assert_eq!(parse_pause(paused), Ok(pause(PauseScope::Installation, None)));
    assert_eq!(parse_pause(group_paused), Ok(pause(PauseScope::Group(deployment().identity.group), Some(460))));
    assert_eq!(parse_pause(past), Ok(pause(PauseScope::Installation, None)));
}

#[test]
fn a_pause_stays_while_it_holds() {
    let expires = |item: &Item| item.get(attr::EXPIRES_AT).and_then(Value::as_i64);
    let (holds, is_over) = (pause(PauseScope::Installation, None), pause(PauseScope::Installation, Some(460)));
    assert_eq!(expires(&pause_item(&holds)), None);
    assert_eq!(expires(&pause_item(&is_over)), Some(expires_at(at(460))));
    assert_eq!(expires(&past_pause_item(&holds)), Some(expires_at(at(403))));
    assert_eq!(expires(&past_pause_item(&is_over)), Some(expires_at(at(460))));
    assert_eq!(key_of(&past_pause_item(&holds)), key_of(&past_pause_item(&is_over)), "its end replaces its beginning");
    let mut item = pause_item(&is_over);
    item.insert(attr::ENDED.to_owned(), json!({ "at_ms": 5, "who": "sam" }));
    let error = parse_pause(&item).unwrap_err().to_string();
    assert!(error.contains("pk `PAUSE`, sk `*`: attribute `ended.why` is missing"), "{error}");
    item.insert("scope".to_owned(), json!("live"));
    let error = parse_pause(&item).unwrap_err().to_string();
    assert!(error.contains("attribute `scope` is `live`"), "{error}");
}

#[test]
fn keys() {
    let deployment = deployment();
    let table = [
        (deployment_key(&id()), "DEPLOYMENT#d-A1B2C3D4E", "STATE"),
        (policy_key(&id()), "DEPLOYMENT#d-A1B2C3D4E", "POLICY"),
        (rollback_key(&id()), "DEPLOYMENT#d-A1B2C3D4E", "ROLLBACK"),
        (lease_key(&id(), LifecycleEvent::AfterAllowTraffic), "DEPLOYMENT#d-A1B2C3D4E", "HOOK#AfterAllowTraffic"),
        (notice_key(&id(), NoticeKind::RollbackStuck), "DEPLOYMENT#d-A1B2C3D4E", "NOTICE#rollback-stuck"),
        // printf %s c4c1c1c9-6542-e61b-6ef0-8c4d36933a92 | sha256sum
        (evidence_key(&id(), &evidence()), "DEPLOYMENT#d-A1B2C3D4E", "EVENT#1795170127900#alarm#257cecba4e2e1721"),
        (watch_key(&alarm_name("p99"), &id()), "ALARM#p99", "DEPLOYMENT#d-A1B2C3D4E"),
        (
            good_key(&deployment.identity.group, Timestamp::from_ms(5)),
            "GROUP#checkout-app/checkout-live-dg",
            "GOOD#0000000000005",
        ),
        (registry_key(&deployment.identity.group), "GROUPS#0", "checkout-app/checkout-live-dg"),
        (sweep_lease_key(0), "SWEEP#0", "LEASE"),
        (detector_key(&id()), "DEPLOYMENT#d-A1B2C3D4E", "DETECTOR"),
        (pause_key(&PauseScope::Installation), "PAUSE", "*"),
        (pause_key(&PauseScope::Group(deployment.identity.group.clone())), "PAUSE", "checkout-app/checkout-live-dg"),
        (past_pause_key(&pause(PauseScope::Installation, None)), "PAUSES", "1795170129900#*"),
        (series_key(&id(), at(0)), "DEPLOYMENT#d-A1B2C3D4E", "SERIES#1795169726900"),
    ];
    for (key, pk, sk) in table {
        assert_eq!((key.pk.as_str(), key.sk.as_str()), (pk, sk));
    }
    let item = state_item(&deployment, 1);
    let index =
        ["group_pk", "group_sk", "day_pk", "day_sk", "live_pk", "live_sk"].map(|name| item[name].as_str().unwrap());
    assert_eq!(
        index,
        [
            "GROUP#checkout-app/checkout-live-dg",
            "1795169726900#d-A1B2C3D4E",
            "DAY#2026-11-20#0",
            "1795169726900#d-A1B2C3D4E",
            "LIVE#0",
            "d-A1B2C3D4E#1",
        ]
    );
    let table = [("d-A1B2C3D4E#17", Some(17)), ("d-A1B2C3D4E", None), ("d-A1B2C3D4E#", None), ("d-A1B2C3D4E#x", None)];
    for (text, expected) in table {
        assert_eq!(version_of_live_sk(text), expected, "{text}");
    }
    assert_eq!(digits(Timestamp::from_ms(-1)), "0000000000000");
    assert!((0..SHARDS).contains(&shard_of("d-A1B2C3D4E")));
}

#[test]
fn live_while_unarchived_and_expiring_once_closed() {
    let closed = |is_archived| Phase::Closed(Closing { is_archived, ..closing() });
    // (case, phase, live, expires)
    let table = [
        ("running", Phase::BeforeTraffic, true, false),
        ("closed, not archived", closed(false), true, true),
        ("archived", closed(true), false, true),
    ];
    for (case, phase, live, expires) in table {
        let item = state_item(&Deployment { phase, ..deployment() }, 1);
        assert_eq!(item.contains_key(attr::LIVE_PK), live, "{case}");
        assert_eq!(item.contains_key(attr::LIVE_SK), live, "{case}");
        assert_eq!(item.contains_key(attr::EXPIRES_AT), expires, "{case}");
        let days_401 = at(430) + std::time::Duration::from_secs(401 * 86_400);
        assert!(!is_expired(&item, at(430)), "{case}");
        assert_eq!(is_expired(&item, days_401), expires, "{case}");
    }
}

#[test]
fn a_record_needs_a_state_and_its_policy() {
    let items = all_items();
    let of = |sks: &[&str]| -> Vec<Item> {
        items
            .iter()
            .filter(|item| item["pk"] == "DEPLOYMENT#d-A1B2C3D4E" && sks.iter().any(|sk| item["sk"] == *sk))
            .cloned()
            .collect()
    };
    assert_eq!(parse_record(&[]), Ok(None));
    assert_eq!(parse_record(&of(&["HOOK#BeforeAllowTraffic"])), Ok(None), "only a lease");
    let error = parse_record(&of(&["STATE"])).unwrap_err().to_string();
    assert!(error.contains("sk `POLICY`: attribute `document` is missing"), "{error}");
    let mut skipped = of(&["STATE", "POLICY"]);
    for sk in ["SERIES#1795169726900", "DETECTOR", "LATER"] {
        let unknown = json!({ "pk": "DEPLOYMENT#d-A1B2C3D4E", "sk": sk, "v": 99 });
        skipped.push(unknown.as_object().unwrap().clone());
    }
    assert_eq!(parse_record(&skipped).unwrap().unwrap().version, 12, "unknown kinds are skipped");
    let mut mixed = of(&["STATE", "POLICY"]);
    mixed.push(rollback_item(&DeploymentId::parse("d-F5G6H7I8J").unwrap(), &rollback()));
    let error = parse_record(&mixed).unwrap_err().to_string();
    assert!(error.contains("attribute `pk` is another deployment's"), "{error}");
}

#[test]
fn what_is_wrong_with_an_item_is_named() {
    let state = || state_item(&deployment(), 12);
    // (case, attribute, its value, part of the message)
    let table = [
        (
            "newer format",
            "v",
            json!(3),
            "sk `STATE`: attribute `v` is 3, expected format version 2; written by a newer Snapback; upgrade this one",
        ),
        (
            "older format",
            "v",
            json!(1),
            "sk `STATE`: attribute `v` is 1, expected format version 2; written by an older Snapback, whose items this one \
             does not read; install with a new table",
        ),
        (
            "format is a text",
            "v",
            json!("1"),
            "attribute `v` is `1`, expected format version 2; not written by Snapback",
        ),
        ("no format", "v", Value::Null, "attribute `v` is null"),
        ("no key", "pk", Value::Null, "item pk ``, sk `STATE`: attribute `pk` is missing"),
        ("other key", "pk", json!("GROUP#a/b"), "attribute `pk` is `GROUP#a/b`, expected `DEPLOYMENT#…`"),
        ("no id", "pk", json!("DEPLOYMENT#x"), "`x` is not a deployment id"),
        ("other sort key", "sk", json!("STATES"), "attribute `sk` is `STATES`, expected nothing after it"),
        ("version", "version", json!(-1), "attribute `version` is -1, expected a whole number, not negative"),
        ("phase", "phase", json!("paused"), "attribute `phase` is `paused`, expected one of before-traffic"),
        ("outcome", "outcome", json!("fine"), "attribute `outcome` is `fine`, expected unknown outcome `fine`"),
        ("no outcome", "outcome", Value::Null, "attribute `outcome` is null"),
        (
            "nested",
            "target",
            json!({ "kind": "lambda-alias", "name": 7 }),
            "attribute `target.name` is 7, expected a string",
        ),
        (
            "in a list",
            "alarms",
            json!([{ "name": "a", "source": "policy", "state": "RED" }]),
            "attribute `alarms[0].state` is `RED`, expected OK, ALARM or INSUFFICIENT_DATA",
        ),
        ("list of wrong things", "weights", json!([1]), "attribute `weights[0]` is 1, expected an object"),
        ("time", "created_ms", json!("today"), "attribute `created_ms` is `today`, expected epoch milliseconds"),
        ("group", "application", json!("a/b"), "expected `a/b` is not a CodeDeploy application"),
        ("incident", "incident", json!({ "since_ms": 1 }), "attribute `incident.checked_ms` is missing"),
        (
            "note",
            "notes",
            json!("no-record,late"),
            "attribute `notes` is `no-record,late`, expected unknown advice `late`",
        ),
        ("no note", "notes", json!(""), "attribute `notes` is ``, expected unknown advice ``"),
        ("notes are a list", "notes", json!(["no-record"]), "attribute `notes` is "),
        ("planned shift", "planned_shift_ms", json!(-1), "attribute `planned_shift_ms` is -1, expected a whole number"),
        ("history", "history_from_ms", json!("1h"), "attribute `history_from_ms` is `1h`, expected epoch milliseconds"),
    ];
    for (case, attribute, value, expected) in table {
        let mut item = state();
        item.insert(attribute.to_owned(), value);
        let error = parse_state(&item).unwrap_err().to_string();
        assert!(error.contains(expected), "{case}: {error}");
    }
}

#[test]
fn long_texts_are_cut() {
    let long = "ü".repeat(10_000);
    let mut big = rollback();
    big.why.clone_from(&long);
    big.result = RollbackResult::Failed(long.clone());
    let parsed = parse_rollback(&rollback_item(&id(), &big)).unwrap();
    assert_eq!(parsed.why.chars().count(), MAX_REASON);
    let line = TimelineEntry::new(at(0), EntryKind::Note, long.clone()).with("name", &long);
    let item = evidence_item(&id(), &line);
    let parsed = parse_evidence(&item).unwrap();
    assert_eq!(parsed.text.chars().count(), MAX_TEXT);
    assert_eq!(parsed.details["name"].chars().count(), MAX_REASON);
    assert_eq!(key_of(&item), Some(evidence_key(&id(), &line)), "the key has the whole source");
}

#[test]
fn the_largest_state_is_far_from_the_limit() {
    let long = "\u{1f600}".repeat(2_000);
    let alarm = WatchedAlarm {
        name: AlarmName::parse("\u{1f600}".repeat(255)).unwrap(),
        ..deployment().observation.alarms[0].clone()
    };
    let big = Deployment {
        observation: Observation {
            alarms: vec![alarm; 110],
            weights: vec![(at(0), 0.123_456_789); 1_000],
            ..deployment().observation
        },
        warnings: (0..100).map(|n| Warning::Check { check: format!("{n}{long}"), detail: long.clone() }).collect(),
        phase: Phase::Refused(Refusal { why: long.clone(), ..deployment().refusal().unwrap().clone() }),
        ..deployment()
    };
    let item = state_item(&big, u64::MAX);
    assert!(serde_json::to_string(&item).unwrap().len() < 300_000);
    assert!(parse_state(&item).is_ok());
}

#[test]
fn the_table_is_the_golden_one() {
    let request = create_table_request("snapback");
    assert_snapshot(TABLE_GOLDEN, &request);
    let keys: Vec<&str> = std::iter::once(TABLE.key)
        .chain(TABLE.indexes.iter().map(|index| index.key))
        .flat_map(|key| [key.partition, key.sort])
        .collect();
    let item = state_item(&deployment(), 1);
    assert!(keys.iter().all(|name| item[*name].is_string()), "every key is a string of STATE");
    assert_eq!(TABLE.ttl_attribute, attr::EXPIRES_AT);
}

#[test]
fn an_index_holds_a_whole_summary() {
    let item = state_item(&deployment(), 1);
    for index in TABLE.indexes {
        let Projection::Include(names) = index.projection else {
            continue;
        };
        let kept = |name: &String| {
            let keys = [TABLE.key.partition, TABLE.key.sort, index.key.partition, index.key.sort];
            names.contains(&name.as_str()) || keys.contains(&name.as_str())
        };
        let projected: Item = item.clone().into_iter().filter(|(name, _)| kept(name)).collect();
        assert_eq!(parse_summary(&projected), parse_summary(&item), "{}", index.name);
    }
    let summary = parse_summary(&item).unwrap();
    assert_eq!((summary.ending, summary.closed_at), (Some(closing().ending), Some(at(430))));
    let phase = Phase::GoingBack { exposure: Exposure::Shift, reached: Reached::BeforeTraffic };
    let running = Deployment { phase, ..deployment() };
    assert_eq!(parse_summary(&state_item(&running, 1)).unwrap().ending, None);
}

// ---- properties

fn any_time() -> impl Strategy<Value = Timestamp> {
    (0_i64..=9_999_999_999_999).prop_map(Timestamp::from_ms)
}

fn maybe_time() -> impl Strategy<Value = Option<Timestamp>> {
    prop::option::of(any_time())
}

fn any_text() -> impl Strategy<Value = String> {
    "(?s).{0,30}"
}

fn any_id() -> impl Strategy<Value = DeploymentId> {
    "d-[A-Z0-9]{9}".prop_map(|text| DeploymentId::parse(text).unwrap())
}

fn any_alarm_name() -> impl Strategy<Value = AlarmName> {
    "[^\\p{Cc}]{1,30}".prop_map(|text| AlarmName::parse(text).unwrap())
}

fn any_group() -> impl Strategy<Value = GroupRef> {
    ("[^/\\p{Cc}]{1,20}", "[^/\\p{Cc}]{1,20}")
        .prop_map(|(application, group)| GroupRef::new(application, group).unwrap())
}

fn any_revision() -> impl Strategy<Value = RevisionId> {
    "[0-9a-f]{64}".prop_map(|text| RevisionId::parse(text).unwrap())
}

fn any_cause() -> impl Strategy<Value = Cause> {
    prop::sample::select(Cause::ALL)
}

fn any_trigger() -> impl Strategy<Value = Trigger> {
    prop::sample::select(Trigger::ALL)
}

fn any_exposure() -> impl Strategy<Value = Exposure> {
    prop::sample::select(&[Exposure::Shift, Exposure::Bake][..])
}

fn any_status() -> impl Strategy<Value = HookStatus> {
    prop::sample::select(HookStatus::ALL)
}

fn any_claim() -> impl Strategy<Value = Claim> {
    (any_text(), any_time()).prop_map(|(owner, until)| Claim { owner, until })
}

fn any_blame() -> impl Strategy<Value = Blame> {
    (any_cause(), any_trigger()).prop_map(|(cause, trigger)| Blame { cause, trigger })
}

fn any_reached() -> impl Strategy<Value = Reached> {
    prop_oneof![
        Just(Reached::BeforeTraffic),
        any_refusal().prop_map(Reached::Refused),
        prop::option::of(any_refusal()).prop_map(|refusal| Reached::Shift(Shift { refusal })),
        any_bake().prop_map(Reached::Bake),
    ]
}

fn any_phase() -> impl Strategy<Value = Phase> {
    prop_oneof![
        Just(Phase::BeforeTraffic),
        any_refusal().prop_map(Phase::Refused),
        prop::option::of(any_refusal()).prop_map(|refusal| Phase::InShift(Shift { refusal })),
        any_bake().prop_map(Phase::InBake),
        (any_exposure(), any_reached()).prop_map(|(exposure, reached)| Phase::GoingBack { exposure, reached }),
        any_closing().prop_map(Phase::Closed),
    ]
}

fn any_platform() -> impl Strategy<Value = Platform> {
    "(Lambda|ECS|Server|Moon[a-z]{0,9})".prop_map(|word| Platform::from_word(&word))
}

fn any_creator() -> impl Strategy<Value = Creator> {
    prop_oneof![Just("user".to_owned()), Just("codeDeployRollback".to_owned()), any_text()]
        .prop_map(|word| parse_creator(&word))
}

fn any_state() -> impl Strategy<Value = AlarmState> {
    prop::sample::select(&[AlarmState::Ok, AlarmState::Alarm, AlarmState::InsufficientData][..])
}

prop_compose! {
    fn any_alarm()(
        name in any_alarm_name(),
        signal in prop::option::of(prop::sample::select(Signal::ALL)),
        is_policy in any::<bool>(),
        last in prop::option::of((any_state(), any_time())),
        is_exempt in any::<bool>(),
        is_shared in any::<bool>(),
        is_early in any::<bool>(),
    ) -> WatchedAlarm {
        let source = if is_policy { AlarmSource::Policy } else { AlarmSource::Group };
        WatchedAlarm { name, signal, source, last, is_exempt, is_shared, is_early }
    }
}

fn any_target() -> impl Strategy<Value = Target> {
    let routed = || (any_text(), any_text()).prop_map(|(version, target_group)| Routed { version, target_group });
    prop_oneof![
        (any_text(), any_text(), any_text(), any_text()).prop_map(|(function, alias, baseline, canary)| {
            Target::LambdaAlias(LambdaAlias { function, alias, baseline, canary })
        }),
        (any_text(), routed(), routed()).prop_map(|(service, baseline, canary)| Target::TargetGroups(TargetGroups {
            service,
            baseline,
            canary
        })),
    ]
}

prop_compose! {
    fn any_refusal()(blame in any_blame(), why in any_text(), at in any_time()) -> Refusal {
        Refusal { blame, why, at }
    }
}

prop_compose! {
    fn any_bake()(
        times in (any_time(), any_time()),
        passed_at in maybe_time(),
        refusal in prop::option::of(any_refusal()),
    ) -> Bake {
        Bake { passed_at, refusal, ..Bake::new(times.0, times.1) }
    }
}

prop_compose! {
    fn any_closing()(
        outcome in prop::sample::select(Outcome::ALL),
        (blame, at, reached) in (any_blame(), any_time(), any_reached()),
        (is_blamed, is_archived) in any::<(bool, bool)>(),
    ) -> Closing {
        let with_blame = Ending::new(outcome, Some(blame)).filter(|_| is_blamed || outcome != Outcome::Held);
        let ending = with_blame.or(Ending::new(outcome, None)).unwrap();
        Closing { ending, at, reached, is_archived }
    }
}

fn any_restraint() -> impl Strategy<Value = Restraint> {
    prop_oneof![Just(Restraint::Paused), prop::sample::select(Mode::ALL).prop_map(Restraint::Mode)]
}

fn any_suspicion() -> impl Strategy<Value = Suspicion> {
    prop_oneof![any_alarm_name().prop_map(Suspicion::Alarm), any_cause().prop_map(Suspicion::Impact)]
}

fn any_warning() -> impl Strategy<Value = Warning> {
    let evidence = prop::sample::select(&[EvidenceSource::Alarms, EvidenceSource::Metrics][..]);
    prop_oneof![
        (any_text(), any_text()).prop_map(|(check, detail)| Warning::Check { check, detail }),
        (any_restraint(), any_text(), any_text()).prop_map(|(restraint, check, detail)| Warning::NotRefused {
            restraint,
            check,
            detail
        }),
        any_restraint().prop_map(Warning::HookUnanswered),
        (any_restraint(), any_suspicion())
            .prop_map(|(restraint, suspicion)| Warning::NotRolledBack { restraint, suspicion }),
        any_suspicion().prop_map(Warning::NotSufficient),
        any_alarm_name().prop_map(Warning::SharedCount),
        (evidence, any_time()).prop_map(|(evidence, since)| Warning::Unreadable { evidence, since }),
        (prop::sample::select(Signal::ALL), any_text())
            .prop_map(|(signal, metric)| Warning::NoData(MissingMetric { signal, metric })),
        any_text().prop_map(Warning::NoWitness),
        Just(Warning::JudgedAnew),
        prop::sample::select(Uncertainty::ALL).prop_map(Warning::BakeEnded),
    ]
}

prop_compose! {
    fn any_request()(promotes in any::<bool>(), who in any_text(), why in any_text(), at in any_time()) -> OperatorRequest {
        OperatorRequest { verb: if promotes { Verb::Promote } else { Verb::RollBack }, who, why, at }
    }
}

prop_compose! {
    fn any_incident()(since in any_time(), checked_at in any_time(), over_at in maybe_time(), cause in any_cause()) -> Incident {
        Incident { since, checked_at, over_at, cause }
    }
}

prop_compose! {
    fn any_deployment()(
        (id, group, service, platform, target) in (any_id(), any_group(), any_text(), any_platform(), any_target()),
        revisions in (prop::option::of(any_revision()), prop::option::of(any_revision())),
        hooks in (prop::option::of(any_text()), prop::option::of(any_text())),
        (creator, events) in (any_creator(), any::<[bool; 3]>()),
        (created_at, registered_at, phase) in (any_time(), any_time(), any_phase()),
        alarms in prop::collection::vec(any_alarm(), 0..4),
        weights in prop::collection::vec((any_time(), 0.0..=1.0), 0..4),
        times in (maybe_time(), maybe_time(), maybe_time(), maybe_time()),
        numbers in (
            maybe_time(),
            prop::option::of(any_incident()),
            prop::option::of(0_u64..1 << 40),
            maybe_time(),
            prop::option::of(0_u64..1 << 40),
        ),
        warnings in prop::collection::vec(any_warning(), 0..4),
        request in prop::option::of(any_request()),
        flags in any::<[bool; 2]>(),
        notes in prop::sample::subsequence(Note::all().collect::<Vec<_>>(), 0..=Note::MAX),
    ) -> Deployment {
        let [on_failure, on_alarm, on_request] = events;
        let [is_return, was_held] = flags;
        Deployment { identity: Identity { id, group, service, platform, target, revisions: Revisions { baseline: revisions.1, canary: revisions.0 }, direction: if is_return { Direction::Return } else { Direction::Forward }, hooks: HookFunctions { before: hooks.0, after: hooks.1 }, creator, auto_rollback: AutoRollback { on_failure, on_alarm, on_request }, created_at, registered_at, shift_plan: ShiftPlan { lasts: numbers.2.map(Duration::from_millis), step: numbers.2.map(Duration::from_millis) }, history_from: numbers.3, function_timeout: numbers.4.map(Duration::from_millis) }, observation: Observation { alarms, alarms_read_at: times.1, alarms_unreadable_since: times.2, metrics_unreadable_since: numbers.0, shift_started_at: times.0, weights, incident: numbers.1, notes }, requests: Requests { last: request, paused_at: times.3 }, phase, warnings, was_held }
    }
}

prop_compose! {
    fn any_attribution()(at in any_time(), who in any_text(), why in any_text()) -> Attribution {
        Attribution { at, who, why }
    }
}

prop_compose! {
    fn any_pause()(
        group in prop::option::of(any_group()),
        began in any_attribution(),
        ended in prop::option::of(any_attribution()),
    ) -> Pause {
        Pause { scope: group.map_or(PauseScope::Installation, PauseScope::Group), began, ended }
    }
}

prop_compose! {
    fn any_lease()(
        event in prop::sample::select(LifecycleEvent::ALL),
        execution_id in "[^\\p{Cc}]{1,60}",
        (owner, taken_at, deadline) in (any_text(), any_time(), any_time()),
        result in prop::option::of((any_status(), any_text())),
        answered in prop::option::of((any_status(), any_time())),
    ) -> Lease {
        let execution_id = ExecutionId::parse(execution_id).unwrap();
        Lease { event, execution_id, owner, taken_at, deadline, result, answered }
    }
}

prop_compose! {
    fn any_rollback()(
        (cause, trigger, exposure, why) in (any_cause(), any_trigger(), any_exposure(), any_text()),
        alarms in prop::collection::vec(any_alarm_name(), 0..4),
        asked_by in prop::option::of((any_text(), any_text())),
        (impact_started_at, impact_is_from_alarm, detected_at) in (maybe_time(), any::<bool>(), any_time()),
        (claim, tried_at, call_error) in (any_claim(), maybe_time(), prop::option::of(any_text())),
        call in prop::option::of(prop::sample::select(&[RollbackAction::StopDeployment, RollbackAction::FailHook][..])),
        rollback_deployment in prop::option::of(any_id()),
        (requested_at, rolled_back_at, recovered_at) in (maybe_time(), maybe_time(), maybe_time()),
        result in prop_oneof![
            Just(RollbackResult::Pending),
            Just(RollbackResult::Done),
            any_text().prop_map(RollbackResult::Failed),
        ],
    ) -> Rollback {
        Rollback {
            cause, trigger, exposure, why, alarms, asked_by, impact_started_at, impact_is_from_alarm, detected_at, claim,
            tried_at, call_error, requested_at, call, rollback_deployment, rolled_back_at, recovered_at, result,
        }
    }
}

prop_compose! {
    fn any_notice()(
        kind in prop::sample::select(NoticeKind::ALL),
        (at, subject, body) in (any_time(), any_text(), any_text()),
        delivery in prop_oneof![
            Just(Delivery::Pending),
            any_claim().prop_map(Delivery::Claimed),
            any_time().prop_map(Delivery::Sent),
        ],
    ) -> Notice {
        Notice { kind, at, subject, body, delivery }
    }
}

prop_compose! {
    fn any_evidence()(
        kind in prop::sample::select(EntryKind::ALL),
        (at, source, text) in (any_time(), any_text(), any_text()),
        details in prop::collection::btree_map(any_text(), any_text(), 0..4),
    ) -> TimelineEntry {
        let details: BTreeMap<String, String> = details;
        TimelineEntry { at, kind, source, text, details }
    }
}

/// As DynamoDB gives it back: through text, whole numbers without a point.
fn stored(item: &Item) -> Item {
    fn normal(value: Value) -> Value {
        match value {
            Value::Number(number) => {
                let text = number.to_string();
                serde_json::from_str(text.strip_suffix(".0").unwrap_or(&text)).unwrap()
            }
            Value::Array(list) => list.into_iter().map(normal).collect(),
            Value::Object(map) => Value::Object(map.into_iter().map(|(name, value)| (name, normal(value))).collect()),
            other @ (Value::Null | Value::Bool(_) | Value::String(_)) => other,
        }
    }
    item.iter().map(|(name, value)| (name.clone(), normal(value.clone()))).collect()
}

/// Weights come back within what a decimal text keeps of them.
fn same_but_weights(mut left: Deployment, mut right: Deployment) -> bool {
    let (a, b) = (std::mem::take(&mut left.observation.weights), std::mem::take(&mut right.observation.weights));
    let is_close = |((at, x), (bt, y)): (&(Timestamp, f64), &(Timestamp, f64))| at == bt && (x - y).abs() < 1e-12;
    left == right && a.len() == b.len() && a.iter().zip(&b).all(is_close)
}

proptest! {
    #[test]
    fn deployments_come_back(deployment in any_deployment(), version in 0..=u64::MAX >> 1) {
        let item = state_item(&deployment, version);
        prop_assert_eq!(parse_state(&item), Ok((deployment.clone(), version)));
        let (parsed, parsed_version) = parse_state(&stored(&item)).unwrap();
        prop_assert_eq!(parsed_version, version);
        prop_assert!(same_but_weights(parsed, deployment));
    }

    #[test]
    fn leases_come_back(id in any_id(), lease in any_lease()) {
        prop_assert_eq!(parse_lease(&stored(&lease_item(&id, &lease))), Ok(lease));
    }

    #[test]
    fn rollbacks_come_back(id in any_id(), rollback in any_rollback()) {
        prop_assert_eq!(parse_rollback(&stored(&rollback_item(&id, &rollback))), Ok(rollback));
    }

    #[test]
    fn pauses_come_back(pause in any_pause()) {
        prop_assert_eq!(parse_pause(&stored(&pause_item(&pause))), Ok(pause.clone()));
        prop_assert_eq!(parse_pause(&stored(&past_pause_item(&pause))), Ok(pause));
    }

    #[test]
    fn notices_come_back(id in any_id(), notice in any_notice()) {
        prop_assert_eq!(parse_notice(&stored(&notice_item(&id, &notice))), Ok(notice));
    }

    #[test]
    fn evidence_comes_back_under_one_key(id in any_id(), evidence in any_evidence()) {
        let item = evidence_item(&id, &evidence);
        prop_assert_eq!(key_of(&item), Some(evidence_key(&id, &evidence)));
        prop_assert_eq!(parse_evidence(&stored(&item)), Ok(evidence));
    }

    #[test]
    fn policies_come_back(id in any_id(), policy in any_policy()) {
        prop_assert_eq!(parse_policy(&stored(&policy_item(&id, &policy))), Ok(policy));
    }

    #[test]
    fn revisions_and_watches_come_back(
        group in any_group(), alarm in any_alarm_name(), id in any_id(), revision in any_revision(), at in any_time(),
        version in any_text(), cause in any_cause(), until in any_time(), is_inherited in any::<bool>(), is_doubtful in any::<bool>(),
    ) {
        let good = GoodRevision { at, revision: Some(revision.clone()), version: version.clone(), is_inherited, is_doubtful };
        prop_assert_eq!(parse_good(&stored(&good_item(&group, &good))), Ok(good));
        let refused = RefusedRevision { revision, version, deployment: id.clone(), cause, at, until };
        prop_assert_eq!(parse_refused(&stored(&refused_item(&group, &refused))), Ok(refused));
        prop_assert_eq!(parse_registry(&registry_item(&group)), Ok(group));
        let watch = parse_watch(&watch_item(&alarm, &id, until)).unwrap();
        prop_assert!(watch.expires_at >= until && watch.alarm == alarm && watch.deployment == id);
    }

    #[test]
    fn one_strange_attribute_never_panics(
        which in any::<prop::sample::Index>(), place in any::<prop::sample::Index>(), text in any_text(), number in any::<i64>(),
    ) {
        let items = all_items();
        let mut item = items[which.index(items.len())].clone();
        let names: Vec<String> = item.keys().cloned().collect();
        for strange in [Value::Null, json!(text), json!(number), json!([text]), json!({ "name": number })] {
            item.insert(names[place.index(names.len())].clone(), strange);
            let _ = parse_record(std::slice::from_ref(&item));
            let _ = (parse_state(&item), parse_policy(&item), parse_evidence(&item), parse_lease(&item));
            let _ = (parse_rollback(&item), parse_notice(&item), parse_watch(&item), parse_good(&item));
            let _ = (parse_refused(&item), parse_registry(&item), parse_sweep_lease(&item), parse_summary(&item));
            let _ = (parse_analysis(&item), parse_judged_poll(&item), parse_pause(&item));
        }
    }
}
