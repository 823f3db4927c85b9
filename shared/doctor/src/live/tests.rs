use super::*;
use serde_json::json;
use snapback_core::Mode;
use snapback_wire::policy_file::parse_policy_json;

const NOW: Timestamp = Timestamp::from_ms(1_795_169_726_900);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn policy(mode: Mode) -> LivePolicy {
    let text =
        json!({ "service": "shop", "mode": mode.to_string(), "signals": { "errors": { "alarms": ["shop-5xx"] } } });
    LivePolicy::Valid(Box::new(parse_policy_json(&text.to_string()).unwrap()))
}

fn alarm(name: &str, state: AlarmState, age: Duration) -> LiveAlarm {
    LiveAlarm {
        name: name.to_owned(),
        arn: format!("arn:aws:cloudwatch:eu-west-1:123456789012:alarm:{name}"),
        state,
        since: Timestamp::from_ms(NOW.ms() - i64::try_from(age.as_millis()).unwrap()),
        is_composite: false,
        properties: json!({
            "AlarmName": name,
            "Namespace": "AWS/ApiGateway",
            "MetricName": "5XXError",
            "Dimensions": [{ "Name": "ApiName", "Value": "shop" }],
            "Statistic": "Average",
            "Period": 60,
            "EvaluationPeriods": 3,
            "Threshold": 0.05,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
        }),
    }
}

/// A group about which there is nothing to say.
fn sound() -> LiveGroup {
    let own = ["snapback-verdict-shop", "snapback-dead-man-shop"];
    let hook = |event: &str| Some(format!("CodeDeployHook_snapback-{event}-allow-traffic"));
    LiveGroup {
        group: GroupRef::parse("shop/live").unwrap(),
        now: NOW,
        platform: Platform::Lambda,
        config: Some("CodeDeployDefault.LambdaCanary10Percent5Minutes".to_owned()),
        shift: Some(Duration::from_secs(300)),
        rollback_events: Some(
            ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST"]
                .map(str::to_owned)
                .to_vec(),
        ),
        attached: own.map(str::to_owned).to_vec(),
        alarms_enabled: true,
        ignores_poll_failure: false,
        policy: policy(Mode::Rollback),
        alarms: [own[0], own[1], "shop-5xx"].map(|name| alarm(name, AlarmState::Ok, DAY)).to_vec(),
        is_running: false,
        hooks: Some(HookFunctions { before: hook("before"), after: hook("after") }),
        deployed_version: Some("8".to_owned()),
        alias: Some(LiveAlias {
            function: "shop".to_owned(),
            name: "live".to_owned(),
            facts: Some(TrafficFacts { version: "8".to_owned(), others: Vec::new() }),
        }),
        hook_functions: Vec::new(),
        missing_hooks: Vec::new(),
    }
}

const BEATING: Pulse = Pulse { heartbeats: Some(90.0), evidence_missing: Some(0.0) };

fn found(report: &Report) -> Vec<(&'static str, &'static str)> {
    report.findings.iter().map(|finding| (finding.rule, finding.severity.as_str())).collect()
}

#[test]
fn a_sound_group_has_no_findings() {
    assert_eq!(examine_group(&sound(), &BEATING), Report::default());
    assert_eq!(examine_group(&sound(), &Pulse::default()), Report::default(), "what is not known is not reported");
    assert_eq!(examine_installation(&Installation::default()), Report::default());
    let busy = Installation { sweeps: Some(15.0), describe_alarms_most: Some(400.0), ..Installation::default() };
    assert_eq!(examine_installation(&busy), Report::default());
}

/// A name, what is wrong, and the rules that find it with their severities.
type Case = (&'static str, fn(&mut LiveGroup), &'static [(&'static str, &'static str)]);

