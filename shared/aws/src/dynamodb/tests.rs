//! The table on an embedded DynamoDB: the expressions, conditions and transactions as an engine understands them.
//!
//! `make conformance` runs the same tests on other engines: `SNAPBACK_TEST_DYNAMODB` is then the address of one, for
//! example `http://127.0.0.1:8000`.

use super::calls::{Action, Condition};
use super::deployments::{AFTER_EVENTS, start_of_day};
use super::*;
use crate::Service;
use crate::fake_endpoint::{Answer, Asked, FakeEndpoint, post};
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use snapback_app::ports::{
    AnalysisStore, CallErrorKind, DeploymentStore, GroupStore, Listed, PauseStore, SweepLock, Write,
};
use snapback_core::alarm::{AlarmSource, WatchedAlarm};
use snapback_core::analysis_spec::StoredAnalysis;
use snapback_core::deployment::{
    Deployment, Direction, HookFunctions, Identity, Observation, Requests, Revisions, ShiftPlan,
};
use snapback_core::lifecycle::{Closing, Ending, Phase, Reached};
use snapback_core::notice::{Notice, NoticeKind};
use snapback_core::observed::{AutoRollback, Creator, Platform};
use snapback_core::record::GoodRevision;
use snapback_core::record::Lease;
use snapback_core::target::{LambdaAlias, Target};
use snapback_core::timeline::EntryKind;
use snapback_core::timeline::TimelineEntry;
use snapback_core::warning::{EvidenceSource, Warning};
use snapback_core::{AlarmName, DeploymentId, ExecutionId, GroupRef, HookStatus, LifecycleEvent, Policy};
use snapback_judge::analysis::{Analysis, JudgedPoll};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A table of its own for each test.
fn table() -> FakeEndpoint {
    match std::env::var("SNAPBACK_TEST_DYNAMODB") {
        Ok(url) => table_at(url),
        Err(_) => {
            let database = Database::memory().unwrap();
            let create = wire::create_table_request("snapback");
            database.create_table(serde_json::from_value(create).unwrap()).unwrap();
            FakeEndpoint::start(move |asked| answer(&database, asked))
        }
    }
}

/// A table on the engine at `url`. Requests still go through an endpoint of ours, so that a test sees what was asked.
fn table_at(url: String) -> FakeEndpoint {
    static TABLES: AtomicUsize = AtomicUsize::new(0);
    let name = format!("snapback-{}-{}", std::process::id(), TABLES.fetch_add(1, Ordering::Relaxed));
    let (status, made) = post(&url, "CreateTable", wire::create_table_request(&name).to_string().as_bytes());
    assert!(status == 200 && made.contains("\"ACTIVE\""), "CreateTable at {url}: {status} {made}");
    println!("table {name} at {url}");
    FakeEndpoint::start(move |asked| post(&url, &asked.operation, &asked.body)).with_table(name)
}

fn answer(db: &Database, asked: &Asked) -> Answer {
    let input = asked.json();
    match asked.operation.as_str() {
        "PutItem" => run(input, |request| db.put_item(request)),
        "DeleteItem" => run(input, |request| db.delete_item(request)),
        "GetItem" => run(input, |request| db.get_item(request)),
        "Query" => run(input, |request| db.query(request)),
        "TransactWriteItems" => run(input, |request| db.transact_write_items(request)),
        other => panic!("the table is not asked for {other}"),
    }
}

fn run<I: DeserializeOwned, O: Serialize>(
    input: Value,
    operation: impl FnOnce(I) -> Result<O, DynoxideError>,
) -> Answer {
    match operation(serde_json::from_value(input).unwrap()) {
        Ok(output) => (200, serde_json::to_string(&output).unwrap()),
        Err(error) => (error.status_code(), error.to_json()),
    }
}

fn id() -> DeploymentId {
    DeploymentId::parse("d-A1B2C3D4E").unwrap()
}

