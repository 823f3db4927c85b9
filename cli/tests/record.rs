//! What `history` and `explain` say about a record that is known to the millisecond.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test helper may panic")]

use serde_json::{Value, json};
use snapback_app::ports::{AnalysisStore, DeploymentStore};
use snapback_aws::config::{Settings, function_config};
use snapback_aws::{Aws, Environment};
use snapback_core::alarm::{AlarmSource, AlarmState, WatchedAlarm};
use snapback_core::deployment::{
    Deployment, Direction, HookFunctions, Identity, Observation, Requests, Revisions, ShiftPlan,
};
use snapback_core::lifecycle::{Blame, Closing, Ending, Exposure, Phase, Reached, Shift};
use snapback_core::notice::{Delivery, Notice, NoticeKind};
use snapback_core::observed::{AutoRollback, Creator, Platform};
use snapback_core::pause::Restraint;
use snapback_core::record::{Lease, Write};
use snapback_core::rollback::{Claim, Rollback, RollbackAction, RollbackResult};
use snapback_core::target::{LambdaAlias, Target};
use snapback_core::timeline::{EntryKind, TimelineEntry};
use snapback_core::warning::Warning;
use snapback_core::{
    AlarmName, Cause, DeploymentId, ExecutionId, GroupRef, HookStatus, LifecycleEvent, Mode, Policy, Signal, Timestamp,
    Trigger,
};
use snapback_emulator::{Emulator, EmulatorConfig};
use snapback_judge::Share;
use snapback_judge::analysis::{Analysis, Beginning, Begun, JudgedPoll, LateGrowth, Missing, bucket_start};
use snapback_judge::detector::{BucketRecord, Counts, Reading, Side, State, TrafficSchedule, Witnesses};
use snapback_judge::slo::Burn;
use snapback_wire::policy_file::parse_policy_json;
use snapback_wire::record::{attr, create_table_request};
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, SystemTime};

const ID: &str = "d-A1B2C3D4E";
/// 2126-11-18T11:06:40Z: far ahead, because a record that has expired counts as absent.
const CREATED_MS: i64 = 4_950_673_600_000;

struct Loopback(String);

impl Environment for Loopback {
    fn get(&self, name: &str) -> Option<String> {
        match name {
            "AWS_ENDPOINT_URL" => Some(self.0.clone()),
            "AWS_REGION" => Some("us-east-1".to_owned()),
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("operator".to_owned()),
            _ => None,
        }
    }
}

fn alarm(name: &str, signal: Signal, state: AlarmState, since: Timestamp, is_exempt: bool) -> WatchedAlarm {
    WatchedAlarm {
        name: AlarmName::parse(name).unwrap(),
        signal: Some(signal),
        source: AlarmSource::Group,
        last: Some((state, since)),
        is_exempt,
        is_shared: false,
        is_early: false,
    }
}

/// A deployment whose version 42 failed requests 2 s after its creation and was gone 11 s later.
fn deployment(created_at: Timestamp) -> Deployment {
    let after = |ms| created_at + Duration::from_millis(ms);
    Deployment {
        identity: Identity {
            id: DeploymentId::parse(ID).unwrap(),
            group: GroupRef::parse("shop/live").unwrap(),
            service: "checkout".to_owned(),
            platform: Platform::Lambda,
            target: Target::LambdaAlias(LambdaAlias {
                function: "checkout-fn".to_owned(),
                alias: "live".to_owned(),
                baseline: "41".to_owned(),
                canary: "42".to_owned(),
            }),
            revisions: Revisions { baseline: None, canary: None },
            direction: Direction::Forward,
            hooks: HookFunctions::default(),
            creator: Creator::User,
            auto_rollback: AutoRollback { on_failure: true, on_alarm: true, on_request: false },
            created_at,
            registered_at: created_at,
            shift_plan: ShiftPlan { lasts: None, step: None },
            history_from: None,
            function_timeout: None,
        },
        observation: Observation {
            alarms: vec![
                alarm("checkout-5xx", Signal::Errors, AlarmState::Alarm, after(12_000), false),
                alarm("checkout-p99", Signal::Latency, AlarmState::Alarm, created_at, true),
            ],
            alarms_read_at: None,
            alarms_unreadable_since: None,
            metrics_unreadable_since: None,
            shift_started_at: Some(after(1_000)),
            weights: vec![(after(1_000), 0.1), (after(13_000), 0.0)],
            incident: None,
            notes: Vec::new(),
        },
        requests: Requests { last: None, paused_at: None },
        phase: Phase::Closed(Closing {
            ending: Ending::RolledBack(Exposure::Shift, Blame { cause: Cause::Errors, trigger: Trigger::Alarm }),
            at: after(13_500),
            reached: Reached::Shift(Shift::default()),
            is_archived: false,
        }),
        warnings: vec![Warning::HookUnanswered(Restraint::Mode(Mode::Advise))],
        was_held: false,
    }
}

