use super::*;
use proptest::prelude::*;
use serde_json::json;
use snapback_core::policy::{
    AtDeadline, BeforeTraffic, Expect, NoEvidence, Probe, ProbeKind, RedAlarms, Settings, SignalPolicy, WithoutEvidence,
};
use snapback_core::{AlarmName, Mode, Signal};
use std::time::Duration;

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/policy.schema.json");

fn full() -> Value {
    json!({
        "service": "checkout",
        "mode": "rollback",
        "before_traffic": {
            "deadline": "90s",
            "red_alarms": "block",
            "probes": [
                { "invoke": {
                    "payload": { "path": "/health" },
                    "expect": { "status": 200, "within": "800ms" },
                    "times": 5,
                } },
                { "http": { "url": "https://shop.example.com/health", "expect": { "status": 200 } } },
                { "function": { "arn": "arn:aws:lambda:us-east-1:123456789012:function:checks", "payload": [1] } },
            ],
        },
        "signals": {
            "errors": { "alarms": ["checkout-5xx"] },
            "latency": { "alarms": ["checkout-p99", "checkout-p50"], "mode": "advise" },
            "availability": { "alarms": ["checkout-availability"] },
            "transactions": { "alarms": ["checkout-payments"] },
        },
        "bake": "20m",
        "tick": "2s",
        "no_evidence": { "silence": "fail", "unreachable": "pass-with-warning" },
        "at_deadline": "pass-with-warning",
        "refuse_for": "48h",
        "notify": { "sns": "arn:aws:sns:us-east-1:123456789012:releases" },
    })
}