fn alarm(name: &str) -> WatchedAlarm {
    WatchedAlarm {
        name: AlarmName::parse(name).unwrap(),
        signal: None,
        source: AlarmSource::Group,
        last: None,
        is_exempt: false,
        is_shared: false,
        is_early: false,
    }
}

fn group() -> GroupRef {
    GroupRef::parse("shop/live").unwrap()
}

fn deployment(alarms: Vec<WatchedAlarm>) -> Deployment {
    let now = now();
    Deployment {
        identity: Identity {
            id: id(),
            group: group(),
            service: "checkout".to_owned(),
            platform: Platform::Lambda,
            target: Target::LambdaAlias(LambdaAlias {
                function: "checkout".to_owned(),
                alias: "live".to_owned(),
                baseline: "41".to_owned(),
                canary: "42".to_owned(),
            }),
            revisions: Revisions { baseline: None, canary: None },
            direction: Direction::Forward,
            hooks: HookFunctions::default(),
            creator: Creator::User,
            auto_rollback: AutoRollback { on_failure: true, on_alarm: true, on_request: false },
            created_at: now,
            registered_at: now,
            shift_plan: ShiftPlan { lasts: None, step: None },
            history_from: None,
            function_timeout: None,
        },
        observation: Observation {
            alarms,
            alarms_read_at: None,
            alarms_unreadable_since: None,
            metrics_unreadable_since: None,
            shift_started_at: None,
            weights: vec![(now, 0.1), (now, 1.0)],
            incident: None,
            notes: Vec::new(),
        },
        requests: Requests { last: None, paused_at: None },
        phase: Phase::BeforeTraffic,
        warnings: Vec::new(),
        was_held: false,
    }
}

fn stopped(at: Timestamp) -> Phase {
    Phase::Closed(Closing { ending: Ending::Stopped, at, reached: Reached::BeforeTraffic, is_archived: false })
}

fn warning(second: i64) -> Warning {
    Warning::Unreadable { evidence: EvidenceSource::Alarms, since: Timestamp::from_ms(second * 1000) }
}

fn evidence(n: i64) -> TimelineEntry {
    TimelineEntry::new(Timestamp::from_ms(1_795_000_000_000 + n), EntryKind::Note, format!("line {n}"))
}

fn policy() -> Policy {
    Policy::without_parameter("checkout")
}

#[tokio::test]
async fn a_deployment_is_registered_once_and_read_back() {
    let aws = table().aws(&[Service::DynamoDb]);
    assert_eq!(aws.load(&id()).await.unwrap(), None);
    let deployment = deployment(vec![alarm("a"), alarm("b")]);
    assert!(aws.register(&deployment, &policy(), &[Write::Entry(evidence(1))]).await.unwrap());
    assert!(!aws.register(&deployment, &policy(), &[Write::Entry(evidence(2))]).await.unwrap());

    let record = aws.load(&id()).await.unwrap().unwrap();
    assert_eq!(record.deployment, deployment);
    assert_eq!((record.version, record.policy), (1, policy()));
    assert_eq!(aws.timeline(&id()).await.unwrap(), vec![evidence(1)]);
    assert_eq!(aws.live().await.unwrap(), vec![(id(), Some(1))]);
    let (a, c) = (AlarmName::parse("a").unwrap(), AlarmName::parse("c").unwrap());
    assert_eq!(aws.watching(&a).await.unwrap(), vec![id()]);
    assert_eq!(aws.watching(&c).await.unwrap(), vec![]);
}

