use super::*;
use proptest::prelude::*;
use serde_json::json;
use snapback_core::metrics::{Api, Peer, Route, Source};
use snapback_core::policy::{
    AgainstBaseline, AtDeadline, BUCKETS, BeforeTraffic, Expect, FastPolicy, MAX_BURST, NoEvidence, Overrides,
    PolicySettings, Probe, ProbeKind, RedAlarms, SignalPolicy, WithoutEvidence, WitnessPolicy,
};
use snapback_core::{AlarmName, Mode, Signal};
use snapback_judge::detector::MAX_PEERS;
use snapback_judge::slo::Objective;
use snapback_judge::{Judge, Metric};
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
                    "name": "cart",
                    "repeatable": true,
                } },
                { "http": { "url": "https://shop.example.com/health", "expect": { "status": 200 }, "name": "page" } },
                { "function": { "arn": "arn:aws:lambda:us-east-1:123456789012:function:checks", "payload": [1] } },
            ],
        },
        "witness": {
            "front": { "http_api": { "id": "a1b2c3d4", "stage": "$default", "route": "GET /cart/{id}" } },
            "peers": ["stock:live", "price_list:live-2"],
            "probe": { "every": "1s" },
        },
        "fast": { "probes": ["cart"], "burst": 5 },
        "signals": {
            "errors": {
                "alarms": ["checkout-5xx"],
                "against_baseline": {
                    "e5": { "factor": 1.5, "points": "0.1pp" }, "e4": { "off": true }, "probe": { "points": "1pp" },
                },
                "metric": { "custom": {
                    "namespace": "Shop", "all": "Requests", "bad": "ServerErrors", "client_errors": "ClientErrors",
                    "dimensions": { "Service": "checkout" }, "version": "Version", "without_probes": true,
                } },
            },
            "latency": {
                "alarms": ["checkout-p99", "checkout-p50"], "mode": "advise", "sufficient": true,
                "against_baseline": { "body": { "factor": 1.2 }, "q90": { "factor": 1.1 }, "q99": {} },
            },
            "availability": {
                "alarms": ["checkout-availability"], "sufficient": false,
                "against_baseline": { "traffic": { "factor": 0.4 } },
            },
            "transactions": {
                "against_baseline": {},
                "metric": { "custom": { "namespace": "Shop", "all": "PaymentsTried", "bad": "PaymentsFailed", "without_probes": true } },
            },
            "slo": { "objective": "99.9%", "alarms": ["checkout-budget"], "mode": "advise", "sufficient": false },
        },
        "bake": "20m",
        "tick": "2s",
        "judge": {
            "bucket": "10s", "ingestion_delay": "20s", "grace": "1m", "no_data_timeout": "3m", "history": "2h", "long": "20m", "recent": "2m",
            "peak": "5m", "warm_up": "1m", "alpha": "2%",
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
            label: Some("cart".to_owned()),
            is_repeatable: true,
        },
        Probe {
            kind: ProbeKind::Http { url: "https://shop.example.com/health".to_owned() },
            expect: Expect { status: Some(200), within: None },
            times: 1,
            label: Some("page".to_owned()),
            is_repeatable: false,
        },
        Probe {
            kind: ProbeKind::Function {
                arn: "arn:aws:lambda:us-east-1:123456789012:function:checks".to_owned(),
                payload: "[1]".to_owned(),
            },
            expect: Expect { status: None, within: None },
            times: 1,
            label: None,
            is_repeatable: false,
        },
    ];
    assert_eq!(before.probes, expected);
    let witness = WitnessPolicy {
        front: Some(Api::Http {
            id: "a1b2c3d4".to_owned(),
            stage: "$default".to_owned(),
            route: Some(Route::Named("GET /cart/{id}".to_owned())),
        }),
        peers: [("stock", "live"), ("price_list", "live-2")]
            .map(|(function, alias)| Peer { function: function.to_owned(), alias: alias.to_owned() })
            .to_vec(),
        probe_every: Some(Duration::from_secs(1)),
    };
    assert_eq!(policy.witness, witness);
    assert_eq!(policy.fast, Some(FastPolicy { probes: vec!["cart".to_owned()], burst: 5 }));
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
    let e5 = Overrides::Margin { factor: Some(1.5), points: Some(0.001) };
    let e4 = Overrides::Off;
    let probe = Overrides::Margin { factor: None, points: Some(0.01) };
    assert_eq!(errors.against_baseline, Some([(Metric::E5, e5), (Metric::E4, e4), (Metric::Probe, probe)].into()));
    let factor = |factor| Overrides::Margin { factor: Some(factor), points: None };
    let latency = [(Metric::Body, factor(1.2)), (Metric::Q90, factor(1.1)), (Metric::Q99, Overrides::default())];
    assert_eq!(policy.signals[&Signal::Latency].against_baseline, Some(latency.into()));
    let traffic = policy.signals[&Signal::Availability].against_baseline.clone();
    assert_eq!(traffic, Some([(Metric::Traffic, factor(0.4))].into()));
    let custom = |all: &str, bad: &str| Source::Custom {
        namespace: "Shop".to_owned(),
        all: all.to_owned(),
        bad: bad.to_owned(),
        client_errors: None,
        dimensions: std::collections::BTreeMap::new(),
        version: None,
        without_probes: true,
    };
    let split = Source::Custom {
        namespace: "Shop".to_owned(),
        all: "Requests".to_owned(),
        bad: "ServerErrors".to_owned(),
        client_errors: Some("ClientErrors".to_owned()),
        dimensions: [("Service".to_owned(), "checkout".to_owned())].into(),
        version: Some("Version".to_owned()),
        without_probes: true,
    };
    assert_eq!(errors.source, Some(split));
    let transactions = &policy.signals[&Signal::Transactions];
    assert_eq!(transactions.against_baseline, Some(AgainstBaseline::new()));
    assert_eq!(transactions.source, Some(custom("PaymentsTried", "PaymentsFailed")));
    assert_eq!(policy.signals[&Signal::Slo].objective.map(Objective::good), Some(0.999));
    let sufficient = Signal::ALL.iter().map(|signal| (*signal, policy.is_sufficient(Some(*signal))));
    let expected = [
        (Signal::Errors, false),
        (Signal::Latency, true),
        (Signal::Availability, false),
        (Signal::Transactions, false),
        (Signal::Slo, false),
    ];
    assert_eq!(sufficient.collect::<Vec<_>>(), expected);
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    let judge = Judge {
        bucket: 10 * second,
        ingestion_delay: 20 * second,
        grace: minute,
        no_data_timeout: 3 * minute,
        history: 120 * minute,
        long: 20 * minute,
        recent: 2 * minute,
        peak: 5 * minute,
        warm_up: minute,
        minute,
        alpha: 0.02,
    };
    assert_eq!(policy.judge, judge);
}