fn rollback(created_at: Timestamp) -> Rollback {
    let after = |ms| created_at + Duration::from_millis(ms);
    Rollback {
        cause: Cause::Errors,
        trigger: Trigger::Alarm,
        exposure: Exposure::Shift,
        why: "alarm checkout-5xx went red: 7.75 was greater than 3.0".to_owned(),
        alarms: vec![AlarmName::parse("checkout-5xx").unwrap()],
        asked_by: None,
        impact_started_at: Some(after(2_000)),
        impact_is_from_alarm: true,
        detected_at: after(12_000),
        claim: Claim { owner: "run-1".to_owned(), until: after(32_000) },
        tried_at: Some(after(12_100)),
        call_error: None,
        requested_at: Some(after(12_100)),
        call: Some(RollbackAction::StopDeployment),
        rollback_deployment: Some(DeploymentId::parse("d-F6G7H8I9J").unwrap()),
        rolled_back_at: Some(after(13_000)),
        recovered_at: None,
        result: RollbackResult::Done,
    }
}

fn policy() -> Policy {
    let text = r#"{"service":"checkout","mode":"rollback","signals":{
        "errors":{"alarms":["checkout-5xx"],"against_baseline":{"e4":{"off":true},"probe":{"off":true}}},
        "latency":{"alarms":["checkout-p99"],"against_baseline":{"q90":{},"body":{"off":true},"q99":{"off":true}},"mode":"advise"}
    }}"#;
    parse_policy_json(text).unwrap()
}

/// After one minute in which 83 of 210 requests of the new version failed, counted by the front door, too.
fn numbers(created_at: Timestamp) -> (Analysis, JudgedPoll) {
    let policy = policy();
    let origin = bucket_start(created_at, policy.judge.bucket);
    let schedule = TrafficSchedule::new(60, vec![(41.0, 0.1)], 1200.0, 120.0).unwrap();
    let counts = |bad, all| Counts { e5: Some(Share::new(bad, all).unwrap()), ..Counts::of_requests(all) };
    let bucket = |side, start_s, bad, all| BucketRecord::of_version(side, start_s, counts(bad, all));
    let history: Vec<_> = (-60..0).map(|minute| bucket(Side::Baseline, minute * 60, 4, 2_000)).collect();
    let front = BucketRecord { start_s: 0, reading: Reading::Front(2_100) };
    let now = vec![bucket(Side::Baseline, 0, 4, 1_890), bucket(Side::Canary, 0, 83, 210), front];
    let witnesses = Witnesses { front: true, ..Witnesses::default() };
    let settings = [true, false].map(|decides| policy.detector(decides).unwrap());
    let begin = |of: usize, history: &[BucketRecord]| {
        let state = State::begin(settings[of], &schedule, witnesses, 3600.0, history, None);
        (Beginning { settings: (***settings[of]).clone(), references: state.references() }, state)
    };
    let ((enforcing, state), (advisory, told)) = (begin(0, &history), begin(1, &[]));
    let begun = Some(Begun { witnesses, enforcing: Some(enforcing), advisory: Some(advisory) });
    let (detector, _) = State::step(settings[0], &schedule, state, &now, 95.0);
    let (advisory, _) = State::step(settings[1], &schedule, told, &now, 95.0);
    let judged = JudgedPoll {
        polled_at: origin + Duration::from_secs(95),
        origin,
        begun,
        schedule,
        from_s: 0.0,
        anew_from: None,
        records: now,
        enforcing: Some(detector.said(settings[0])),
        advisory: Some(advisory.said(settings[1])),
    };
    let analysis = Analysis {
        origin,
        thresholds: None,
        is_missing: Missing::default(),
        enforcing: Some(detector),
        advisory: Some(advisory),
        has_history: true,
        has_pipeline: false,
        has_canary_series: true,
        pairs: None,
        recent: Vec::new(),
        late: LateGrowth::default(),
        burn: Burn::default(),
        polled: 1,
        counted: 1,
        anew_from: None,
        is_restarted: false,
    };
    (analysis, judged)
}