#[tokio::test]
async fn more_than_a_transaction_holds_goes_after_it() {
    let endpoint = table();
    let aws = endpoint.aws(&[]);
    let deployment = deployment((0..80).map(|n| alarm(&format!("a{n}"))).collect());
    let lines: Vec<_> = (0..60).map(evidence).collect();
    let writes: Vec<_> = lines.iter().cloned().map(Write::Entry).collect();
    assert!(aws.register(&deployment, &policy(), &writes).await.unwrap());
    assert_eq!(endpoint.operations(), ["TransactWriteItems", "TransactWriteItems"]);
    let asked = endpoint.asked();
    let sizes = asked.iter().map(|asked| asked.json()["TransactItems"].as_array().unwrap().len());
    assert_eq!(sizes.collect::<Vec<_>>(), [100, 42]);
    assert_eq!(aws.timeline(&id()).await.unwrap(), lines);
}

#[tokio::test]
async fn the_second_of_two_commits_is_a_conflict_and_writes_nothing() {
    let aws = table().aws(&[]);
    let mut deployment = deployment(vec![]);
    aws.register(&deployment, &policy(), &[]).await.unwrap();
    deployment.warn(warning(1));
    let notice = Notice::new(NoticeKind::Held, now(), "held", "why".to_owned());
    let writes = [Write::Entry(evidence(1)), Write::Entry(evidence(1)), Write::Notice(notice.clone())];
    aws.commit(&deployment, 1, &writes).await.unwrap();
    deployment.warn(warning(2));
    let error = aws.commit(&deployment, 1, &[Write::Entry(evidence(2))]).await.unwrap_err();
    assert!(error.is(CallErrorKind::Conflict), "{error}");

    let record = aws.load(&id()).await.unwrap().unwrap();
    assert_eq!(record.version, 2);
    assert_eq!(record.deployment.warnings, [warning(1)]);
    assert_eq!(record.notices, vec![notice]);
    assert_eq!(aws.timeline(&id()).await.unwrap(), vec![evidence(1)]);
}

#[tokio::test]
async fn a_pause_begins_once_and_ends_once() {
    use CallErrorKind::Conflict;
    use snapback_core::pause::{Attribution, Pause, PauseScope};
    let endpoint = table();
    let aws = endpoint.aws(&[]);
    let said = |after_ms, why: &str| Attribution {
        at: now() + Duration::from_millis(after_ms),
        who: "ann".to_owned(),
        why: why.to_owned(),
    };
    let pause = |scope, after_ms| Pause { scope, began: said(after_ms, "false alarms"), ended: None };
    assert_eq!(aws.pauses().await.unwrap(), vec![]);
    let (all, own) = (pause(PauseScope::Installation, 0), pause(PauseScope::Group(group()), 1));
    aws.save_pause(&all).await.unwrap();
    aws.save_pause(&own).await.unwrap();
    let before = endpoint.asked().len();
    assert_eq!(aws.pauses().await.unwrap(), [all.clone(), own.clone()]);
    let query = endpoint.asked()[before].json();
    assert_eq!((&query["ConsistentRead"], endpoint.asked().len()), (&json!(true), before + 1), "one consistent read");

    // Somebody else was faster.
    let again = pause(PauseScope::Installation, 5);
    let of_another = Pause { ended: Some(said(9, "fixed")), ..again.clone() };
    for refused in [&again, &of_another] {
        let error = aws.save_pause(refused).await.unwrap_err();
        assert!(error.is(Conflict), "{error}");
    }
    let over = Pause { ended: Some(said(9, "fixed")), ..all };
    aws.save_pause(&over).await.unwrap();
    assert!(aws.save_pause(&over).await.unwrap_err().is(Conflict), "it is over");
    assert_eq!(aws.pauses().await.unwrap(), [over.clone(), own.clone()]);

    // The next one takes its place; what was stays on record.
    aws.save_pause(&again).await.unwrap();
    assert_eq!(aws.pauses().await.unwrap(), [again.clone(), own.clone()]);
    assert_eq!(aws.past_pauses(over.began.at).await.unwrap(), [over, own.clone(), again.clone()]);
    assert_eq!(aws.past_pauses(own.began.at).await.unwrap(), [own, again]);
}