/// (as a policy names it, what it is, whether other services may be counted in it)
fn apis() -> Vec<(Value, Api, bool)> {
    let method = || Some(Route::Method { method: "GET".to_owned(), resource: "/cart/{id}".to_owned() });
    let rest = |route| Api::Rest { name: "shop".to_owned(), stage: "prod".to_owned(), route };
    let http = |route| Api::Http { id: "a1b2c3d4".to_owned(), stage: "$default".to_owned(), route };
    let group = Api::LoadBalancer {
        load_balancer: "app/shop/50dc".to_owned(),
        target_group: "targetgroup/checkout/73e2".to_owned(),
    };
    vec![
        (json!({ "rest_api": { "name": "shop", "stage": "prod" } }), rest(None), true),
        (
            json!({ "rest_api": { "name": "shop", "stage": "prod", "method": "GET", "resource": "/cart/{id}" } }),
            rest(method()),
            false,
        ),
        (json!({ "http_api": { "id": "a1b2c3d4", "stage": "$default" } }), http(None), true),
        (
            json!({ "http_api": { "id": "a1b2c3d4", "stage": "$default", "route": "GET /cart/{id}" } }),
            http(Some(Route::Named("GET /cart/{id}".to_owned()))),
            false,
        ),
        (
            json!({ "http_api": { "id": "a1b2c3d4", "stage": "$default", "method": "GET", "resource": "/cart/{id}" } }),
            http(method()),
            false,
        ),
        (
            json!({ "load_balancer": { "load_balancer": "app/shop/50dc", "target_group": "targetgroup/checkout/73e2" } }),
            group,
            false,
        ),
    ]
}

#[test]
fn sources_in_front_of_the_function_are_read() {
    for (text, expected, is_shared) in apis() {
        let mut document = full();
        document["signals"]["errors"]["metric"] = text.clone();
        let policy = parse_policy_value(&document).unwrap();
        assert_eq!(policy.signals[&Signal::Errors].source, Some(Source::Api(expected.clone())), "{text}");
        assert_eq!(expected.is_shared(), is_shared, "{text}");
        assert_comes_back(&policy, &text.to_string());
    }
}

#[track_caller]
fn assert_comes_back(policy: &Policy, case: &str) {
    assert_eq!(parse_policy_json(&to_json(policy)).as_ref(), Ok(policy), "{case}");
}

#[test]
fn a_witness_in_front_is_the_service_alone() {
    for (text, expected, is_shared) in apis() {
        let mut document = full();
        document["witness"] = json!({ "front": text });
        let read = parse_policy_value(&document);
        if is_shared {
            let error = read.unwrap_err().to_string();
            let why = "policy field `witness.front`: counts a whole stage: name the method and resource, or the route";
            assert!(error.contains(why), "{text}: {error}");
            continue;
        }
        let policy = read.unwrap();
        assert_eq!(policy.witness.front, Some(expected), "{text}");
        assert_comes_back(&policy, &text.to_string());
    }
}