#[test]
fn every_field_is_read() {
    let policy = parse_policy_value(&full()).unwrap();
    assert_eq!((policy.service.as_str(), policy.mode), ("checkout", Mode::Rollback));
    let before = &policy.before_traffic;
    assert_eq!((before.deadline, before.red_alarms), (Duration::from_secs(90), RedAlarms::Block));
    let expected = [
        Probe {
            kind: ProbeKind::Invoke { payload: r#"{"path":"/health"}"#.to_owned() },
            expect: Expect { status: Some(200), within: Some(Duration::from_millis(800)) },
            times: 5,
        },
        Probe {
            kind: ProbeKind::Http { url: "https://shop.example.com/health".to_owned() },
            expect: Expect { status: Some(200), within: None },
            times: 1,
        },
        Probe {
            kind: ProbeKind::Function {
                arn: "arn:aws:lambda:us-east-1:123456789012:function:checks".to_owned(),
                payload: "[1]".to_owned(),
            },
            expect: Expect { status: None, within: None },
            times: 1,
        },
    ];
    assert_eq!(before.probes, expected);
    assert_eq!(policy.signals.len(), 4);
    assert_eq!(policy.mode_of(Some(Signal::Latency)), Mode::Advise);
    assert_eq!(policy.signals[&Signal::Latency].alarms.len(), 2);
    assert_eq!((policy.bake, policy.tick), (Duration::from_secs(1_200), Duration::from_secs(2)));
    assert_eq!(policy.no_evidence.silence, WithoutEvidence::Fail);
    assert_eq!(policy.no_evidence.unreachable, WithoutEvidence::PassWithWarning);
    assert_eq!(policy.at_deadline, AtDeadline::PassWithWarning);
    assert_eq!(policy.refuse_for, Duration::from_secs(48 * 3_600));
    assert_eq!(policy.notify.as_deref(), Some("arn:aws:sns:us-east-1:123456789012:releases"));
}

#[test]
fn what_is_not_said_has_a_default() {
    let policy = parse_policy_json(r#"{"service":"checkout","mode":"rollback"}"#).unwrap();
    let expected = Settings {
        service: "checkout".to_owned(),
        mode: Mode::Rollback,
        before_traffic: BeforeTraffic {
            deadline: Duration::from_secs(120),
            red_alarms: RedAlarms::Exempt,
            probes: Vec::new(),
        },
        signals: std::collections::BTreeMap::new(),
        bake: Duration::from_secs(600),
        tick: Duration::from_secs(10),
        no_evidence: NoEvidence { silence: WithoutEvidence::PassWithWarning, unreachable: WithoutEvidence::Hold },
        at_deadline: AtDeadline::Fail,
        refuse_for: Duration::from_secs(24 * 3_600),
        notify: None,
    };
    assert_eq!(*policy, expected);
}

#[test]
#[expect(clippy::too_many_lines, reason = "it is one table")]
fn what_is_wrong_is_named() {
    // (case, place, what stands there instead, part of the message)
    let table = [
        ("unknown field", "/typo", json!(1), "policy field `typo`: unknown field `typo`"),
        (
            "not built",
            "/signals/errors/metric",
            json!("x"),
            "policy field `signals.errors.metric`: unknown field `metric`",
        ),
        ("not built", "/signals/errors/against_baseline", json!({}), "unknown field `against_baseline`"),
        ("not built", "/signals/errors/sufficient", json!(true), "unknown field `sufficient`"),
        ("not built", "/signals/sla", json!({}), "policy field `signals.sla`: unknown field `sla`"),
        (
            "unknown mode",
            "/mode",
            json!("auto"),
            "policy field `mode`: unknown variant `auto`, expected one of `observe`, `advise`, `rollback`",
        ),
        ("case matters", "/mode", json!("Rollback"), "unknown variant `Rollback`"),
        ("no service", "/service", json!(""), "policy field `service` is ``, allowed is a name of 1 to 64 characters"),
        (
            "a number",
            "/bake",
            json!(600),
            "policy field `bake`: 600 is no duration, allowed is a whole number with a unit, such as 250ms, 30s, 10m or 2h",
        ),
        ("a decimal", "/tick", json!("1.5s"), "policy field `tick`: `1.5s` is no duration"),
        ("too long", "/bake", json!("56m"), "policy field `bake` is 56m, allowed is 0s to 55m"),
        (
            "nested duration",
            "/before_traffic/probes/0/invoke/expect/within",
            json!("fast"),
            "policy field `before_traffic.probes[0].invoke.expect.within`: `fast` is no duration",
        ),
        (
            "slower than the deadline",
            "/before_traffic/probes/0/invoke/expect/within",
            json!("2m"),
            "`before_traffic.probes[0].expect.within` is 2m",
        ),
        (
            "times",
            "/before_traffic/probes/0/invoke/times",
            json!(0),
            "`before_traffic.probes[0].times` is 0, allowed is 1 to 100",
        ),
        (
            "negative times",
            "/before_traffic/probes/0/invoke/times",
            json!(-1),
            "policy field `before_traffic.probes[0].invoke.times`: invalid value",
        ),
        ("unknown probe", "/before_traffic/probes/0", json!({ "tcp": {} }), "unknown variant `tcp`"),
        (
            "two kinds in one",
            "/before_traffic/probes/0",
            json!({ "invoke": {}, "http": {} }),
            "policy field `before_traffic.probes[0]`",
        ),
        (
            "URL",
            "/before_traffic/probes/1/http/url",
            json!("http://169.254.169.254/"),
            "policy field `before_traffic.probes[1].http.url`: URL `http://169.254.169.254/` has a host that probes may not call",
        ),
        (
            "ARN",
            "/before_traffic/probes/2/function/arn",
            json!("checks"),
            "`before_traffic.probes[2].function.arn`: `checks` is not the ARN of a Lambda function",
        ),
        (
            "alarm name",
            "/signals/latency/alarms/1",
            json!(""),
            "policy field `signals.latency.alarms[1]`: `` is not an alarm name",
        ),
        (
            "alarms are a text",
            "/signals/errors/alarms",
            json!("checkout-5xx"),
            "policy field `signals.errors.alarms`: invalid type: string",
        ),
        ("topic", "/notify/sns", json!("ops@example.com"), "policy field `notify.sns` is ops@example.com"),
        ("null", "/before_traffic", Value::Null, "policy field `before_traffic`: invalid type: null"),
    ];
    for (case, place, value, expected) in table {
        let mut document = full();
        let (parent, name) = place.rsplit_once('/').unwrap();
        let parent = document.pointer_mut(parent).unwrap();
        if let Some(list) = parent.as_array_mut() {
            list[name.parse::<usize>().unwrap()] = value;
        } else {
            parent.as_object_mut().unwrap().insert(name.to_owned(), value);
        }
        let error = parse_policy_value(&document).unwrap_err().to_string();
        assert!(error.contains(expected), "{case} {place}: {error}");
    }
    for name in ["service", "mode"] {
        let mut document = full();
        document.as_object_mut().unwrap().remove(name);
        let error = parse_policy_value(&document).unwrap_err().to_string();
        assert!(error.contains(&format!("missing field `{name}`")), "{error}");
    }
}

#[test]
fn text_is_bounded_json() {
    let spaces = " ".repeat(MAX_DOCUMENT + 1);
    let table = [
        (spaces.as_str(), "policy has 8193 bytes, allowed are 8192"),
        ("service: checkout", "policy is not JSON"),
        ("", "policy is not JSON"),
        ("[]", "policy field `(document)`: "),
        ("7", "policy field `(document)`: "),
    ];
    for (text, expected) in table {
        let error = parse_policy_json(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

/// Compares with a committed file; `UPDATE_SNAPSHOTS=1` writes it instead.
#[track_caller]
pub(crate) fn assert_snapshot(path: &str, value: &Value) {
    let text = serde_json::to_string_pretty(value).unwrap() + "\n";
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some_and(|update| update == "1") {
        std::fs::write(path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(committed, text, "{path} is stale; run the test with UPDATE_SNAPSHOTS=1 and review the difference");
}

#[test]
fn the_committed_schema_is_current() {
    assert_snapshot(SCHEMA, &policy_schema());
}

#[test]
fn the_schema_knows_every_field() {
    let schema = policy_schema();
    let properties = schema["properties"].as_object().unwrap();
    for name in full().as_object().unwrap().keys() {
        let description = properties.get(name).and_then(|property| property["description"].as_str());
        assert!(description.is_some_and(|text| !text.is_empty()), "{name} has no description");
    }
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["required"], json!(["service", "mode"]));
}

fn any_expect() -> impl Strategy<Value = Expect> {
    (prop::option::of(any::<u16>()), prop::option::of(1_u64..=2_000))
        .prop_map(|(status, ms)| Expect { status, within: ms.map(Duration::from_millis) })
}

fn any_payload() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("{}".to_owned()),
        Just("null".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        ".{0,20}".prop_map(|text| Value::from(text).to_string()),
        ("[a-z/]{0,9}", any::<bool>()).prop_map(|(path, deep)| json!({ "path": path, "deep": deep }).to_string()),
    ]
}

fn any_probe() -> impl Strategy<Value = Probe> {
    let kind = prop_oneof![
        any_payload().prop_map(|payload| ProbeKind::Invoke { payload }),
        "https://[a-z]{1,9}\\.example\\.com/[a-z0-9?=&/]{0,20}".prop_map(|url| ProbeKind::Http { url }),
        ("[a-z-]{1,9}", any_payload()).prop_map(|(name, payload)| ProbeKind::Function {
            arn: format!("arn:aws:lambda:eu-west-1:123456789012:function:{name}"),
            payload,
        }),
    ];
    (kind, any_expect(), 1_u32..=100).prop_map(|(kind, expect, times)| Probe { kind, expect, times })
}

fn any_mode() -> impl Strategy<Value = Mode> {
    prop::sample::select(Mode::ALL)
}

fn any_without_evidence() -> impl Strategy<Value = WithoutEvidence> {
    prop::sample::select(&[WithoutEvidence::PassWithWarning, WithoutEvidence::Hold, WithoutEvidence::Fail][..])
}

fn any_signal() -> impl Strategy<Value = SignalPolicy> {
    let alarm = "[^\\p{Cc}]{1,20}".prop_map(|name| AlarmName::parse(name).unwrap());
    (prop::collection::vec(alarm, 0..4), prop::option::of(any_mode()))
        .prop_map(|(alarms, mode)| SignalPolicy { alarms, mode })
}

prop_compose! {
    fn any_before_traffic()(
        deadline in 2_000_u64..=840_000,
        blocks in any::<bool>(),
        probes in prop::collection::vec(any_probe(), 0..4),
    ) -> BeforeTraffic {
        BeforeTraffic {
            deadline: Duration::from_millis(deadline),
            red_alarms: if blocks { RedAlarms::Block } else { RedAlarms::Exempt },
            probes,
        }
    }
}

prop_compose! {
    /// Any valid policy.
    pub(crate) fn any_policy()(
        service in "[^\\p{Cc}]{1,64}",
        (mode, before_traffic) in (any_mode(), any_before_traffic()),
        signals in prop::collection::btree_map(prop::sample::select(Signal::ALL), any_signal(), 0..4),
        (bake, tick, refuse_for) in (0_u64..=3_300_000, 1_000_u64..=60_000, 0_u64..=720 * 3_600_000),
        (silence, unreachable) in (any_without_evidence(), any_without_evidence()),
        fails in any::<bool>(),
        topic in prop::option::of("[a-z]{1,9}"),
    ) -> Policy {
        Policy::new(Settings {
            service,
            mode,
            before_traffic,
            signals,
            bake: Duration::from_millis(bake),
            tick: Duration::from_millis(tick),
            no_evidence: NoEvidence { silence, unreachable },
            at_deadline: if fails { AtDeadline::Fail } else { AtDeadline::PassWithWarning },
            refuse_for: Duration::from_millis(refuse_for),
            notify: topic.map(|name| format!("arn:aws:sns:eu-west-1:123456789012:{name}")),
        })
        .unwrap()
    }
}

proptest! {
    #[test]
    fn printed_policies_parse_back(policy in any_policy()) {
        let text = to_json(&policy);
        prop_assert!(!text.contains('\n'));
        prop_assert_eq!(parse_stored_policy(&text), Ok(policy));
    }

    #[test]
    fn no_text_panics(text in "[\\[\\]{}\":,a-z0-9 ]{0,80}") {
        let _ = parse_policy_json(&text);
    }
}