fn analysis(polled: i64) -> Analysis {
    use snapback_judge::detector::{DetectorSettings, State, Thresholds, TrafficSchedule, Witnesses};
    let schedule = TrafficSchedule::new(60, vec![(0.0, 0.1)], 1200.0, 120.0).unwrap();
    Analysis {
        origin: Timestamp::from_ms(1_795_169_700_000),
        thresholds: Some(Thresholds { body: [40, 44, 48, 52, 56, 60, 64], q90: 77, q99: 90 }),
        has_pipeline: true,
        has_canary_series: true,
        pairs: None,
        is_missing: snapback_judge::analysis::Missing::default(),
        enforcing: Some(State::begin(
            &DetectorSettings::default_method(),
            &schedule,
            Witnesses::default(),
            3600.0,
            &[],
            None,
        )),
        advisory: None,
        has_history: true,
        recent: Vec::new(),
        late: snapback_judge::analysis::LateGrowth::default(),
        burn: snapback_judge::slo::Burn::default(),
        polled,
        counted: polled,
        anew_from: None,
        is_restarted: false,
    }
}

/// A poll `minutes` after 10:55, which saw so many requests of the new version.
fn judged(minutes: u64, requests: u64) -> JudgedPoll {
    use snapback_judge::detector::{BucketRecord, Counts, Side, TrafficSchedule};
    let origin = Timestamp::from_ms(1_795_172_100_000);
    JudgedPoll {
        polled_at: origin + Duration::from_secs(60 * minutes),
        origin,
        begun: None,
        schedule: TrafficSchedule::new(60, vec![(0.0, 0.1)], 1200.0, 120.0).unwrap(),
        from_s: 0.0,
        anew_from: None,
        records: vec![BucketRecord::of_version(Side::Canary, 0, Counts::of_requests(requests))],
        enforcing: None,
        advisory: None,
    }
}

#[tokio::test]
async fn an_analysis_and_its_poll_are_saved_together() {
    let endpoint = table();
    let aws = endpoint.aws(&[]);
    assert_eq!(aws.analysis(&id()).await.unwrap(), None);
    assert_eq!(aws.judged_polls(&id()).await.unwrap(), vec![]);
    let before = endpoint.operations().len();
    aws.save_analysis(&id(), &analysis(1), 0, Some(&judged(9, 100))).await.unwrap();
    assert_eq!(endpoint.operations()[before..], ["TransactWriteItems"]);
    assert_eq!(endpoint.asked()[before].json()["TransactItems"].as_array().unwrap().len(), 2, "analysis and poll");
    assert_eq!(aws.analysis(&id()).await.unwrap(), Some(StoredAnalysis { analysis: Some(analysis(1)), version: 1 }));

    // Oldest first, whatever the order in which they were written.
    aws.save_analysis(&id(), &analysis(2), 1, Some(&judged(2, 50))).await.unwrap();
    assert_eq!(aws.analysis(&id()).await.unwrap(), Some(StoredAnalysis { analysis: Some(analysis(2)), version: 2 }));
    let sorted = vec![judged(2, 50), judged(9, 100)];
    assert_eq!(aws.judged_polls(&id()).await.unwrap(), sorted);

    // Somebody else was faster: neither analysis nor poll is written.
    for expected in [0, 1, 3] {
        let error = aws.save_analysis(&id(), &analysis(9), expected, Some(&judged(10, 1))).await.unwrap_err();
        assert!(error.is(CallErrorKind::Conflict), "{expected}: {error}");
    }
    assert_eq!(aws.analysis(&id()).await.unwrap(), Some(StoredAnalysis { analysis: Some(analysis(2)), version: 2 }));
    assert_eq!(aws.judged_polls(&id()).await.unwrap(), sorted);
    aws.save_analysis(&id(), &analysis(3), 2, None).await.unwrap();
    assert_eq!(aws.judged_polls(&id()).await.unwrap(), sorted, "no new poll");
}