#[test]
fn each_part_of_witness_and_fast_may_be_left_out() {
    let cart = || FastPolicy { probes: vec!["cart".to_owned()], burst: 10 };
    let second = Some(Duration::from_secs(1));
    // (witness, fast, how often it probes, its peers, fast)
    let table = [
        (json!({}), Value::Null, None, 0, None),
        (json!({ "peers": [] }), Value::Null, None, 0, None),
        (json!({ "peers": ["a:b", "a-1:B_2"] }), Value::Null, None, 2, None),
        (json!({ "probe": {} }), Value::Null, second, 0, None),
        (json!({}), json!({ "probes": ["cart"] }), None, 0, Some(cart())),
        (json!({}), json!({ "probes": ["cart"], "burst": 0 }), None, 0, Some(FastPolicy { burst: 0, ..cart() })),
        (json!({}), json!({ "probes": ["cart", "cart"], "burst": 50 }), None, 0, {
            Some(FastPolicy { probes: vec!["cart".to_owned(); 2], burst: MAX_BURST })
        }),
    ];
    for (witness, fast, probe_every, peers, expected) in table {
        let mut document = full();
        document["witness"] = witness.clone();
        document["fast"] = fast.clone();
        if fast.is_null() {
            document.as_object_mut().unwrap().remove("fast");
        }
        let case = format!("{witness} {fast}");
        let policy = parse_policy_value(&document).unwrap();
        assert_eq!((policy.witness.probe_every, policy.witness.peers.len()), (probe_every, peers), "{case}");
        assert_eq!(policy.fast, expected, "{case}");
        assert_comes_back(&policy, &case);
    }
}

