use super::*;
use proptest::prelude::*;
use serde_json::json;
use snapback_core::canary::Metric;
use snapback_core::measure::{Api, Source};
use snapback_core::policy::{
    AgainstBaseline, AtDeadline, BUCKETS, BeforeTraffic, Expect, Judge, NoEvidence, Overrides, Probe, ProbeKind,
    RedAlarms, Settings, SignalPolicy, WithoutEvidence,
};
use snapback_core::sla::Objective;
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
            "errors": {
                "alarms": ["checkout-5xx"],
                "against_baseline": {
                    "e5": {
                        "weight": 0.4, "factor": 1.5, "points": "0.1pp", "noise": 0.2, "after_factor": 3, "after_points": "0.5pp",
                        "after_noise": 0.5, "cap": 5, "prior_events": 300, "dispersion_max": 20,
                    },
                    "e4": { "weight": 0 },
                },
                "metric": { "custom": {
                    "namespace": "Shop", "all": "Requests", "bad": "ServerErrors", "client_errors": "ClientErrors",
                    "dimensions": { "Service": "checkout" }, "version": "Version",
                } },
            },
            "latency": {
                "alarms": ["checkout-p99", "checkout-p50"], "mode": "advise", "sufficient": true,
                "against_baseline": { "q50": {}, "q90": { "factor": 1.1 }, "q99": {} },
            },
            "availability": {
                "alarms": ["checkout-availability"], "sufficient": false,
                "against_baseline": { "traffic": { "weight": 0.2, "factor": 0.4, "after_factor": 0.2, "cap": 4 } },
            },
            "transactions": {
                "against_baseline": {},
                "metric": { "custom": { "namespace": "Shop", "all": "PaymentsTried", "bad": "PaymentsFailed" } },
            },
            "sla": { "objective": "99.9%", "alarms": ["checkout-budget"], "mode": "advise", "sufficient": false },
        },
        "bake": "20m",
        "tick": "2s",
        "judge": {
            "bucket": "10s", "settle": "20s", "grace": "1m", "dark": "2m", "history": "2h", "long": "20m", "recent": "2m",
            "peak": "5m", "young": "1m", "alpha": "1%",
        },
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
    assert_eq!(policy.signals.len(), 5);
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
fn every_field_of_the_comparison_is_read() {
    let policy = parse_policy_value(&full()).unwrap();
    let errors = &policy.signals[&Signal::Errors];
    let e5 = Overrides {
        weight: Some(0.4),
        factor: Some(1.5),
        points: Some(0.001),
        noise: Some(0.2),
        after_factor: Some(3.0),
        after_points: Some(0.005),
        after_noise: Some(0.5),
        cap: Some(5.0),
        prior_events: Some(300.0),
        dispersion_max: Some(20.0),
    };
    let e4 = Overrides { weight: Some(0.0), ..Overrides::default() };
    assert_eq!(errors.against_baseline, Some([(Metric::E5, e5), (Metric::E4, e4)].into()));
    let custom = |all: &str, bad: &str| Source::Custom {
        namespace: "Shop".to_owned(),
        all: all.to_owned(),
        bad: bad.to_owned(),
        client_errors: None,
        dimensions: std::collections::BTreeMap::new(),
        version: None,
    };
    let split = Source::Custom {
        namespace: "Shop".to_owned(),
        all: "Requests".to_owned(),
        bad: "ServerErrors".to_owned(),
        client_errors: Some("ClientErrors".to_owned()),
        dimensions: [("Service".to_owned(), "checkout".to_owned())].into(),
        version: Some("Version".to_owned()),
    };
    assert_eq!(errors.source, Some(split));
    let transactions = &policy.signals[&Signal::Transactions];
    assert_eq!(transactions.against_baseline, Some(AgainstBaseline::new()));
    assert_eq!(transactions.source, Some(custom("PaymentsTried", "PaymentsFailed")));
    assert_eq!(policy.signals[&Signal::Sla].objective.map(Objective::good), Some(0.999));
    let sufficient = Signal::ALL.iter().map(|signal| (*signal, policy.is_sufficient(Some(*signal))));
    let expected = [
        (Signal::Errors, false),
        (Signal::Latency, true),
        (Signal::Availability, false),
        (Signal::Transactions, false),
        (Signal::Sla, false),
    ];
    assert_eq!(sufficient.collect::<Vec<_>>(), expected);
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    let judge = Judge {
        bucket: 10 * second,
        settle: 20 * second,
        grace: minute,
        dark: 2 * minute,
        history: 120 * minute,
        long: 20 * minute,
        recent: 2 * minute,
        peak: 5 * minute,
        young: minute,
        alpha: 0.01,
    };
    assert_eq!(policy.judge, judge);
}

