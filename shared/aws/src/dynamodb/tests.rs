//! The table on an embedded DynamoDB: the expressions, conditions and transactions as an engine understands them.
//!
//! `make conformance` runs the same tests on other engines: `SNAPBACK_TEST_DYNAMODB` is then the address of one, for
//! example `http://127.0.0.1:8000`.

use super::*;
use crate::Service;
use crate::fake_endpoint::{Answer, Asked, FakeEndpoint, post};
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use snapback_core::alarm::{AlarmSource, WatchedAlarm};
use snapback_core::canary::{Counts, Side};
use snapback_core::deployment::{EvidenceKind, GoodRevision, HookFunctions};
use snapback_core::lifecycle::Phase;
use snapback_core::notice::{Notice, NoticeKind};
use snapback_core::observed::{AutoRollback, Platform, Target};
use snapback_core::{ExecutionId, HookStatus, LifecycleEvent, Signal};
use std::sync::atomic::{AtomicUsize, Ordering};

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
    }
}

fn group() -> GroupRef {
    GroupRef::parse("shop/live").unwrap()
}

fn deployment(alarms: Vec<WatchedAlarm>) -> Deployment {
    let now = now();
    Deployment {
        id: id(),
        group: group(),
        service: "checkout".to_owned(),
        platform: Platform::Lambda,
        target: Target {
            name: "checkout".to_owned(),
            alias: "live".to_owned(),
            baseline: "41".to_owned(),
            canary: "42".to_owned(),
        },
        canary_revision: None,
        baseline_revision: None,
        hooks: HookFunctions::default(),
        creator: "user".to_owned(),
        is_return: false,
        auto_rollback: AutoRollback { on_failure: true, on_alarm: true, on_request: false },
        created_at: now,
        registered_at: now,
        phase: Phase::BeforeTraffic,
        alarms,
        shift_started_at: None,
        weights: vec![(now, 0.1), (now, 1.0)],
        bake: None,
        alarms_read_at: None,
        unreadable_since: None,
        metrics_unreadable_since: None,
        incident: None,
        planned_shift: None,
        planned_step: None,
        history_from: None,
        function_timeout: None,
        bake_passed_at: None,
        doubts: Vec::new(),
        was_held: false,
        refusal: None,
        order: None,
        paused_at: None,
        closed_at: None,
        cause: None,
        trigger: None,
        is_settled: false,
    }
}

fn evidence(n: i64) -> Evidence {
    Evidence::new(Timestamp::from_ms(1_795_000_000_000 + n), EvidenceKind::Note, format!("line {n}"))
}

fn policy() -> Policy {
    Policy::without_parameter("checkout")
}

#[tokio::test]
async fn a_deployment_is_registered_once_and_read_back() {
    let aws = table().aws(&[Service::DynamoDb]);
    assert_eq!(aws.load(&id()).await.unwrap(), None);
    let deployment = deployment(vec![alarm("a"), alarm("b")]);
    assert!(aws.register(&deployment, &policy(), &[Write::Evidence(evidence(1))]).await.unwrap());
    assert!(!aws.register(&deployment, &policy(), &[Write::Evidence(evidence(2))]).await.unwrap());

    let record = aws.load(&id()).await.unwrap().unwrap();
    assert_eq!(record.deployment, deployment);
    assert_eq!((record.version, record.policy), (1, policy()));
    assert_eq!(aws.story(&id()).await.unwrap(), vec![evidence(1)]);
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
    let writes: Vec<_> = lines.iter().cloned().map(Write::Evidence).collect();
    assert!(aws.register(&deployment, &policy(), &writes).await.unwrap());
    assert_eq!(endpoint.operations(), ["TransactWriteItems", "TransactWriteItems"]);
    let asked = endpoint.asked();
    let sizes = asked.iter().map(|asked| asked.json()["TransactItems"].as_array().unwrap().len());
    assert_eq!(sizes.collect::<Vec<_>>(), [100, 42]);
    assert_eq!(aws.story(&id()).await.unwrap(), lines);
}

#[tokio::test]
async fn the_second_of_two_commits_is_a_conflict_and_writes_nothing() {
    let aws = table().aws(&[]);
    let mut deployment = deployment(vec![]);
    aws.register(&deployment, &policy(), &[]).await.unwrap();
    deployment.doubt("first");
    let notice = Notice::new(NoticeKind::Held, now(), "held", "why".to_owned());
    let writes = [Write::Evidence(evidence(1)), Write::Evidence(evidence(1)), Write::Notice(notice.clone())];
    aws.commit(&deployment, 1, &writes).await.unwrap();
    deployment.doubt("second");
    let error = aws.commit(&deployment, 1, &[Write::Evidence(evidence(2))]).await.unwrap_err();
    assert!(error.is(snapback_app::ports::CallErrorKind::Conflict), "{error}");

    let record = aws.load(&id()).await.unwrap().unwrap();
    assert_eq!(record.version, 2);
    assert_eq!(record.deployment.doubts, ["first"]);
    assert_eq!(record.notices, vec![notice]);
    assert_eq!(aws.story(&id()).await.unwrap(), vec![evidence(1)]);
}