/// Keeps the table in `store`, with the deployment when there is one.
async fn keep(store: &Path, created_at: Option<Timestamp>) {
    let config = EmulatorConfig {
        minute: Duration::from_secs(60),
        port: None,
        store: Some(store.to_path_buf()),
        functions: None,
    };
    let aws = Emulator::start(config).await.unwrap();
    let table = create_table_request("snapback");
    aws.call(&*aws.dynamodb, "dynamodb", "CreateTable", table).await.unwrap();
    if let Some(created_at) = created_at {
        let config = function_config(&Loopback(aws.endpoint())).unwrap();
        fill(&Aws::from_sdk_config(&config, Settings::for_table("snapback")), created_at).await;
    }
    aws.shutdown().await;
}

async fn fill(aws: &Aws, created_at: Timestamp) {
    let after = |ms| created_at + Duration::from_millis(ms);
    let deployment = deployment(created_at);
    let line = |ms, kind, text: &str| TimelineEntry::new(after(ms), kind, text);
    let evidence = [Write::Entry(line(1_000, EntryKind::Phase, "version 42 gets traffic"))];
    assert!(aws.register(&deployment, &policy(), &evidence).await.unwrap());
    let (analysis, judged) = numbers(created_at);
    aws.save_analysis(&deployment.identity.id, &analysis, 0, Some(&judged)).await.unwrap();
    let lease = Lease {
        event: LifecycleEvent::BeforeAllowTraffic,
        execution_id: ExecutionId::parse("execution-1").unwrap(),
        owner: "run-1".to_owned(),
        taken_at: after(100),
        deadline: after(120_000),
        result: Some((HookStatus::Succeeded, "all checks passed".to_owned())),
        answered: Some((HookStatus::Succeeded, after(600))),
    };
    aws.take_lease(&deployment.identity.id, &lease).await.unwrap();
    let mut notice =
        Notice::new(NoticeKind::Rollback, after(13_500), "Rolled back: checkout version 42", "x".to_owned());
    notice.delivery = Delivery::Sent(after(13_600));
    let writes = [
        Write::Rollback(rollback(created_at)),
        Write::Notice(notice),
        Write::Entry(line(12_000, EntryKind::Verdict, "roll back: alarm checkout-5xx went red")),
        Write::Entry(line(12_100, EntryKind::Call, "StopDeployment: accepted")),
    ];
    aws.commit(&deployment, 1, &writes).await.unwrap();
}

fn snapback(arguments: &[&str], store: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_snapback"));
    // A table that is named for everyday use must not stand in the way of a file.
    command.args(arguments).arg("--store").arg(store).env("SNAPBACK_TABLE", "production").output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test]