fn each_is_found_and_nothing_else<const N: usize>(cases: [Case; N]) {
    for (case, fault, expected) in cases {
        let mut live = sound();
        fault(&mut live);
        let report = examine_group(&live, &BEATING);
        assert_eq!(found(&report), expected, "{case}: {:#?}", report.findings);
        let is_in_account = |finding: &crate::Diagnosis| finding.line == 0 && finding.path.is_empty();
        assert!(report.findings.iter().all(is_in_account), "{case}: {:#?}", report.findings);
    }
}

#[test]
fn faults_that_only_an_account_shows() {
    each_is_found_and_nothing_else([
        ("policy alarm red", |live| live.alarms[2].state = AlarmState::Alarm, &[("alarm-red-now", "warning")]),
        ("own alarm red", |live| live.alarms[0].state = AlarmState::Alarm, &[("alarm-red-now", "error")]),
        (
            "silent for days",
            |live| live.alarms[2] = alarm("shop-5xx", AlarmState::InsufficientData, 4 * DAY),
            &[("alarm-without-data", "warning")],
        ),
        ("silent since yesterday", |live| live.alarms[2].state = AlarmState::InsufficientData, &[]),
        ("policy alarm gone", |live| drop(live.alarms.pop()), &[("alarm-missing", "error")]),
        ("own alarm gone", |live| drop(live.alarms.remove(0)), &[("alarm-missing", "error")]),
        (
            "two versions",
            |live| live.alias.as_mut().unwrap().facts.as_mut().unwrap().others = vec![("9".to_owned(), 0.1)],
            &[("alias-on-two-versions", "error")],
        ),
        (
            "two versions while it deploys",
            |live| {
                live.is_running = true;
                live.alias.as_mut().unwrap().facts.as_mut().unwrap().others = vec![("9".to_owned(), 0.1)];
            },
            &[],
        ),
        (
            "moved by hand",
            |live| live.alias.as_mut().unwrap().facts.as_mut().unwrap().version = "7".to_owned(),
            &[("alias-out-of-step", "warning")],
        ),
        ("no alias", |live| live.alias.as_mut().unwrap().facts = None, &[("alias-missing-now", "error")]),
        (
            "no function of a hook",
            |live| live.missing_hooks.push("CodeDeployHook_shop".to_owned()),
            &[("hook-function-missing", "error")],
        ),
        ("no policy", |live| live.policy = LivePolicy::Missing, &[("policy-missing", "warning")]),
        (
            "no policy, no hooks",
            |live| {
                live.policy = LivePolicy::Missing;
                live.hooks = None;
                live.attached.clear();
            },
            &[("policy-missing", "note")],
        ),
        (
            "broken policy",
            |live| live.policy = LivePolicy::Invalid("no `mode`".to_owned()),
            &[("policy-unreadable", "error")],
        ),
        ("advise with alarms", |live| live.policy = policy(Mode::Advise), &[("policy-out-of-step", "warning")]),
        ("own alarms off", |live| live.attached.clear(), &[("own-alarms-missing", "warning")]),
        ("another's hook", |live| live.hooks = Some(HookFunctions::default()), &[("hooks-missing", "error")]),
        ("raw alarm", |live| live.attached.push("shop-5xx".to_owned()), &[("raw-alarm-attached", "warning")]),
    ]);
}

#[test]
fn faults_that_a_template_shows_too() {
    each_is_found_and_nothing_else([
        ("no rollback", |live| live.rollback_events = None, &[("rollback-off", "warning")]),
        ("poll failures", |live| live.ignores_poll_failure = true, &[("alarm-poll-failure-ignored", "warning")]),
        (
            "configuration of EC2",
            |live| live.config = Some("CodeDeployDefault.OneAtATime".to_owned()),
            &[("deployment-config-of-another-platform", "error")],
        ),
        (
            "slow by default",
            |live| live.config = Some("CodeDeployDefault.LambdaLinear10PercentEvery10Minutes".to_owned()),
            &[("shift-and-bake-too-long", "warning")],
        ),
        (
            "slow by its own configuration",
            |live| {
                live.config = Some("slow".to_owned());
                live.shift = Some(Duration::from_secs(3600));
            },
            &[("deployment-config-slow", "warning")],
        ),
        (
            "a metric that does not exist",
            |live| live.alarms[2].properties["MetricName"] = json!("5xxErrorRate"),
            &[("metric-does-not-exist", "error")],
        ),
    ]);
}