#[tokio::test]
async fn numbers_stand_beside_the_record_and_go_with_it() {
    let aws = table().aws(&[]);
    let mut deployment = deployment(vec![]);
    aws.save_analysis(&id(), &analysis(1), 0, Some(&judged(1, 100))).await.unwrap();
    assert_eq!(aws.load(&id()).await.unwrap(), None, "numbers alone are no record");
    aws.register(&deployment, &policy(), &[Write::Entry(evidence(1))]).await.unwrap();
    assert_eq!(aws.load(&id()).await.unwrap().unwrap().deployment, deployment);
    assert_eq!(aws.timeline(&id()).await.unwrap(), vec![evidence(1)]);
    deployment.phase = stopped(Timestamp::from_ms(0));
    aws.archive(&deployment, &[]).await.unwrap();
    assert_eq!(aws.analysis(&id()).await.unwrap(), None, "expired with the deployment");
    assert_eq!(aws.judged_polls(&id()).await.unwrap(), vec![judged(1, 100)], "a poll has an expiry of its own");
}

#[tokio::test]
async fn what_lives_is_told_with_its_version() {
    let aws = table().aws(&[]);
    let mut deployment = deployment(vec![]);
    aws.register(&deployment, &policy(), &[]).await.unwrap();
    assert_eq!(aws.live().await.unwrap(), vec![(id(), Some(1))]);
    deployment.warn(warning(1));
    aws.commit(&deployment, 1, &[]).await.unwrap();
    assert_eq!(aws.live().await.unwrap(), vec![(id(), Some(2))]);
    // A Snapback of before wrote the id alone: it is live, and nobody knows its version.
    let mut old = wire::state_item(&deployment, 2);
    old.insert(attr::LIVE_SK.to_owned(), json!(id().as_str()));
    aws.put(id().as_str(), old, None).await.unwrap();
    assert_eq!(aws.live().await.unwrap(), vec![(id(), None)]);
    assert_eq!(aws.load(&id()).await.unwrap().unwrap().version, 2);
}

#[tokio::test]
async fn an_analysis_that_cannot_be_read_is_an_error() {
    let aws = table().aws(&[]);
    let mut item = wire::analysis_item(&id(), &analysis(1), 1);
    item.insert("packed".to_owned(), json!("AAAA"));
    aws.put(id().as_str(), item, None).await.unwrap();
    let error = aws.analysis(&id()).await.unwrap_err();
    assert!(error.is(CallErrorKind::Invalid) && error.message.contains("packed"), "{error}");
}

#[tokio::test]
async fn a_lease_has_one_holder_and_one_answer() {
    let aws = table().aws(&[]);
    let lease = |owner: &str| Lease {
        event: LifecycleEvent::BeforeAllowTraffic,
        execution_id: ExecutionId::parse("E").unwrap(),
        owner: owner.to_owned(),
        taken_at: Timestamp::from_ms(1),
        deadline: Timestamp::from_ms(2),
        result: None,
        answered: None,
    };
    assert_eq!(aws.take_lease(&id(), &lease("one")).await.unwrap(), None);
    assert_eq!(aws.take_lease(&id(), &lease("one")).await.unwrap(), None, "the same put, repeated");
    assert_eq!(aws.take_lease(&id(), &lease("two")).await.unwrap(), Some(lease("one")));
    assert_eq!(aws.load(&id()).await.unwrap(), None, "a lease alone is no record");

    let mut answered = lease("two");
    answered.answered = Some((HookStatus::Failed, Timestamp::from_ms(3)));
    aws.save_lease(&id(), &answered).await.unwrap();
    aws.save_lease(&id(), &lease("three")).await.unwrap();
    assert_eq!(aws.take_lease(&id(), &lease("four")).await.unwrap(), Some(answered.clone()));

    // A transaction that would replace it writes nothing.
    let deployment = deployment(vec![]);
    assert!(aws.register(&deployment, &policy(), &[]).await.unwrap());
    let writes = [Write::Lease(lease("late")), Write::Entry(evidence(2))];
    let error = aws.commit(&deployment, 1, &writes).await.unwrap_err();
    assert!(error.is(CallErrorKind::Conflict), "{error}");
    assert_eq!(aws.load(&id()).await.unwrap().unwrap().version, 1);

    // The first answer stands, and what came of a later one is told nevertheless.
    aws.save_answer(&id(), &lease("five"), &evidence(1)).await.unwrap();
    assert_eq!(aws.take_lease(&id(), &lease("six")).await.unwrap(), Some(answered));
    assert_eq!(aws.timeline(&id()).await.unwrap(), vec![evidence(1)]);
}