async fn the_story_of_a_rollback() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("table.sqlite");
    keep(&store, Some(Timestamp::from_ms(CREATED_MS))).await;
    let text = stdout(&snapback(&["explain", ID], &store));
    assert_eq!(text, GOLDEN, "{text}");

    let document: Value = serde_json::from_str(&stdout(&snapback(&["explain", ID, "--json"], &store))).unwrap();
    let times = ["impact_started_ms", "detected_ms", "requested_ms", "rolled_back_ms"];
    let times = times.map(|name| document["rollback"][name].as_i64().unwrap() - CREATED_MS);
    assert_eq!(times, [2_000, 12_000, 12_100, 13_000]);
    let rollback = &document["rollback"];
    assert_eq!((&rollback["result"], &rollback["call"]), (&json!("done"), &json!("StopDeployment")));
    assert_eq!(document["outcome"], "rolled-back-in-shift");
    assert_eq!(document["evidence"].as_array().unwrap().len(), 3);
    assert_eq!(document["hooks"]["BeforeAllowTraffic"]["answered_ms"], CREATED_MS + 600);
    assert_eq!(document["alarms"][1]["exempt"], true);

    let comparison = &document["comparison"];
    assert_eq!(comparison["origin_ms"], CREATED_MS - 40_000);
    let [decides, tells] = comparison["detectors"].as_array().unwrap().as_slice() else { panic!("{comparison}") };
    assert_eq!((&decides["may_roll_back"], &decides["verdict"]), (&json!(true), &json!("rollback")));
    assert_eq!((&tells["may_roll_back"], &tells["verdict"]), (&json!(false), &json!("inconclusive")));
    let [e5] = decides["evidence"].as_array().unwrap().as_slice() else { panic!("e4 has no weight: {decides}") };
    assert_eq!((&e5["metric"], &e5["signal"], &e5["how"]), (&json!("e5"), &json!("errors"), &json!("concurrent")));
    assert_eq!((&e5["canary"], &e5["first_bad_ms"]), (&json!({"bad": 83, "all": 210}), &json!(CREATED_MS - 40_000)));
    let [poll] = decides["polls"].as_array().unwrap().as_slice() else { panic!("{decides}") };
    assert_eq!((&poll["at_ms"], &poll["rolled_back"]), (&json!(CREATED_MS - 40_000 + 95_000), &json!("e5")));
    assert_eq!(poll["log_e"]["e5"], e5["log_e"]);
    let bucket = |of: &str, bad: u64, all: u64| {
        json!({
            "of": of, "start_ms": CREATED_MS - 40_000, "requests": all,
            "e5": {"bad": bad, "all": all}, "tx": null, "e4": null, "latencies": null,
        })
    };
    let front = json!({"of": "front", "start_ms": CREATED_MS - 40_000, "requests": 2_100});
    assert_eq!(document["series"], json!([bucket("baseline", 4, 1_890), bucket("canary", 83, 210), front]));
}

/// What was judged live is judged alike from its trace.
#[tokio::test]
async fn a_trace_is_judged_as_the_deployment_was() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("table.sqlite");
    keep(&store, Some(Timestamp::from_ms(CREATED_MS))).await;
    let path = folder.path().join("trace.jsonl");
    let told = stdout(&snapback(&["explain", ID, "--trace", path.to_str().unwrap()], &store));
    assert!(told.starts_with("1 polls are in ") && told.contains("snapback judge --explain < "), "{told}");
    let trace = std::fs::read(&path).unwrap();
    assert_eq!(stdout(&snapback(&["explain", ID, "--trace", "-"], &store)).as_bytes(), trace);

    let judge = Command::new(env!("CARGO_BIN_EXE_snapback"))
        .args(["judge", "--explain"])
        .stdin(std::fs::File::open(&path).unwrap())
        .output()
        .unwrap();
    let verdicts: Vec<Value> = stdout(&judge).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (_, judged) = numbers(Timestamp::from_ms(CREATED_MS));
    let log_e = judged.enforcing.unwrap().log_e.into_iter().flatten().reduce(f64::max).unwrap();
    let told: Vec<_> =
        verdicts.iter().map(|it| (it["id"].as_str().unwrap(), it["verdict"].as_str().unwrap())).collect();
    let advice = format!("{ID} advice");
    let expected = [(ID, "rollback"), (ID, "rollback"), (&*advice, "continue"), (&*advice, "inconclusive")];
    assert_eq!(told, expected);
    assert_eq!((&verdicts[0]["now"], &verdicts[0]["reason"]), (&json!(95), &json!("e5")));
    assert!((verdicts[0]["log_e"].as_f64().unwrap() - log_e).abs() < 1e-3, "{log_e}: {verdicts:?}");
    let explained = String::from_utf8(judge.stderr).unwrap();
    assert!(explained.contains("new version 83 of 210") && !explained.contains("comes again"), "{explained}");

    let refused = snapback(&["explain", ID, "--trace", store.to_str().unwrap()], &store);
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(2) && why.contains("is the record itself"), "{why}");
    assert!(stdout(&snapback(&["explain", ID], &store)).contains("The comparison"), "and it is still there");
    let refused = snapback(&["explain", ID, "--trace", "/nowhere/trace.jsonl"], &store);
    let why = String::from_utf8(refused.stderr).unwrap();
    assert!(refused.status.code() == Some(3) && why.contains("cannot write /nowhere/trace.jsonl"), "{why}");
}