#[tokio::test]
async fn a_pause_begins_once_and_ends_once() {
    use snapback_app::ports::CallErrorKind::Conflict;
    use snapback_core::pause::{Pause, Said, Scope};
    let endpoint = table();
    let aws = endpoint.aws(&[]);
    let said = |after_ms, why: &str| Said {
        at: now() + Duration::from_millis(after_ms),
        who: "ann".to_owned(),
        why: why.to_owned(),
    };
    let pause = |scope, after_ms| Pause { scope, began: said(after_ms, "false alarms"), ended: None };
    assert_eq!(aws.pauses().await.unwrap(), vec![]);
    let (all, own) = (pause(Scope::Installation, 0), pause(Scope::Group(group()), 1));
    aws.save_pause(&all).await.unwrap();
    aws.save_pause(&own).await.unwrap();
    let before = endpoint.asked().len();
    assert_eq!(aws.pauses().await.unwrap(), [all.clone(), own.clone()]);
    let query = endpoint.asked()[before].json();
    assert_eq!((&query["ConsistentRead"], endpoint.asked().len()), (&json!(true), before + 1), "one consistent read");

    // Somebody else was faster.
    let again = pause(Scope::Installation, 5);
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

fn ledger(looked: i64) -> Ledger {
    use snapback_core::canary::{Course, Settings, State};
    let course = Course::new(60, vec![(0.0, 0.1)], 1200.0, 120.0).unwrap();
    Ledger {
        origin: Timestamp::from_ms(1_795_169_700_000),
        thresholds: Some([61, 77, 90]),
        is_missing: snapback_core::ledger::Missing::default(),
        detector: Some(State::begin(&Settings::default_method(), &course, 3600.0, &[])),
        adviser: None,
        has_history: true,
        recent: Vec::new(),
        late: snapback_core::ledger::Late::default(),
        burn: snapback_core::sla::Burn::default(),
        looked,
        glanced: looked,
        anew_from: None,
    }
}

/// A bucket `minutes` after 10:55.
fn point(signal: Signal, minutes: u64, side: Side, requests: u64) -> SeriesPoint {
    let start = Timestamp::from_ms(1_795_172_100_000) + Duration::from_secs(60 * minutes);
    SeriesPoint { signal, start, side, is_growth: false, counts: Counts::of_requests(requests) }
}

#[tokio::test]
async fn a_ledger_and_its_buckets_are_saved_together() {
    let endpoint = table();
    let aws = endpoint.aws(&[]);
    assert_eq!(aws.ledger(&id()).await.unwrap(), None);
    assert_eq!(aws.series(&id()).await.unwrap(), vec![]);
    let first = [
        point(Signal::Errors, 0, Side::Baseline, 900),
        point(Signal::Errors, 0, Side::Canary, 100),
        point(Signal::Latency, 0, Side::Canary, 100),
    ];
    let before = endpoint.operations().len();
    aws.save_ledger(&id(), &ledger(1), 0, &first).await.unwrap();
    assert_eq!(endpoint.operations()[before..], ["TransactWriteItems"]);
    assert_eq!(
        endpoint.asked()[before].json()["TransactItems"].as_array().unwrap().len(),
        3,
        "ledger, errors, latency"
    );
    assert_eq!(aws.ledger(&id()).await.unwrap(), Some((ledger(1), 1)));

    // Over the hour, newest first, with growth of a bucket that was told before.
    let growth = SeriesPoint { is_growth: true, ..point(Signal::Errors, 0, Side::Canary, 3) };
    let second =
        [point(Signal::Errors, 6, Side::Canary, 50), point(Signal::Errors, 5, Side::Canary, 40), growth.clone()];
    aws.save_ledger(&id(), &ledger(2), 1, &second).await.unwrap();
    assert_eq!(aws.ledger(&id()).await.unwrap(), Some((ledger(2), 2)));
    let [a, b, c] = first;
    let [late, early, _] = second;
    let sorted = vec![a, b, growth, c, early, late];
    assert_eq!(aws.series(&id()).await.unwrap(), sorted);

    // Somebody else was faster: neither ledger nor buckets are written.
    for expected in [0, 1, 3] {
        let again = [point(Signal::Errors, 7, Side::Canary, 1)];
        let error = aws.save_ledger(&id(), &ledger(9), expected, &again).await.unwrap_err();
        assert!(error.is(snapback_app::ports::CallErrorKind::Conflict), "{expected}: {error}");
    }
    assert_eq!(aws.ledger(&id()).await.unwrap(), Some((ledger(2), 2)));
    assert_eq!(aws.series(&id()).await.unwrap(), sorted);
    aws.save_ledger(&id(), &ledger(3), 2, &[]).await.unwrap();
    assert_eq!(aws.series(&id()).await.unwrap(), sorted, "no new bucket");
}

#[tokio::test]
async fn numbers_stand_beside_the_record_and_go_with_it() {
    let aws = table().aws(&[]);
    let mut deployment = deployment(vec![]);
    aws.save_ledger(&id(), &ledger(1), 0, &[point(Signal::Errors, 0, Side::Canary, 100)]).await.unwrap();
    assert_eq!(aws.load(&id()).await.unwrap(), None, "numbers alone are no record");
    aws.register(&deployment, &policy(), &[Write::Evidence(evidence(1))]).await.unwrap();
    assert_eq!(aws.load(&id()).await.unwrap().unwrap().deployment, deployment);
    assert_eq!(aws.story(&id()).await.unwrap(), vec![evidence(1)]);
    deployment.closed_at = Some(Timestamp::from_ms(0));
    aws.settle(&deployment, &[]).await.unwrap();
    assert_eq!(aws.ledger(&id()).await.unwrap(), None, "expired with the deployment");
    assert_eq!(aws.series(&id()).await.unwrap(), vec![]);
}

#[tokio::test]
async fn what_lives_is_told_with_its_version() {
    let aws = table().aws(&[]);
    let mut deployment = deployment(vec![]);
    aws.register(&deployment, &policy(), &[]).await.unwrap();
    assert_eq!(aws.live().await.unwrap(), vec![(id(), Some(1))]);
    deployment.doubt("changed");
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
async fn a_ledger_that_cannot_be_read_is_an_error() {
    let aws = table().aws(&[]);
    let mut item = wire::ledger_item(&id(), &ledger(1), 1);
    item.insert("packed".to_owned(), json!("AAAA"));
    aws.put(id().as_str(), item, None).await.unwrap();
    let error = aws.ledger(&id()).await.unwrap_err();
    assert!(error.is(snapback_app::ports::CallErrorKind::Invalid) && error.message.contains("packed"), "{error}");
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
    let writes = [Write::Lease(lease("late")), Write::Evidence(evidence(2))];
    let error = aws.commit(&deployment, 1, &writes).await.unwrap_err();
    assert!(error.is(snapback_app::ports::CallErrorKind::Conflict), "{error}");
    assert_eq!(aws.load(&id()).await.unwrap().unwrap().version, 1);

    // The first answer stands, and what came of a later one is told nevertheless.
    aws.save_answer(&id(), &lease("five"), &evidence(1)).await.unwrap();
    assert_eq!(aws.take_lease(&id(), &lease("six")).await.unwrap(), Some(answered));
    assert_eq!(aws.story(&id()).await.unwrap(), vec![evidence(1)]);
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
    aws.register(&deployment, &policy(), &[Write::Evidence(evidence(1))]).await.unwrap();
    deployment.closed_at = Some(now());
    let good = |n: i64| GoodRevision {
        at: Timestamp::from_ms(1_795_000_000_000 + n),
        revision: None,
        version: n.to_string(),
        is_inherited: false,
    };
    let writes: Vec<_> = (1..=5).map(|n| Write::Good(good(n))).collect();
    aws.commit(&deployment, 1, &writes).await.unwrap();
    let (keep, drop) = (AlarmName::parse("keep").unwrap(), AlarmName::parse("drop").unwrap());
    aws.settle(&deployment, std::slice::from_ref(&keep)).await.unwrap();
    aws.settle(&deployment, std::slice::from_ref(&keep)).await.unwrap();
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
    old.closed_at = Some(Timestamp::from_ms(0));
    aws.register(&old, &policy(), &[]).await.unwrap();
    aws.settle(&old, &[]).await.unwrap();
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
        listed.id = DeploymentId::parse(format!("d-{n:09}")).unwrap();
        listed.created_at = start + Duration::from_secs(u64::from(n) * 12 * 3600);
        listed
    };
    for n in 0..5 {
        aws.register(&listed(n), &policy(), &[]).await.unwrap();
    }
    let ids = |list: Vec<Listed>| list.into_iter().map(|(it, _)| it.id.to_string()).collect::<Vec<_>>();
    let end = listed(4).created_at;
    let all = ids(aws.list(start, end, 10).await.unwrap());
    assert_eq!(all, ["d-000000004", "d-000000003", "d-000000002", "d-000000001", "d-000000000"]);
    let some = ids(aws.list(start + Duration::from_millis(1), end, 2).await.unwrap());
    assert_eq!(some, ["d-000000004", "d-000000003"]);
    let middle = ids(aws.list(listed(1).created_at, listed(2).created_at, 10).await.unwrap());
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
        Action::Delete(_) | Action::Expire(..) | Action::Append(..) => panic!("a repeat was kept"),
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