#[test]
fn an_invoke_probe_without_a_name_is_called_by_its_kind() {
    let mut document = full();
    document["before_traffic"]["probes"] = json!([{ "invoke": { "repeatable": true } }]);
    document["fast"] = json!({ "probes": ["invoke"] });
    let policy = parse_policy_value(&document).unwrap();
    assert_eq!(policy.before_traffic.probes[0].label, None);
    assert_comes_back(&policy, "invoke");
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
    let expected = PolicySettings {
        service: "checkout".to_owned(),
        mode: Mode::Rollback,
        before_traffic: BeforeTraffic {
            deadline: Duration::from_secs(120),
            red_alarms: RedAlarms::Exempt,
            probes: Vec::new(),
        },
        witness: WitnessPolicy::default(),
        fast: None,
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
            "policy field `before_traffic.probes[1].http.url`: URL `http://169.254.169.254/` has a host that may not be called",
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
        (
            "a name without letters",
            "/before_traffic/probes/0/invoke/name",
            json!(""),
            "policy field `before_traffic.probes[0].name` is ``, allowed is a name of 1 to 64 characters",
        ),
        (
            "GET of a URL beside traffic",
            "/before_traffic/probes/1/http/repeatable",
            json!(true),
            "policy field `before_traffic.probes[1].http.repeatable`: unknown field `repeatable`",
        ),
        (
            "a check function beside traffic",
            "/before_traffic/probes/2/function/repeatable",
            json!(true),
            "policy field `before_traffic.probes[2].function.repeatable`: unknown field `repeatable`",
        ),
        ("topic", "/notify/sns", json!("ops@example.com"), "policy field `notify.sns` is ops@example.com"),
        ("null", "/before_traffic", Value::Null, "policy field `before_traffic`: invalid type: null"),
    ];
    for (_, place, value, expected) in table {
        assert_refused(place, &value, expected);
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
fn what_is_wrong_with_witnesses_is_named() {
    let six: Vec<String> = (0..=MAX_PEERS).map(|n| format!("service-{n}:live")).collect();
    let rest = |change: Value| {
        let mut api = json!({ "name": "shop", "stage": "prod" });
        api.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!({ "rest_api": api })
    };
    let http = |change: Value| {
        let mut api = json!({ "id": "a1b2c3d4", "stage": "prod" });
        api.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!({ "http_api": api })
    };
    // (place, what stands there instead, part of the message)
    let table = [
        ("/witness/backs", json!([]), "policy field `witness.backs`: unknown field `backs`, expected one of `front`"),
        (
            "/witness/front",
            json!({ "queue": {} }),
            "policy field `witness.front`: unknown variant `queue`, expected one of `rest_api`",
        ),
        ("/witness/front", json!({}), "policy field `witness.front`"),
        ("/witness/front", json!("shop"), "policy field `witness.front`"),
        (
            "/witness/front",
            json!({ "rest_api": { "name": "a", "stage": "b" }, "load_balancer": {} }),
            "policy field `witness.front`",
        ),
        (
            "/witness/front",
            rest(json!({})),
            "policy field `witness.front`: counts a whole stage: name the method and resource, or the route, of this service",
        ),
        ("/witness/front", http(json!({})), "policy field `witness.front`: counts a whole stage"),
        (
            "/witness/front",
            rest(json!({ "method": "GET" })),
            "policy field `witness.front.rest_api.resource`: is missing: CloudWatch counts a method of a resource",
        ),
        (
            "/witness/front",
            rest(json!({ "resource": "/cart" })),
            "policy field `witness.front.rest_api.method`: is missing: CloudWatch counts a method of a resource",
        ),
        (
            "/witness/front",
            http(json!({ "method": "GET" })),
            "policy field `witness.front.http_api.resource`: is missing",
        ),
        (
            "/witness/front",
            rest(json!({ "route": "GET /cart" })),
            "policy field `witness.front.rest_api.route`: unknown field `route`",
        ),
        (
            "/witness/front",
            http(json!({ "route": "GET /cart", "method": "GET", "resource": "/cart" })),
            "policy field `witness.front.http_api.route`: is given beside method and resource: CloudWatch has one or the other",
        ),
        (
            "/witness/front",
            http(json!({ "route": "GET /cart", "method": "GET" })),
            "policy field `witness.front.http_api.resource`: is missing",
        ),
        (
            "/witness/front",
            http(json!({ "route": "" })),
            "policy field `witness.front.http_api.route`: `` is not a text of 1 to 1024 characters",
        ),
        (
            "/witness/front",
            rest(json!({ "method": "GET", "resource": "a\nb" })),
            "policy field `witness.front.rest_api.resource`: `a b` is not a text",
        ),
        (
            "/witness/front",
            json!({ "load_balancer": { "load_balancer": "app/shop/50dc" } }),
            "policy field `witness.front.load_balancer`: missing field `target_group`",
        ),
        (
            "/signals/errors/metric",
            rest(json!({ "method": "GET" })),
            "policy field `signals.errors.metric.rest_api.resource`: is missing",
        ),
        (
            "/signals/errors/metric",
            http(json!({ "route": "GET /", "method": "GET", "resource": "/" })),
            "policy field `signals.errors.metric.http_api.route`: is given beside method and resource",
        ),
        ("/witness/peers/1", json!("stock"), "policy field `witness.peers[1]`: `stock` is not FUNCTION:ALIAS"),
        ("/witness/peers/0", json!(":live"), "policy field `witness.peers[0]`: `:live` is not FUNCTION:ALIAS"),
        ("/witness/peers/0", json!("stock:"), "policy field `witness.peers[0]`: `stock:` is not FUNCTION:ALIAS"),
        ("/witness/peers/0", json!("stock:live:8"), "`witness.peers[0]`: `stock:live:8` is not FUNCTION:ALIAS"),
        ("/witness/peers/0", json!("my stock:live"), "`witness.peers[0]`: `my stock:live` is not FUNCTION:ALIAS"),
        ("/witness/peers/0", json!(7), "policy field `witness.peers[0]`: invalid type: integer `7`, expected a string"),
        ("/witness/peers", json!("stock:live"), "policy field `witness.peers`: invalid type: string"),
        ("/witness/peers", json!(six), "policy field `witness.peers` is 6, allowed is 0 to 5"),
        ("/witness/probe", json!({ "every": "2s" }), "policy field `witness.probe.every` is 2s, allowed is 20ms to 1s"),
        (
            "/witness/probe",
            json!({ "every": "19ms" }),
            "policy field `witness.probe.every` is 19ms, allowed is 20ms to 1s",
        ),
        ("/witness/probe", json!({ "every": 1 }), "policy field `witness.probe.every`: 1 is no duration"),
        ("/witness/probe", json!({ "burst": 1 }), "policy field `witness.probe.burst`: unknown field `burst`"),
        ("/witness/probe", json!(true), "policy field `witness.probe`: invalid type: boolean"),
        (
            "/before_traffic/probes/0/invoke/repeatable",
            json!(false),
            "policy field `witness.probe` is given, allowed is given beside an invoke probe with `repeatable: true`",
        ),
        ("/fast", json!({}), "policy field `fast`: missing field `probes`"),
        ("/fast", json!({ "probes": [] }), "policy field `fast.probes` is 0, allowed is 1 to 20"),
        (
            "/fast/probes/0",
            json!("basket"),
            "policy field `fast.probes[0]` is `basket`, allowed is the name of an invoke probe of before_traffic with \
             `repeatable: true`",
        ),
        (
            "/fast/probes/0",
            json!("page"),
            "policy field `fast.probes[0]` is `page`, allowed is the name of an invoke probe",
        ),
        ("/fast/burst", json!(51), "policy field `fast.burst` is 51, allowed is 0 to 50"),
        ("/fast/burst", json!(256), "policy field `fast.burst`: invalid value: integer `256`"),
        ("/fast/burst", json!(-1), "policy field `fast.burst`: invalid value: integer `-1`"),
        ("/fast/every", json!("1s"), "policy field `fast.every`: unknown field `every`"),
    ];
    for (place, value, expected) in table {
        assert_refused(place, &value, expected);
    }
    // Called thousands of times, each of them by a name that a person wrote down.
    let mut unnamed = full();
    unnamed["witness"] = json!({});
    unnamed["before_traffic"]["probes"][0]["invoke"]["repeatable"] = json!(false);
    let error = parse_policy_value(&unnamed).unwrap_err().to_string();
    assert!(
        error.contains("policy field `fast.probes[0]` is `cart`, allowed is the name of an invoke probe"),
        "{error}"
    );
}

/// The full policy with another value at one place is refused with this message.
#[track_caller]
fn assert_refused(place: &str, value: &Value, expected: &str) {
    let mut document = full();
    let (parent, name) = place.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap();
    if let Some(list) = parent.as_array_mut() {
        list[name.parse::<usize>().unwrap()] = value.clone();
    } else {
        parent.as_object_mut().unwrap().insert(name.to_owned(), value.clone());
    }
    let error = parse_policy_value(&document).map(drop).unwrap_err().to_string();
    assert!(error.contains(expected), "{place} {value}: {error}");
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
        (
            "/signals/errors/against_baseline/e6",
            json!({}),
            "policy field `signals.errors.against_baseline.e6`: unknown field `e6`, expected one of `e5`, `e4`, `probe`, `body`",
        ),
        ("/signals/latency/against_baseline/q50", json!({}), "unknown field `q50`, expected one of"),
        ("/signals/errors/against_baseline/pair", json!({}), "unknown field `pair`, expected one of"),
        (
            "/signals/errors/against_baseline/body",
            json!({}),
            "policy field `signals.errors.against_baseline` is body, allowed is e5, e4 and probe",
        ),
        (
            "/signals/latency/against_baseline/e5",
            json!({}),
            "policy field `signals.latency.against_baseline` is e5, allowed is q90, q99 and body",
        ),
        ("/signals/latency/against_baseline/probe", json!({}), "is probe, allowed is q90, q99 and body"),
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
            "policy field `signals.errors.against_baseline.e5.faktor`: unknown field `faktor`, expected one of `off`, `factor`, \
             `points`",
        ),
        ("/signals/errors/against_baseline/e5/weight", json!(0), "unknown field `weight`, expected one of `off`"),
        ("/signals/errors/against_baseline/e5/after_factor", json!(2), "unknown field `after_factor`"),
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
            "/signals/errors/against_baseline/e5/points",
            json!("0.1%"),
            "policy field `signals.errors.against_baseline.e5.points`: `0.1%` is no number of points, allowed is a number from 0 to \
             100 with `pp` behind it",
        ),
        ("/signals/errors/against_baseline/e5/points", json!(0.1), "0.1 is no number of points"),
        ("/signals/errors/against_baseline/e5/points", json!("101pp"), "`101pp` is no number of points"),
        (
            "/signals/errors/against_baseline/probe/points",
            json!("91pp"),
            "policy field `signals.errors.against_baseline.probe.points` is 0.91, allowed is 0 to 0.9",
        ),
        (
            "/signals/latency/against_baseline/body/factor",
            json!(0.99),
            "policy field `signals.latency.against_baseline.body.factor` is 0.99, allowed is 1 to 1000",
        ),
        (
            "/signals/latency/against_baseline/body/points",
            json!("1pp"),
            "policy field `signals.latency.against_baseline.body.points` is 0.01, allowed is nothing: this metric has a factor only",
        ),
        (
            "/signals/availability/against_baseline/traffic/points",
            json!("1pp"),
            "policy field `signals.availability.against_baseline.traffic.points` is 0.01, allowed is nothing: this metric has a \
             factor only",
        ),
        (
            "/signals/availability/against_baseline/traffic/factor",
            json!(1.1),
            "policy field `signals.availability.against_baseline.traffic.factor` is 1.1, allowed is above 0, at most 1",
        ),
        ("/signals/availability/against_baseline/traffic/factor", json!(0), "traffic.factor` is 0, allowed is above 0"),
        (
            "/signals/errors/against_baseline/e5/off",
            json!(true),
            "policy field `signals.errors.against_baseline.e5.off`: is true beside factor or points: what is not judged has no margin",
        ),
        (
            "/signals/errors/against_baseline/e4/factor",
            json!(2),
            "policy field `signals.errors.against_baseline.e4.off`: is true beside factor or points",
        ),
        (
            "/signals/errors/against_baseline/probe/off",
            json!(true),
            "policy field `signals.errors.against_baseline.probe.off`: is true beside factor or points",
        ),
        (
            "/signals/errors/against_baseline/e4/off",
            json!(1),
            "policy field `signals.errors.against_baseline.e4.off`: invalid type: integer `1`, expected a boolean",
        ),
        (
            "/signals/latency/against_baseline",
            json!({ "body": { "off": true }, "q90": { "off": true }, "q99": { "off": true } }),
            "policy field `signals.latency.against_baseline`: every metric is off, so nothing is compared: leave it out",
        ),
        (
            "/signals/availability/against_baseline",
            json!({ "traffic": { "off": true } }),
            "policy field `signals.availability.against_baseline`: every metric is off",
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
        ("/signals/slo", json!({}), "policy field `signals.slo`: missing field `objective`"),
        ("/signals/slo/against_baseline", json!({}), "policy field `signals.slo.against_baseline`: unknown field"),
        ("/signals/slo/objective", json!("100%"), "policy field `signals.slo.objective`: allowed is 50% to 99.999%"),
        ("/signals/slo/objective", json!("49.9%"), "policy field `signals.slo.objective`: allowed is 50% to 99.999%"),
        ("/signals/slo/objective", json!(0.999), "policy field `signals.slo.objective`: 0.999 is no share"),
        (
            "/judge/buckets",
            json!("60s"),
            "policy field `judge.buckets`: unknown field `buckets`, expected one of `bucket`, `ingestion_delay`",
        ),
        ("/judge/bucket", json!("15s"), "policy field `judge.bucket` is 15s, allowed is 5s, 10s, 30s or 60s"),
        ("/judge/bucket", json!("1s"), "policy field `judge.bucket` is 1s"),
        ("/judge/bucket", json!("5500ms"), "policy field `judge.bucket` is 5500ms"),
        ("/judge/bucket", json!("0s"), "policy field `judge.bucket` is 0s"),
        ("/judge/ingestion_delay", json!("61s"), "policy field `judge.ingestion_delay` is 61s, allowed is 0s to 1m"),
        ("/judge/grace", json!("19s"), "policy field `judge.grace` is 19s, allowed is 20s to 5m"),
        ("/judge/grace", json!("301s"), "policy field `judge.grace` is 301s, allowed is 20s to 5m"),
        ("/judge/no_data_timeout", json!("59s"), "policy field `judge.no_data_timeout` is 59s, allowed is 1m to 5m"),
        ("/judge/history", json!("5s"), "policy field `judge.history` is 5s, allowed is 10s to 165m"),
        ("/judge/history", json!("3h"), "policy field `judge.history` is 3h, allowed is 10s to 165m"),
        ("/judge/long", json!("0s"), "policy field `judge.long` is 0s, allowed is 1s to 24h"),
        ("/judge/recent", json!("25h"), "policy field `judge.recent` is 25h, allowed is 1s to 24h"),
        ("/judge/peak", json!("999ms"), "policy field `judge.peak` is 999ms, allowed is 1s to 24h"),
        ("/judge/warm_up", json!("999ms"), "policy field `judge.warm_up` is 999ms, allowed is 1s to 24h"),
        ("/judge/alpha", json!("51%"), "policy field `judge.alpha` is 0.51, allowed is above 0, at most 0.5"),
        ("/judge/alpha", json!("0%"), "policy field `judge.alpha` is 0, allowed is above 0"),
        (
            "/judge/alpha",
            json!(0.05),
            "policy field `judge.alpha`: 0.05 is no share, allowed is a number from 0 to 100 with `%`",
        ),
    ];
    for (place, value, expected) in table {
        assert_refused(place, &value, expected);
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
            { "invoke": {
                "payload": { "path": "/health" }, "expect": { "status": 200, "within": "800ms" }, "times": 5,
                "name": "health", "repeatable": true,
            } },
            { "http": { "url": "https://shop.example.com/health", "expect": { "status": 200 } } },
            { "function": { "arn": "arn:aws:lambda:eu-west-1:123456789012:function:checkout-check" } },
        ] },
        "witness": {
            "front": { "rest_api": { "name": "shop", "stage": "prod", "method": "POST", "resource": "/checkout" } },
            "peers": ["cart:live", "stock:live"],
            "probe": { "every": "1s" },
        },
        "fast": { "probes": ["health"] },
        "signals": {
            "errors": { "alarms": ["checkout-5xx"], "against_baseline": {}, "metric": { "custom": {
                "namespace": "Shop", "all": "Requests", "bad": "ServerErrors", "dimensions": { "Service": "checkout" },
                "version": "Version", "without_probes": true,
            } } },
            "latency": { "alarms": ["checkout-p99"], "against_baseline": {} },
            "availability": { "alarms": ["checkout-availability"], "against_baseline": {} },
            "transactions": { "alarms": ["checkout-payments"], "against_baseline": {}, "metric": { "custom": {
                "namespace": "Shop", "all": "PaymentsTried", "bad": "PaymentsFailed", "dimensions": { "Service": "checkout" },
                "version": "Version", "without_probes": true,
            } } },
            "slo": { "objective": "99.9%" },
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
    let members = |parts: &[&str]| parts.iter().map(|part| ((*part).to_owned(), json!(1))).collect::<Value>();
    let table = [
        ("SignalFile", &full["signals"]["errors"]),
        ("SlaFile", &full["signals"]["slo"]),
        ("OverridesFile", &members(&["off", "factor", "points"])),
        ("AgainstBaselineFile", &members(&Metric::COMPARED.map(Metric::as_str))),
        ("JudgeFile", &full["judge"]),
        ("CustomFile", &custom),
        ("InvokeFile", &full["before_traffic"]["probes"][0]["invoke"]),
        ("WitnessFile", &full["witness"]),
        ("ProbeWitnessFile", &full["witness"]["probe"]),
        ("FastFile", &full["fast"]),
        ("RestApiFile", &members(&["name", "stage", "method", "resource"])),
        ("HttpApiFile", &members(&["id", "stage", "route", "method", "resource"])),
        ("LoadBalancerFile", &members(&["load_balancer", "target_group"])),
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
    let label = prop::option::of("[^\\p{Cc}]{1,64}");
    (kind, any_expect(), 1_u32..=100, label, any::<bool>()).prop_map(|(kind, expect, times, label, is_repeatable)| {
        // Of the others nobody can say it.
        let is_repeatable = is_repeatable && matches!(kind, ProbeKind::Invoke { .. });
        Probe { kind, expect, times, label, is_repeatable }
    })
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

/// What may be changed of one metric.
fn any_overrides(metric: Metric) -> BoxedStrategy<Overrides> {
    let factor = if metric == Metric::Traffic {
        prop::option::of(prop::sample::select(&[0.001, 0.4, 1.0][..])).boxed()
    } else {
        any_number(1, 1_000).boxed()
    };
    let points = if matches!(metric, Metric::Traffic | Metric::Body) {
        Just(None).boxed()
    } else {
        prop::option::of(0.0..=0.9_f64).boxed()
    };
    // Where a signal has one metric only, it is on.
    let is_off = any::<bool>().prop_map(move |is_off| is_off && !matches!(metric, Metric::Tx | Metric::Traffic));
    (is_off, factor, points)
        .prop_map(|(is_off, factor, points)| if is_off { Overrides::Off } else { Overrides::Margin { factor, points } })
        .boxed()
}

fn metrics_of(signal: Signal) -> &'static [Metric] {
    match signal {
        Signal::Errors => &[Metric::E5, Metric::E4, Metric::Probe],
        Signal::Latency => &[Metric::Body, Metric::Q90, Metric::Q99],
        Signal::Transactions => &[Metric::Tx],
        Signal::Availability => &[Metric::Traffic],
        Signal::Slo => &[],
    }
}

fn any_comparison(signal: Signal) -> BoxedStrategy<AgainstBaseline> {
    let metric = prop::sample::select(metrics_of(signal));
    let part = metric.prop_flat_map(|metric| (Just(metric), any_overrides(metric)));
    // Two of three, so that not all of them are off.
    prop::collection::vec(part, 0..=2).prop_map(|parts| parts.into_iter().collect()).boxed()
}

prop_compose! {
    fn any_custom()(
        (namespace, bad) in (any_name(), any_name()),
        client_errors in prop::option::of(any_name()),
        dimensions in prop::collection::btree_map("[a-z]{1,9}", any_name(), 0..3),
        version in prop::option::of("[A-Z][a-z]{1,9}"),
    ) -> Source {
        let without_probes = true;
        Source::Custom { all: format!("{bad}-all"), namespace, bad, client_errors, dimensions, version, without_probes }
    }
}

fn any_method() -> impl Strategy<Value = Route> {
    ("[A-Z]{1,16}", any_name()).prop_map(|(method, resource)| Route::Method { method, resource })
}

fn any_route() -> impl Strategy<Value = Route> {
    prop_oneof![any_method(), any_name().prop_map(Route::Named)]
}

/// * `method`: what of a REST API is the service's; `route`: what of an HTTP API.
fn any_api(method: BoxedStrategy<Option<Route>>, route: BoxedStrategy<Option<Route>>) -> impl Strategy<Value = Api> {
    prop_oneof![
        (any_name(), any_name(), method).prop_map(|(name, stage, route)| Api::Rest { name, stage, route }),
        (any_name(), any_name(), route).prop_map(|(id, stage, route)| Api::Http { id, stage, route }),
        (any_name(), any_name())
            .prop_map(|(load_balancer, target_group)| Api::LoadBalancer { load_balancer, target_group }),
    ]
}

/// * `probes`: of the policy; a witness calls one that may be repeated.
fn any_witness(probes: &[Probe]) -> impl Strategy<Value = WitnessPolicy> + use<> {
    let front = any_api(any_method().prop_map(Some).boxed(), any_route().prop_map(Some).boxed());
    let peer = ("[a-zA-Z0-9_-]{1,64}", "[a-zA-Z0-9_-]{1,128}").prop_map(|(function, alias)| Peer { function, alias });
    let may_probe = probes.iter().any(Probe::is_safe_beside_traffic);
    (prop::option::of(front), prop::collection::vec(peer, 0..=MAX_PEERS), any::<bool>()).prop_map(
        move |(front, peers, is_probed)| WitnessPolicy {
            front,
            peers,
            probe_every: (is_probed && may_probe).then_some(Duration::from_secs(1)),
        },
    )
}

fn any_fast(probes: &[Probe]) -> BoxedStrategy<Option<FastPolicy>> {
    // A name stands for the first probe that has it.
    let first = |name: &str| probes.iter().find(|probe| probe.name() == name);
    let names = probes.iter().map(Probe::name);
    let safe: Vec<String> = names.filter(|name| first(name).is_some_and(Probe::is_safe_beside_traffic)).collect();
    if safe.is_empty() {
        return Just(None).boxed();
    }
    let fast = (prop::collection::vec(prop::sample::select(safe), 1..4), 0..=MAX_BURST);
    prop::option::of(fast.prop_map(|(probes, burst)| FastPolicy { probes, burst })).boxed()
}

fn any_source(signal: Signal) -> BoxedStrategy<Option<Source>> {
    let api = any_api(prop::option::of(any_method()).boxed(), prop::option::of(any_route()).boxed());
    match signal {
        Signal::Errors => prop::option::of(prop_oneof![any_custom(), api.prop_map(Source::Api)]).boxed(),
        Signal::Transactions => any_custom().prop_map(Some).boxed(),
        Signal::Latency | Signal::Availability | Signal::Slo => Just(None).boxed(),
    }
}

fn any_signal(signal: Signal) -> BoxedStrategy<SignalPolicy> {
    let objective = match signal {
        Signal::Slo => (0.5..=0.999_99_f64).prop_map(Objective::new).boxed(),
        Signal::Errors | Signal::Latency | Signal::Transactions | Signal::Availability => Just(None).boxed(),
    };
    let comparison = match signal {
        Signal::Slo => Just(None).boxed(),
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
    let [errors, latency, availability, transactions, slo] =
        [Signal::Errors, Signal::Latency, Signal::Availability, Signal::Transactions, Signal::Slo].map(signal);
    (errors, latency, availability, transactions, slo)
        .prop_map(|(a, b, c, d, e)| [a, b, c, d, e].into_iter().flatten().collect())
}

prop_compose! {
    fn any_judge()(
        bucket in prop::sample::select(&BUCKETS[..]),
        ingestion_delay in 0_u64..=60_000,
        (grace, no_data_timeout) in (0_u64..=300_000, 0_u64..=300_000),
        history in 1_u64..=180,
        lives in prop::array::uniform4(1_000_u64..=86_400_000),
        alpha in prop::sample::select(&[0.001, 0.05, 0.123_456_789, 0.5][..]),
    ) -> Judge {
        let [long, recent, peak, warm_up] = lives.map(Duration::from_millis);
        Judge {
            bucket: Duration::from_secs(bucket),
            ingestion_delay: Duration::from_millis(ingestion_delay),
            grace: Duration::from_millis(grace.max(ingestion_delay)),
            no_data_timeout: Duration::from_millis(no_data_timeout.max(grace).max(ingestion_delay)),
            history: Duration::from_secs(bucket * history),
            long, recent, peak, warm_up, minute: Duration::from_secs(60), alpha,
        }
    }
}

prop_compose! {
    fn any_before_traffic()(
        deadline in 2_000_u64..=840_000,
        blocks in any::<bool>(),
        mut probes in prop::collection::vec(any_probe(), 0..4),
    ) -> BeforeTraffic {
        // No two of one name.
        for index in 1..probes.len() {
            if probes[..index].iter().any(|before| before.name() == probes[index].name()) {
                probes[index].label = Some(format!("probe {index}"));
            }
        }
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
        mode in any_mode(),
        (before_traffic, witness, fast) in any_before_traffic().prop_flat_map(|before| {
            let (witness, fast) = (any_witness(&before.probes), any_fast(&before.probes));
            (Just(before), witness, fast)
        }),
        (signals, judge) in (any_signals(), any_judge()),
        (bake, tick, refuse_for) in (0_u64..=3_300_000, 1_000_u64..=60_000, 0_u64..=720 * 3_600_000),
        (silence, unreachable) in (any_without_evidence(), any_without_evidence()),
        fails in any::<bool>(),
        topic in prop::option::of("[a-z]{1,9}"),
    ) -> Policy {
        Policy::new(PolicySettings {
            service,
            mode,
            before_traffic,
            witness,
            fast,
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