/// A damaged item must not hide the rest of the timeline.
#[tokio::test]
async fn numbers_that_cannot_be_read_are_said() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("table.sqlite");
    keep(&store, Some(Timestamp::from_ms(CREATED_MS))).await;
    let config =
        EmulatorConfig { minute: Duration::from_secs(60), port: None, store: Some(store.clone()), functions: None };
    let aws = Emulator::start(config).await.unwrap();
    let damage = json!({
        "TableName": "snapback",
        "Item": {
            attr::PK: {"S": format!("DEPLOYMENT#{ID}")}, attr::SK: {"S": "DETECTOR"}, attr::V: {"N": "2"},
            attr::VERSION: {"N": "1"}, "packed_format": {"N": "3"}, "started_ms": {"N": "0"}, "packed": {"S": "AAAA"},
        }
    });
    aws.call(&*aws.dynamodb, "dynamodb", "PutItem", damage).await.unwrap();
    aws.shutdown().await;
    let text = stdout(&snapback(&["explain", ID], &store));
    assert!(text.contains("The comparison\n  cannot be read: ") && text.contains("What happened\n"), "{text}");
    let document: Value = serde_json::from_str(&stdout(&snapback(&["explain", ID, "--json"], &store))).unwrap();
    assert!(document["comparison"]["unreadable"].as_str().unwrap().contains("packed"), "{document}");
    assert_eq!(document["series"], json!([]));
}