#[tokio::test]
async fn the_sweep_has_one_holder_at_a_time() {
    let aws = table().aws(&[]);
    let at = Timestamp::from_ms;
    assert!(aws.take_sweep("one", at(0), at(20)).await.unwrap());
    assert!(!aws.take_sweep("two", at(19), at(40)).await.unwrap());
    assert!(aws.take_sweep("one", at(10), at(30)).await.unwrap(), "renewed");
    aws.release_sweep("two").await.unwrap();
    assert!(!aws.take_sweep("two", at(29), at(40)).await.unwrap(), "released by a stranger");
    assert!(aws.take_sweep("two", at(30), at(50)).await.unwrap(), "over");
    aws.release_sweep("two").await.unwrap();
    assert!(aws.take_sweep("one", at(31), at(51)).await.unwrap(), "released");
}

#[tokio::test]
async fn settling_lets_everything_expire_and_removes_watches() {
    let aws = table().aws(&[]);
    let mut deployment = deployment(vec![alarm("keep"), alarm("drop")]);
    aws.register(&deployment, &policy(), &[Write::Entry(evidence(1))]).await.unwrap();
    deployment.phase = stopped(now());
    let good = |n: i64| GoodRevision {
        at: Timestamp::from_ms(1_795_000_000_000 + n),
        revision: None,
        version: n.to_string(),
        is_inherited: false,
        is_doubtful: false,
    };
    let writes: Vec<_> = (1..=5).map(|n| Write::Good(good(n))).collect();
    aws.commit(&deployment, 1, &writes).await.unwrap();
    let (keep, drop) = (AlarmName::parse("keep").unwrap(), AlarmName::parse("drop").unwrap());
    aws.archive(&deployment, std::slice::from_ref(&keep)).await.unwrap();
    aws.archive(&deployment, std::slice::from_ref(&keep)).await.unwrap();
    assert_eq!(aws.watching(&keep).await.unwrap(), vec![id()]);
    assert_eq!(aws.watching(&drop).await.unwrap(), vec![]);
    let all = Condition::new("#pk = :pk");
    for item in aws.partition(all.clone(), &wire::deployment_pk(&id())).await.unwrap() {
        assert!(item.contains_key(attr::EXPIRES_AT), "{item:?}");
    }
    let items = aws.partition(all, &wire::group_pk(&group())).await.unwrap();
    let expiring = items.iter().map(|item| item.contains_key(attr::EXPIRES_AT));
    assert_eq!(expiring.collect::<Vec<_>>(), [true, true, false, false, false]);
    let history = aws.group_history(&group()).await.unwrap();
    assert_eq!(history.good.first(), Some(&good(5)));
}

#[tokio::test]
async fn what_has_expired_counts_as_absent() {
    let aws = table().aws(&[]);
    let mut old = deployment(vec![]);
    old.phase = stopped(Timestamp::from_ms(0));
    aws.register(&old, &policy(), &[]).await.unwrap();
    aws.archive(&old, &[]).await.unwrap();
    assert_eq!(aws.load(&id()).await.unwrap(), None);
    assert!(aws.register(&deployment(vec![]), &policy(), &[]).await.unwrap());
    assert!(aws.load(&id()).await.unwrap().is_some());
}