/// A group with a hook of the team, named so, of which little is said.
fn with_hook(named: &str, qualifier: Option<&str>) -> LiveGroup {
    LiveGroup {
        policy: LivePolicy::Missing,
        hooks: Some(HookFunctions { before: Some(named.to_owned()), after: None }),
        attached: Vec::new(),
        hook_functions: vec![LiveFunction {
            name: "CodeDeployHook_shop".to_owned(),
            arn: "arn:aws:lambda:eu-west-1:123456789012:function:CodeDeployHook_shop".to_owned(),
            qualifier: qualifier.map(str::to_owned),
            timeout: Some(Duration::from_secs(60)),
            retries: None,
            event_age: Some(Duration::from_secs(60)),
            has_destination: false,
        }],
        ..sound()
    }
}

#[test]
fn a_hook_of_the_team_is_looked_at() {
    let expected = [("hook-retries", "warning"), ("hook-without-destination", "warning"), ("policy-missing", "note")];
    let arn = "arn:aws:lambda:eu-west-1:123456789012:function:CodeDeployHook_shop";
    let qualified = format!("{arn}:live");
    for (named, qualifier) in [("CodeDeployHook_shop", None), (arn, None), (&qualified, Some("live"))] {
        let report = examine_group(&with_hook(named, qualifier), &BEATING);
        assert_eq!(found(&report), expected, "{named}: {:#?}", report.findings);
        let called = format!("{arn}:{}", qualifier.unwrap_or("$LATEST"));
        assert!([arn, &called].contains(&report.findings[0].subject.as_str()), "{named}: {:#?}", report.findings);
    }
}

#[test]
fn a_red_alarm_of_its_own_is_not_for_the_policy() {
    let fixes = [(0, "docs/operations.md"), (2, "policy")].map(|(index, expected)| {
        let mut live = sound();
        live.alarms[index].state = AlarmState::Alarm;
        let report = examine_group(&live, &BEATING);
        (report.findings[0].fix.contains(expected), report.findings[0].fix.clone())
    });
    assert!(fixes.iter().all(|(is_told, _)| *is_told), "{fixes:?}");
}

#[test]
fn what_the_numbers_tell() {
    let silent = Pulse { heartbeats: Some(0.0), evidence_missing: Some(3.0) };
    let report = examine_group(&sound(), &silent);
    assert_eq!(found(&report), [("heartbeat-missing", "error"), ("evidence-missing", "warning")]);
    let installation = Installation {
        missing: vec!["snapback-hook-watchdog".to_owned()],
        is_absent: false,
        not_called: vec!["snapback-alarm-handler".to_owned()],
        sweeps: Some(0.0),
        describe_alarms_most: Some(500.0),
    };
    let report = examine_installation(&installation);
    let expected = [
        ("events-not-delivered", "error"),
        ("installation-incomplete", "error"),
        ("watcher-not-running", "error"),
        ("describe-alarms-near-quota", "warning"),
    ];
    assert_eq!(found(&report), expected);
    let no_watcher = Installation { missing: vec!["snapback-watcher".to_owned()], sweeps: Some(0.0), ..installation };
    let report = examine_installation(&no_watcher);
    assert!(!found(&report).contains(&("watcher-not-running", "error")), "said once");
    let nothing =
        Installation { missing: vec!["snapback-watcher".to_owned()], is_absent: true, ..Installation::default() };
    assert_eq!(found(&examine_installation(&nothing)), [("installation-incomplete", "note")]);
}