#[test]
fn sources_in_front_of_the_function_are_read() {
    let api = |kind: &str, value: Value| {
        let mut document = full();
        document["signals"]["errors"]["metric"] = json!({ kind: value });
        parse_policy_value(&document).unwrap().signals[&Signal::Errors].source.clone().unwrap()
    };
    let table = [
        (
            api("rest_api", json!({ "name": "shop", "stage": "prod" })),
            Api::Rest { name: "shop".to_owned(), stage: "prod".to_owned() },
        ),
        (
            api("http_api", json!({ "id": "a1b2c3d4", "stage": "$default" })),
            Api::Http { id: "a1b2c3d4".to_owned(), stage: "$default".to_owned() },
        ),
        (
            api(
                "load_balancer",
                json!({ "load_balancer": "app/shop/50dc", "target_group": "targetgroup/checkout/73e2" }),
            ),
            Api::LoadBalancer {
                load_balancer: "app/shop/50dc".to_owned(),
                target_group: "targetgroup/checkout/73e2".to_owned(),
            },
        ),
    ];
    for (source, expected) in table {
        assert_eq!(source, Source::Api(expected));
    }
}

#[test]
fn an_alarm_is_sufficient_unless_the_signal_is_compared() {
    let alarms = json!(["a"]);
    // (signal, without against_baseline, with it): an outage is not argued about.
    let table = [(Signal::Errors, true, false), (Signal::Latency, true, false), (Signal::Availability, true, true)];
    for (signal, alone, compared) in table {
        for (part, expected) in [
            (json!({ "alarms": alarms }), alone),
            (json!({ "alarms": alarms, "against_baseline": {} }), compared),
            (json!({ "alarms": alarms, "against_baseline": {}, "sufficient": true }), true),
            (json!({ "alarms": alarms, "sufficient": true }), true),
        ] {
            let document = json!({ "service": "a", "mode": "rollback", "signals": { signal.as_str(): part } });
            let policy = parse_policy_value(&document).unwrap();
            assert_eq!(policy.is_sufficient(Some(signal)), expected, "{signal} {part}");
        }
    }
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
        judge: Judge::recommended(),
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
#[expect(clippy::too_many_lines, reason = "it is one table")]
fn what_is_wrong_with_a_comparison_is_named() {
    let custom = |change: fn(&mut Value)| {
        let mut custom = json!({ "namespace": "Shop", "all": "Tried", "bad": "Failed" });
        change(&mut custom);
        json!({ "custom": custom })
    };
    let many: Value = (0..30).map(|n| (format!("D{n}"), json!("x"))).collect::<serde_json::Map<_, _>>().into();
    // (place, what stands there instead, part of the message)
    let table = [
        ("/signals/errors/against_baseline/e6", json!({}), "unknown field `e6`, expected one of `e5`, `e4`, `q50`"),
        (
            "/signals/errors/against_baseline/q50",
            json!({}),
            "policy field `signals.errors.against_baseline` is q50, allowed is e5 and e4",
        ),
        (
            "/signals/latency/against_baseline/e5",
            json!({}),
            "policy field `signals.latency.against_baseline` is e5, allowed is q50, q90 and q99",
        ),
        ("/signals/availability/against_baseline/tx", json!({}), "is tx, allowed is traffic"),
        ("/signals/transactions/against_baseline/traffic", json!({}), "is traffic, allowed is tx"),
        (
            "/signals/errors/against_baseline",
            json!(true),
            "policy field `signals.errors.against_baseline`: invalid type",
        ),
        (
            "/signals/errors/against_baseline/e5/faktor",
            json!(2),
            "unknown field `faktor`, expected one of `weight`, `factor`",
        ),
        (
            "/signals/errors/against_baseline/e5/factor",
            json!(0.9),
            "policy field `signals.errors.against_baseline.e5.factor` is 0.9, allowed is 1 to 1000",
        ),
        (
            "/signals/errors/against_baseline/e5/factor",
            json!("2x"),
            "`signals.errors.against_baseline.e5.factor`: invalid type",
        ),
        (
            "/signals/latency/against_baseline/q90/after_factor",
            json!(0.5),
            "policy field `signals.latency.against_baseline.q90.after_factor` is 0.5, allowed is 1 to 1000",
        ),
        (
            "/signals/errors/against_baseline/e5/points",
            json!("0.1%"),
            "policy field `signals.errors.against_baseline.e5.points`: `0.1%` is no number of points, allowed is a number from 0 to \
             100 with `pp` behind it",
        ),
        ("/signals/errors/against_baseline/e5/points", json!(0.1), "0.1 is no number of points"),
        ("/signals/errors/against_baseline/e5/points", json!("101pp"), "`101pp` is no number of points"),
        (
            "/signals/errors/against_baseline/e5/noise",
            json!(-0.1),
            "against_baseline.e5.noise` is -0.1, allowed is 0 to 1000",
        ),
        ("/signals/errors/against_baseline/e5/cap", json!(0), "against_baseline.e5.cap` is 0, allowed is"),
        (
            "/signals/errors/against_baseline/e5/prior_events",
            json!(0),
            "against_baseline.e5.prior_events` is 0, allowed is",
        ),
        (
            "/signals/errors/against_baseline/e5/dispersion_max",
            json!(0.5),
            "against_baseline.e5.dispersion_max` is 0.5",
        ),
        (
            "/signals/errors/against_baseline/e5/weight",
            json!(1.1),
            "policy field `signals.errors.against_baseline.e5.weight` is 1.1, allowed is 0 (not judged) to 1",
        ),
        ("/signals/errors/against_baseline/e5/weight", json!(-0.1), "against_baseline.e5.weight` is -0.1"),
        (
            "/signals/availability/against_baseline/traffic/factor",
            json!(1.1),
            "policy field `signals.availability.against_baseline.traffic.factor` is 1.1, allowed is above 0, at most 1",
        ),
        (
            "/signals/availability/against_baseline/traffic/points",
            json!("1pp"),
            "policy field `signals.availability.against_baseline.traffic.points` is given, allowed is nothing: traffic has",
        ),
        (
            "/signals/latency/against_baseline",
            json!({ "q50": { "weight": 0 }, "q90": { "weight": 0 }, "q99": { "weight": 0 } }),
            "policy field `sum of the weights in against_baseline` is 0, allowed is above 0",
        ),
        ("/signals/errors/metric/prometheus", json!({}), "policy field `signals.errors.metric`"),
        (
            "/signals/errors/metric",
            json!({ "prometheus": {} }),
            "unknown variant `prometheus`, expected one of `custom`, `rest_api`",
        ),
        (
            "/signals/errors/metric",
            json!({ "rest_api": { "name": "shop", "stage": "prod" }, "http_api": { "id": "a", "stage": "b" } }),
            "policy field `signals.errors.metric`",
        ),
        ("/signals/errors/metric", json!({}), "policy field `signals.errors.metric`"),
        (
            "/signals/errors/metric",
            json!({ "http_api": { "id": "a" } }),
            "`signals.errors.metric.http_api`: missing field `stage`",
        ),
        (
            "/signals/errors/metric",
            custom(|it| it["all"] = json!("")),
            "`signals.errors.metric.custom.all`: `` is not a text of 1 to 255",
        ),
        (
            "/signals/errors/metric",
            custom(|it| it["bad"] = json!("Tried")),
            "`signals.errors.metric.custom.bad`: is also `all`",
        ),
        (
            "/signals/errors/metric",
            custom(|it| it["namespace"] = json!("a\nb")),
            "metric.custom.namespace`: `a b` is not a text",
        ),
        (
            "/signals/errors/metric",
            custom(|it| it["dimensions"] = json!({ "A": 1 })),
            "metric.custom.dimensions.A`: invalid type",
        ),
        ("/signals/errors/metric", custom(|it| it["statistic"] = json!("p99")), "unknown field `statistic`"),
        ("/signals/errors/metric/custom/dimensions", many, "metric.custom.dimensions`: 30 dimensions, allowed are 29"),
        (
            "/signals/errors/metric/custom/dimensions",
            json!({ "Version": "8" }),
            "`signals.errors.metric.custom.dimensions`: `Version` is the dimension of the version, whose value Snapback knows",
        ),
        (
            "/signals/latency/metric",
            custom(|_| {}),
            "policy field `signals.latency.metric` is given, allowed is nothing: Lambda's own metrics are read",
        ),
        ("/signals/availability/metric", custom(|_| {}), "policy field `signals.availability.metric` is given"),
        (
            "/signals/transactions/metric",
            json!({ "rest_api": { "name": "shop", "stage": "prod" } }),
            "policy field `signals.transactions.metric` is an API, allowed is a custom metric that counts attempts and failures",
        ),
        (
            "/signals/transactions",
            json!({ "against_baseline": {} }),
            "policy field `signals.transactions.metric` is missing, allowed is a custom metric",
        ),
        (
            "/signals/errors",
            json!({}),
            "policy field `signals.errors`: neither alarms nor against_baseline, so nothing judges it",
        ),
        (
            "/signals/errors",
            json!({ "sufficient": true }),
            "policy field `signals.errors`: neither alarms nor against_baseline",
        ),
        ("/signals/errors/sufficient", json!("yes"), "policy field `signals.errors.sufficient`: invalid type"),
        (
            "/signals/errors",
            json!({ "alarms": ["checkout-5xx"], "sufficient": false }),
            "policy field `signals.errors.sufficient`: not sufficient and not compared, so nothing would ever act on it",
        ),
        (
            "/signals/transactions",
            json!({ "alarms": ["checkout-payments"], "metric": custom(|_| {}) }),
            "policy field `signals.transactions.metric`: read only where the signal is compared: add against_baseline",
        ),
        (
            "/signals/errors/objective",
            json!("99%"),
            "policy field `signals.errors.objective`: unknown field `objective`",
        ),
        ("/signals/sla", json!({}), "policy field `signals.sla`: missing field `objective`"),
        ("/signals/sla/against_baseline", json!({}), "policy field `signals.sla.against_baseline`: unknown field"),
        ("/signals/sla/objective", json!("100%"), "policy field `signals.sla.objective`: allowed is 50% to 99.999%"),
        ("/signals/sla/objective", json!("49.9%"), "policy field `signals.sla.objective`: allowed is 50% to 99.999%"),
        ("/signals/sla/objective", json!(0.999), "policy field `signals.sla.objective`: 0.999 is no share"),
        (
            "/judge/buckets",
            json!("60s"),
            "policy field `judge.buckets`: unknown field `buckets`, expected one of `bucket`, `settle`",
        ),
        ("/judge/bucket", json!("15s"), "policy field `judge.bucket` is 15s, allowed is 5s, 10s, 30s or 60s"),
        ("/judge/bucket", json!("1s"), "policy field `judge.bucket` is 1s"),
        ("/judge/bucket", json!("5500ms"), "policy field `judge.bucket` is 5500ms"),
        ("/judge/bucket", json!("0s"), "policy field `judge.bucket` is 0s"),
        ("/judge/settle", json!("61s"), "policy field `judge.settle` is 61s, allowed is 0s to 1m"),
        ("/judge/grace", json!("19s"), "policy field `judge.grace` is 19s, allowed is 20s to 5m"),
        ("/judge/grace", json!("301s"), "policy field `judge.grace` is 301s, allowed is 20s to 5m"),
        ("/judge/dark", json!("59s"), "policy field `judge.dark` is 59s, allowed is 1m to 5m"),
        ("/judge/history", json!("5s"), "policy field `judge.history` is 5s, allowed is 10s to 165m"),
        ("/judge/history", json!("3h"), "policy field `judge.history` is 3h, allowed is 10s to 165m"),
        ("/judge/long", json!("0s"), "policy field `judge.long` is 0s, allowed is 1s to 24h"),
        ("/judge/recent", json!("25h"), "policy field `judge.recent` is 25h, allowed is 1s to 24h"),
        ("/judge/peak", json!("999ms"), "policy field `judge.peak` is 999ms, allowed is 1s to 24h"),
        ("/judge/young", json!("999ms"), "policy field `judge.young` is 999ms, allowed is 1s to 24h"),
        ("/judge/alpha", json!("51%"), "policy field `judge.alpha` is 0.51, allowed is above 0, at most 0.5"),
        ("/judge/alpha", json!("0%"), "policy field `judge.alpha` is 0, allowed is above 0"),
        (
            "/judge/alpha",
            json!(0.05),
            "policy field `judge.alpha`: 0.05 is no share, allowed is a number from 0 to 100 with `%`",
        ),
    ];
    for (place, value, expected) in table {
        let mut document = full();
        let (parent, name) = place.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[name] = value.clone();
        let error = parse_policy_value(&document).map(drop).unwrap_err().to_string();
        assert!(error.contains(expected), "{place} {value}: {error}");
    }
    let mut short = full();
    short["judge"] = json!({ "bucket": "5s", "history": "2h" });
    let error = parse_policy_value(&short).unwrap_err().to_string();
    assert!(error.contains("policy field `judge.history in buckets` is 1440, allowed is 1 to 1080"), "{error}");
}

/// The example of a whole policy, with every signal compared.
fn example() -> Value {
    json!({
        "service": "checkout",
        "mode": "rollback",
        "before_traffic": { "deadline": "2m", "red_alarms": "exempt", "probes": [
            { "invoke": { "payload": { "path": "/health" }, "expect": { "status": 200, "within": "800ms" }, "times": 5 } },
            { "http": { "url": "https://shop.example.com/health", "expect": { "status": 200 } } },
            { "function": { "arn": "arn:aws:lambda:eu-west-1:123456789012:function:checkout-check" } },
        ] },
        "signals": {
            "errors": { "alarms": ["checkout-5xx"], "against_baseline": {}, "metric": { "custom": {
                "namespace": "Shop", "all": "Requests", "bad": "ServerErrors", "dimensions": { "Service": "checkout" },
                "version": "Version",
            } } },
            "latency": { "alarms": ["checkout-p99"], "against_baseline": {} },
            "availability": { "alarms": ["checkout-availability"], "against_baseline": {} },
            "transactions": { "alarms": ["checkout-payments"], "against_baseline": {}, "metric": { "custom": {
                "namespace": "Shop", "all": "PaymentsTried", "bad": "PaymentsFailed", "dimensions": { "Service": "checkout" },
                "version": "Version",
            } } },
            "sla": { "objective": "99.9%" },
        },
        "bake": "10m",
        "tick": "10s",
        "no_evidence": { "silence": "pass-with-warning", "unreachable": "hold" },
        "at_deadline": "fail",
        "refuse_for": "24h",
        "notify": { "sns": "arn:aws:sns:eu-west-1:123456789012:releases" },
    })
}

#[test]
fn a_whole_policy_fits_the_standard_tier() {
    let standard = 4 * 1024;
    let document = example();
    let policy = parse_policy_value(&document).unwrap();
    for (case, text) in [("as written", document.to_string()), ("defaults written out", to_json(&policy))] {
        assert!(text.len() < standard / 2, "{case}: {} bytes", text.len());
        assert_eq!(parse_policy_json(&text).as_ref(), Ok(&policy), "{case}");
    }
    let everything = to_json(&parse_policy_value(&full()).unwrap());
    assert!(everything.len() < standard, "{} bytes", everything.len());
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

#[test]
fn the_schema_describes_the_comparison() {
    let schema = policy_schema();
    let full = full();
    let custom = full["signals"]["errors"]["metric"]["custom"].clone();
    let table = [
        ("SignalFile", &full["signals"]["errors"]),
        ("SlaFile", &full["signals"]["sla"]),
        ("OverridesFile", &full["signals"]["errors"]["against_baseline"]["e5"]),
        ("AgainstBaselineFile", &full["signals"]["latency"]["against_baseline"]),
        ("JudgeFile", &full["judge"]),
        ("CustomFile", &custom),
    ];
    for (name, example) in table {
        let definition = &schema["$defs"][name];
        assert_eq!(definition["additionalProperties"], false, "{name}");
        for field in example.as_object().unwrap().keys() {
            let description = definition["properties"][field]["description"].as_str();
            assert!(description.is_some_and(|text| !text.is_empty()), "{name}.{field} has no description");
        }
    }
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

fn any_alarms(most: usize) -> impl Strategy<Value = Vec<AlarmName>> {
    prop::collection::vec("[^\\p{Cc}]{1,20}".prop_map(|name| AlarmName::parse(name).unwrap()), 1..most)
}

fn any_name() -> impl Strategy<Value = String> {
    "[^\\p{Cc}]{1,20}"
}

/// A number that people write: at most four decimals.
fn any_number(least: u32, most: u32) -> impl Strategy<Value = Option<f64>> {
    prop::option::of((least * 10_000..=most * 10_000).prop_map(|number| f64::from(number) / 10_000.0))
}

fn any_points() -> impl Strategy<Value = Option<f64>> {
    prop::option::of(0.0..=1.0_f64)
}

prop_compose! {
    fn any_overrides()(
        weight in prop::option::of(prop::sample::select(&[0.01, 0.25, 1.0][..])),
        (factor, after_factor) in (any_number(1, 1_000), any_number(1, 1_000)),
        (points, after_points) in (any_points(), any_points()),
        (noise, after_noise) in (any_number(0, 1_000), any_number(0, 1_000)),
        (cap, prior_events, dispersion_max) in (any_number(1, 100), any_number(1, 100), any_number(1, 100)),
    ) -> Overrides {
        Overrides {
            weight, factor, points, noise, after_factor, after_points, after_noise, cap, prior_events, dispersion_max,
        }
    }
}

prop_compose! {
    fn any_overrides_of_traffic()(
        weight in prop::option::of(prop::sample::select(&[0.01, 0.25, 1.0][..])),
        factor in prop::option::of(prop::sample::select(&[0.001, 0.4, 1.0][..])),
        after_factor in prop::option::of(prop::sample::select(&[0.001, 0.4, 1.0][..])),
        cap in any_number(1, 100),
    ) -> Overrides {
        Overrides { weight, factor, after_factor, cap, ..Overrides::default() }
    }
}

fn metrics_of(signal: Signal) -> &'static [Metric] {
    match signal {
        Signal::Errors => &[Metric::E5, Metric::E4],
        Signal::Latency => &[Metric::Q50, Metric::Q90, Metric::Q99],
        Signal::Transactions => &[Metric::Tx],
        Signal::Availability => &[Metric::Traffic],
        Signal::Sla => &[],
    }
}

fn any_comparison(signal: Signal) -> BoxedStrategy<AgainstBaseline> {
    let overrides = match signal {
        Signal::Availability => any_overrides_of_traffic().boxed(),
        Signal::Errors | Signal::Latency | Signal::Transactions | Signal::Sla => any_overrides().boxed(),
    };
    prop::collection::btree_map(prop::sample::select(metrics_of(signal)), overrides, 0..=2).boxed()
}

prop_compose! {
    fn any_custom()(
        (namespace, bad) in (any_name(), any_name()),
        client_errors in prop::option::of(any_name()),
        dimensions in prop::collection::btree_map("[a-z]{1,9}", any_name(), 0..3),
        version in prop::option::of("[A-Z][a-z]{1,9}"),
    ) -> Source {
        Source::Custom { all: format!("{bad}-all"), namespace, bad, client_errors, dimensions, version }
    }
}

fn any_source(signal: Signal) -> BoxedStrategy<Option<Source>> {
    let api = prop_oneof![
        (any_name(), any_name()).prop_map(|(name, stage)| Api::Rest { name, stage }),
        (any_name(), any_name()).prop_map(|(id, stage)| Api::Http { id, stage }),
        (any_name(), any_name())
            .prop_map(|(load_balancer, target_group)| Api::LoadBalancer { load_balancer, target_group }),
    ];
    match signal {
        Signal::Errors => prop::option::of(prop_oneof![any_custom(), api.prop_map(Source::Api)]).boxed(),
        Signal::Transactions => any_custom().prop_map(Some).boxed(),
        Signal::Latency | Signal::Availability | Signal::Sla => Just(None).boxed(),
    }
}

fn any_signal(signal: Signal) -> BoxedStrategy<SignalPolicy> {
    let objective = match signal {
        Signal::Sla => (0.5..=0.999_99_f64).prop_map(Objective::new).boxed(),
        Signal::Errors | Signal::Latency | Signal::Transactions | Signal::Availability => Just(None).boxed(),
    };
    let comparison = match signal {
        Signal::Sla => Just(None).boxed(),
        Signal::Errors | Signal::Latency | Signal::Transactions | Signal::Availability => {
            prop::option::of(any_comparison(signal)).boxed()
        }
    };
    (any_alarms(4), prop::option::of(any_mode()), any::<bool>(), comparison, any_source(signal), objective)
        .prop_map(|(alarms, mode, is_sufficient, against_baseline, source, objective)| {
            // One that is compared needs no alarms.
            let alarms = if against_baseline.is_some() && alarms.len() == 1 { Vec::new() } else { alarms };
            // What is not compared has alarms that act, and needs no source.
            let is_compared = against_baseline.is_some();
            let is_sufficient = is_sufficient || !(is_compared || objective.is_some());
            let source = source.filter(|_| is_compared);
            SignalPolicy { alarms, mode, is_sufficient, against_baseline, source, objective }
        })
        .boxed()
}

fn any_signals() -> impl Strategy<Value = std::collections::BTreeMap<Signal, SignalPolicy>> {
    let signal = |signal: Signal| prop::option::of(any_signal(signal)).prop_map(move |policy| Some((signal, policy?)));
    let [errors, latency, availability, transactions, sla] =
        [Signal::Errors, Signal::Latency, Signal::Availability, Signal::Transactions, Signal::Sla].map(signal);
    (errors, latency, availability, transactions, sla)
        .prop_map(|(a, b, c, d, e)| [a, b, c, d, e].into_iter().flatten().collect())
}

prop_compose! {
    fn any_judge()(
        bucket in prop::sample::select(&BUCKETS[..]),
        settle in 0_u64..=60_000,
        (grace, dark) in (0_u64..=300_000, 0_u64..=300_000),
        history in 1_u64..=180,
        lives in prop::array::uniform4(1_000_u64..=86_400_000),
        alpha in prop::sample::select(&[0.001, 0.05, 0.123_456_789, 0.5][..]),
    ) -> Judge {
        let [long, recent, peak, young] = lives.map(Duration::from_millis);
        Judge {
            bucket: Duration::from_secs(bucket),
            settle: Duration::from_millis(settle),
            grace: Duration::from_millis(grace.max(settle)),
            dark: Duration::from_millis(dark.max(grace).max(settle)),
            history: Duration::from_secs(bucket * history),
            long, recent, peak, young, alpha,
        }
    }
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
        (signals, judge) in (any_signals(), any_judge()),
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
            judge,
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