#[tokio::test]
async fn groups_are_remembered_once() {
    let endpoint = table();
    let aws = endpoint.aws(&[]);
    let two = [group(), GroupRef::parse("shop/next").unwrap()];
    aws.save_groups(&two[..1]).await.unwrap();
    aws.save_groups(&two).await.unwrap();
    aws.save_groups(&two).await.unwrap();
    assert_eq!(aws.groups().await.unwrap(), two);
    let writes = endpoint.operations().iter().filter(|it| *it == "TransactWriteItems").count();
    assert_eq!(writes, 2, "known groups are not written again");
}

#[tokio::test]
async fn lists_are_newest_first_over_days() {
    let aws = table().aws(&[]);
    let start = Timestamp::from_ms(1_795_169_726_900);
    let listed = |n: u32| {
        let mut listed = deployment(vec![]);
        listed.identity.id = DeploymentId::parse(format!("d-{n:09}")).unwrap();
        listed.identity.created_at = start + Duration::from_secs(u64::from(n) * 12 * 3600);
        listed
    };
    for n in 0..5 {
        aws.register(&listed(n), &policy(), &[]).await.unwrap();
    }
    let ids = |list: Vec<Listed>| list.into_iter().map(|(it, _)| it.identity.id.to_string()).collect::<Vec<_>>();
    let end = listed(4).identity.created_at;
    let all = ids(aws.list(start, end, 10).await.unwrap());
    assert_eq!(all, ["d-000000004", "d-000000003", "d-000000002", "d-000000001", "d-000000000"]);
    let some = ids(aws.list(start + Duration::from_millis(1), end, 2).await.unwrap());
    assert_eq!(some, ["d-000000004", "d-000000003"]);
    let middle = ids(aws.list(listed(1).identity.created_at, listed(2).identity.created_at, 10).await.unwrap());
    assert_eq!(middle, ["d-000000002", "d-000000001"]);
}

#[tokio::test]
async fn no_table_is_an_error_that_names_the_variable() {
    let mut aws = table().aws(&[]);
    aws.settings.table = None;
    let error = aws.live().await.unwrap_err();
    assert!(error.message.contains("SNAPBACK_TABLE"), "{error}");
}

#[test]
fn days_begin_at_midnight_utc() {
    let cases = [
        (1_795_169_726_900, "2026-11-20T00:00:00.000Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T00:00:00.000Z"),
    ];
    for (ms, expected) in cases {
        assert_eq!(start_of_day(Timestamp::from_ms(ms)).to_string(), expected);
    }
}

#[test]
fn one_action_for_each_item() {
    let item = |sk: &str| {
        let mut item = Item::new();
        item.insert(attr::PK.to_owned(), json!("a"));
        item.insert(attr::SK.to_owned(), json!(sk));
        item
    };
    let key = wire::key_of(&item("1")).unwrap();
    let actions = vec![
        Action::Put(item("1"), None),
        Action::Put(item("2"), None),
        Action::Put(item("1"), None),
        Action::Delete(key),
    ];
    let kept = without_repeats(actions);
    let keys = kept.iter().map(|action| match action {
        Action::Put(item, _) => wire::key_of(item).unwrap().sk,
        Action::Delete(_) | Action::Expire(..) => panic!("a repeat was kept"),
    });
    assert_eq!(keys.collect::<Vec<_>>(), ["1", "2"]);
}

#[test]
fn evidence_sorts_before_what_a_load_reads() {
    let keys = [wire::STATE, wire::POLICY, wire::ROLLBACK, wire::HOOK_PREFIX, wire::NOTICE_PREFIX];
    for key in keys {
        assert!(key > AFTER_EVENTS, "{key}");
    }
    let evidence = format!("{}9999999999999#warning#ffff", wire::EVENT_PREFIX);
    assert!(evidence.as_str() < AFTER_EVENTS);
}