#[tokio::test]
async fn the_list_has_what_a_person_looks_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("table.sqlite");
    let now_ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    // Only the last 30 days are listed.
    let created_ms = i64::try_from(now_ms).unwrap() - 3_600_000;
    keep(&store, Some(Timestamp::from_ms(created_ms))).await;
    let text = stdout(&snapback(&["history"], &store));
    let row: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().skip(2).collect();
    let expected = "d-A1B2C3D4E checkout 41 -> 42 rolled-back-in-shift errors alarm 10.0 s 1.0 s";
    assert_eq!(row.join(" "), expected, "{text}");

    let document: Value = serde_json::from_str(&stdout(&snapback(&["history", "--json"], &store))).unwrap();
    let expected = json!({"deployments": [{
        "deployment": ID, "application": "shop", "deployment_group": "live", "service": "checkout",
        "function": "checkout-fn", "from_version": "41", "to_version": "42", "created_ms": created_ms,
        "closed_ms": created_ms + 13_500, "outcome": "rolled-back-in-shift", "cause": "errors", "trigger": "alarm",
        "time_to_detect_ms": 10_000, "time_to_roll_back_ms": 1_000, "rollback_deployment": "d-F6G7H8I9J"
    }], "paused": [], "pauses": []});
    assert_eq!(document, expected);
    for (group, count) in [("shop/live", 1), ("shop/other", 0)] {
        let listed = stdout(&snapback(&["history", "--json", "--group", group], &store));
        let listed: Value = serde_json::from_str(&listed).unwrap();
        assert_eq!(listed["deployments"].as_array().unwrap().len(), count, "{group}");
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[tokio::test]
async fn a_pause_is_shown_until_it_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("table.sqlite");
    keep(&store, Some(Timestamp::from_ms(CREATED_MS))).await;
    let document = |arguments: &[&str]| -> Value {
        serde_json::from_str(&stdout(&snapback(&[arguments, &["--json"]].concat(), &store))).unwrap()
    };
    assert_eq!((&document(&["explain", ID])["paused"], &document(&["history"])["paused"]), (&Value::Null, &json!([])));
    let nothing = snapback(&["resume", "--why", "fixed"], &store);
    assert_eq!(nothing.status.code(), Some(1), "a script must not take it for a resume");
    assert!(stderr(&nothing).contains("there is no pause of the whole installation"), "{}", stderr(&nothing));

    let own = ["pause", "--group", "shop/live", "--who", "ann", "--why", "false alarms"];
    let paused = snapback(&own, &store);
    let said = stdout(&paused);
    assert!(said.starts_with("Paused deployment group shop/live: within a minute"), "{said}");
    assert!(said.ends_with("snapback resume --group shop/live --why …\n"), "{said}");
    assert!(stderr(&paused).contains("no policy and no deployment on record"), "{}", stderr(&paused));
    let again = stdout(&snapback(&["pause", "--group", "shop/live", "--who", "bob", "--why", "again"], &store));
    assert!(again.starts_with("Nothing was changed. PAUSED: deployment group shop/live, since 2"), "{again}");
    assert!(again.contains(" by ann: false alarms."), "{again}");

    // Every command that reads says so, and still has one document on standard output.
    for command in [&["explain", ID][..], &["history"], &["history", "--group", "shop/live"]] {
        let output = snapback(command, &store);
        assert!(stderr(&output).starts_with("PAUSED: deployment group shop/live"), "{command:?}: {}", stderr(&output));
    }
    assert_eq!(stderr(&snapback(&["history", "--group", "shop/other"], &store)), "");
    let shown = &document(&["explain", ID])["paused"];
    assert_eq!(
        (&shown["scope"], &shown["who"], &shown["why"]),
        (&json!("shop/live"), &json!("ann"), &json!("false alarms"))
    );
    assert!(shown["since_ms"].is_i64() && shown["ended_ms"].is_null(), "{shown}");

    // The whole installation, on its own.
    let other = snapback(&["resume", "--why", "fixed"], &store);
    assert_eq!(other.status.code(), Some(1));
    assert!(stderr(&other).contains("Still: PAUSED: deployment group shop/live"), "{}", stderr(&other));
    stdout(&snapback(&["pause", "--who", "ann", "--why", "all of it"], &store));
    assert_eq!(document(&["history"])["paused"].as_array().unwrap().len(), 2);
    let resumed = stdout(&snapback(&["resume", "--group", "shop/live", "--who", "bob", "--why", "fixed"], &store));
    assert!(resumed.starts_with("Resumed deployment group shop/live, after "), "{resumed}");
    assert!(resumed.contains("Still: PAUSED: the whole installation"), "{resumed}");
    assert_eq!(document(&["explain", ID])["paused"]["scope"], "*");
    stdout(&snapback(&["resume", "--who", "bob", "--why", "fixed"], &store));

    let over = snapback(&["history"], &store);
    assert_eq!(stderr(&over), "");
    let text = stdout(&over);
    assert!(text.contains("\nPauses\n") && text.contains("resumed by bob: fixed)"), "{text}");
    let document = document(&["history"]);
    assert_eq!(document["paused"], json!([]));
    let pauses = document["pauses"].as_array().unwrap();
    let scopes: Vec<&str> = pauses.iter().map(|pause| pause["scope"].as_str().unwrap()).collect();
    assert_eq!(scopes, ["shop/live", "*"]);
    assert!(pauses.iter().all(|pause| pause["ended_by"] == "bob"), "{document}");
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("table.sqlite");
    keep(&store, None).await;
    let output = snapback(&["explain", ID], &store);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not on record"));
    assert_eq!(stdout(&snapback(&["history"], &store)), "No deployments on record in the last 30 days.\n");
}

#[test]
fn a_file_of_another_program_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("mine.sqlite");
    let before = [b"SQLite format 3\0".as_slice(), &[0; 4096]].concat();
    std::fs::write(&store, &before).unwrap();
    let output = snapback(&["history"], &store);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("no DynamoDB tables"), "{said}");
    assert_eq!(std::fs::read(&store).unwrap(), before);
}

/// Reviewed like code: change it together with the words.
const GOLDEN: &str = include_str!("golden/explain.txt");
