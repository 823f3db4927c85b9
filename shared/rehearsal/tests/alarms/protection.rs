//! The alarms of the protection templates, minute by minute, as CloudWatch would evaluate them.

use super::*;
use snapback_wire::alarms::{EntryPoint, alarm_inputs};

/// What happens in one minute, behind and in front of the function.
#[derive(Clone, Copy)]
struct Minute {
    /// Requests that reach the function; the front door counts these and those of other functions.
    requests: u32,
    /// Of these: function errors, which the front door counts as 5xx.
    failed: u32,
    throttled: u32,
    latency_ms: f64,
    /// Requests to other functions behind the same front door; all good.
    others: u32,
    client_errors: u32,
    /// 5xx that the load balancer answers by itself.
    balancer_errors: u32,
    /// Transactions: attempts, failures.
    transactions: Option<(u32, u32)>,
    heartbeat: bool,
    verdict: bool,
}

const IDLE: Minute = Minute {
    requests: 0,
    failed: 0,
    throttled: 0,
    latency_ms: 50.0,
    others: 0,
    client_errors: 0,
    balancer_errors: 0,
    transactions: None,
    heartbeat: true,
    verdict: false,
};
const GOOD: Minute = Minute { requests: 100, ..IDLE };
const BAD: Minute = Minute { failed: 10, ..GOOD };
const DEAD: Minute = Minute { heartbeat: false, ..BAD };

const NAME: &str = "shop-Checkout";

/// A world with all alarms of `kind`. With an objective of 90 % nothing burns 14.4 times too fast.
fn protected(kind: EntryPoint, objective: &'static str) -> World {
    let mut parameters = vec![
        ("Name", NAME),
        ("Application", "shop"),
        ("Group", "live"),
        ("FunctionName", "checkout"),
        ("Objective", objective),
        ("TransactionsNamespace", "Shop"),
        ("TransactionsAll", "PaymentsTried"),
        ("TransactionsBad", "PaymentsFailed"),
    ];
    parameters.extend(match kind {
        EntryPoint::Lambda => vec![],
        EntryPoint::RestApi => vec![("ApiName", "shop"), ("Stage", "prod")],
        EntryPoint::HttpApi => vec![("ApiId", "a1b2c3d4e5")],
        EntryPoint::LoadBalancer => {
            vec![("LoadBalancer", "app/shop/0123456789abcdef"), ("TargetGroup", "targetgroup/a/0123456789abcdef")]
        }
    });
    let world = World::new();
    for alarm in alarm_inputs(kind, &parameters).unwrap() {
        world.call(TEN, alarm.operation, &alarm.input);
    }
    world
}

impl Minute {
    /// Publishes what AWS and the service would, at `at`.
    fn publish(self, world: &World, kind: EntryPoint, at: i64) {
        let group = [("DeploymentGroup", "shop/live")];
        if self.heartbeat {
            world.record(at, "Snapback", "Heartbeat", &group, 1.0);
        }
        world.record(at, "Snapback", "Verdict", &group, f64::from(u8::from(self.verdict)));
        if let Some((attempts, failures)) = self.transactions {
            world.record(at, "Shop", "PaymentsTried", &[("Service", "checkout")], f64::from(attempts));
            world.record(at, "Shop", "PaymentsFailed", &[("Service", "checkout")], f64::from(failures));
        }
        let lambda = |name, value| {
            world.record(at, "AWS/Lambda", name, &[("FunctionName", "checkout"), ("Resource", "checkout:live")], value);
        };
        if self.requests > 0 {
            lambda("Invocations", f64::from(self.requests));
            lambda("Errors", f64::from(self.failed));
            lambda("Duration", self.latency_ms);
        }
        if self.throttled > 0 {
            lambda("Throttles", f64::from(self.throttled));
        }
        let at_the_door = self.requests + self.throttled + self.others;
        let failed = self.failed + self.throttled;
        match kind {
            EntryPoint::Lambda => {}
            EntryPoint::RestApi => {
                let stage = [("ApiName", "shop"), ("Stage", "prod")];
                self.publish_gateway(world, at, &stage, ["4XXError", "5XXError"], [at_the_door, failed]);
            }
            EntryPoint::HttpApi => {
                let stage = [("ApiId", "a1b2c3d4e5"), ("Stage", "$default")];
                self.publish_gateway(world, at, &stage, ["4xx", "5xx"], [at_the_door, failed]);
            }
            EntryPoint::LoadBalancer => self.publish_balancer(world, at, at_the_door),
        }
    }

    /// One sample a request; none without requests.
    fn publish_gateway(
        self,
        world: &World,
        at: i64,
        stage: &[(&str, &str)],
        [client, server]: [&str; 2],
        [requests, failed]: [u32; 2],
    ) {
        for request in 0..requests {
            world.record(at, "AWS/ApiGateway", "Count", stage, 1.0);
            world.record(at, "AWS/ApiGateway", server, stage, f64::from(u8::from(request < failed)));
            world.record(at, "AWS/ApiGateway", client, stage, f64::from(u8::from(request < self.client_errors)));
        }
        if requests > 0 {
            world.record(at, "AWS/ApiGateway", "Latency", stage, self.latency_ms);
        }
    }

    /// Counts are published only while they are above zero.
    fn publish_balancer(self, world: &World, at: i64, requests: u32) {
        let balancer = ("LoadBalancer", "app/shop/0123456789abcdef");
        let targets = [balancer, ("TargetGroup", "targetgroup/a/0123456789abcdef")];
        let count = |name, dimensions: &[(&str, &str)], value: u32| {
            if value > 0 {
                world.record(at, "AWS/ApplicationELB", name, dimensions, f64::from(value));
            }
        };
        count("RequestCount", &targets, requests);
        count("HTTPCode_Target_4XX_Count", &targets, self.client_errors);
        // An error of a Lambda target is answered by the load balancer, with 502.
        count("HTTPCode_ELB_5XX_Count", &[balancer], self.failed + self.throttled + self.balancer_errors);
        if requests > 0 {
            world.record(at, "AWS/ApplicationELB", "TargetResponseTime", &targets, self.latency_ms / 1000.0);
        }
    }
}

/// Ends of the names of the red alarms.
fn red(world: &World, now_ms: i64) -> String {
    let described = world.call(
        now_ms,
        "DescribeAlarms",
        &json!({ "AlarmTypes": ["MetricAlarm", "CompositeAlarm"], "StateValue": "ALARM" }),
    );
    let alarms = ["MetricAlarms", "CompositeAlarms"].into_iter().flat_map(|kind| described[kind].as_array().unwrap());
    let mut names: Vec<String> = alarms
        .map(|alarm| {
            let name = alarm["AlarmName"].as_str().unwrap();
            name.replace(&format!("{NAME}-"), "").replace("snapback-", "").replace(&format!("-{NAME}"), "")
        })
        .collect();
    names.sort();
    names.join(" ")
}

/// The red alarms after each minute.
fn play(world: &mut World, kind: EntryPoint, minutes: &[Minute]) -> Vec<String> {
    let minutes = minutes.iter().zip((0..).map(|number| TEN + number * MINUTE));
    minutes
        .map(|(minute, start)| {
            minute.publish(world, kind, start);
            let now_ms = start + MINUTE + 5000;
            world.evaluate(now_ms);
            red(world, now_ms)
        })
        .collect()
}

fn check(table: &[(&str, EntryPoint, &[Minute], &[&str])]) {
    for (case, kind, minutes, expected) in table {
        let mut world = protected(*kind, "90");
        assert_eq!(play(&mut world, *kind, minutes), *expected, "{case}, {kind:?}");
    }
}

#[test]
fn quiet_services_are_no_incident() {
    for kind in EntryPoint::ALL {
        let few = Minute { requests: 3, failed: 1, latency_ms: 9000.0, transactions: Some((3, 1)), ..IDLE };
        let almost = Minute { requests: 19, failed: 19, throttled: 0, ..IDLE };
        check(&[
            ("a good service", kind, &[GOOD; 4], &[""; 4]),
            ("no data at all", kind, &[IDLE; 4], &[""; 4]),
            ("idle minutes", kind, &[GOOD, IDLE, IDLE, GOOD], &[""; 4]),
            ("one failure among three requests", kind, &[few; 4], &[""; 4]),
        ]);
        if kind != EntryPoint::LoadBalancer {
            check(&[("just below the floor", kind, &[almost; 4], &[""; 4])]);
        }
    }
}

#[test]
fn a_breach_is_red_for_as_long_as_it_lasts() {
    for (kind, hurt) in [
        (EntryPoint::Lambda, "availability errors-5xx"),
        (EntryPoint::RestApi, "availability errors-5xx errors-function"),
        (EntryPoint::HttpApi, "availability errors-5xx errors-function"),
        (EntryPoint::LoadBalancer, "availability errors-5xx errors-function"),
    ] {
        check(&[
            ("two of three minutes", kind, &[GOOD, BAD, BAD, GOOD, GOOD], &["", "", hurt, hurt, ""]),
            ("one minute is a spike", kind, &[GOOD, BAD, GOOD, GOOD], &[""; 4]),
            ("every other minute", kind, &[BAD, GOOD, BAD, GOOD, GOOD], &["", "", hurt, "", ""]),
            ("the requests stop", kind, &[BAD, BAD, IDLE, IDLE, IDLE], &["", hurt, hurt, "", ""]),
        ]);
    }
}

#[test]
fn each_kind_of_impact_has_its_alarm() {
    let throttled = Minute { throttled: 50, ..IDLE };
    let slow = Minute { latency_ms: 3001.0, ..GOOD };
    let client = Minute { client_errors: 50, ..GOOD };
    let payments = Minute { transactions: Some((50, 5)), ..GOOD };
    let paid = Minute { transactions: Some((50, 1)), ..GOOD };
    let hidden = Minute { requests: 50, failed: 25, others: 4000, ..IDLE };
    let balancer = Minute { balancer_errors: 30, ..GOOD };
    let no_target = Minute { balancer_errors: 30, ..IDLE };
    check(&[
        (
            "all throttled",
            EntryPoint::Lambda,
            &[throttled; 3],
            &["", "availability throttles", "availability throttles"],
        ),
        ("all throttled", EntryPoint::RestApi, &[throttled; 2], &["", "availability errors-5xx throttles"]),
        ("all throttled", EntryPoint::LoadBalancer, &[throttled; 2], &["", "availability errors-5xx throttles"]),
        ("slow", EntryPoint::Lambda, &[slow, slow, GOOD, GOOD], &["", "latency-p99", "latency-p99", ""]),
        ("slow", EntryPoint::HttpApi, &[slow; 2], &["", "latency-p99"]),
        ("slow: the load balancer has seconds", EntryPoint::LoadBalancer, &[slow; 2], &["", "latency-p99"]),
        (
            "slow, then no requests",
            EntryPoint::Lambda,
            &[slow, slow, IDLE, IDLE],
            &["", "latency-p99", "latency-p99", ""],
        ),
        ("4xx only", EntryPoint::RestApi, &[client; 2], &["", "errors-4xx"]),
        ("4xx only", EntryPoint::HttpApi, &[client; 2], &["", "errors-4xx"]),
        ("4xx only", EntryPoint::LoadBalancer, &[client; 2], &["", "errors-4xx"]),
        ("payments fail", EntryPoint::Lambda, &[payments; 2], &["", "transactions"]),
        ("few payments fail", EntryPoint::Lambda, &[paid; 2], &[""; 2]),
        ("lost in the rate of the API", EntryPoint::RestApi, &[hidden; 2], &["", "errors-function"]),
        (
            "5xx of the load balancer exist only while there are some",
            EntryPoint::LoadBalancer,
            &[GOOD, balancer, balancer, GOOD, GOOD],
            &["", "", "availability errors-5xx", "availability errors-5xx", ""],
        ),
        (
            "no target at all: no requests are counted",
            EntryPoint::LoadBalancer,
            &[no_target, no_target, IDLE, IDLE],
            &["", "availability errors-5xx", "availability errors-5xx", ""],
        ),
    ]);
}

#[test]
fn the_newest_minute_may_be_late() {
    let mut world = protected(EntryPoint::Lambda, "90");
    world.cloudwatch.set_visibility_delay(Some("AWS/Lambda"), Duration::from_secs(80));
    let hurt = "availability errors-5xx";
    let minutes = [BAD, BAD, BAD, GOOD, GOOD, GOOD];
    assert_eq!(play(&mut world, EntryPoint::Lambda, &minutes), ["", "", hurt, hurt, "", ""], "red a minute later");
}

#[test]
fn the_error_budget_burns() {
    const PARTS: &str = "burn-rate-fast burn-rate-slow";
    let hour = [GOOD; 60];
    let spike = Minute { failed: 40, ..GOOD };
    let worse = Minute { failed: 5, ..GOOD };
    // (case, minutes after a good hour, first and last of them in which the composite alarm is red)
    let table = [
        ("a short spike", [vec![spike; 1], vec![GOOD; 10]].concat(), None),
        (
            "one failure in a thousand is what the budget is for",
            vec![Minute { requests: 1000, failed: 1, ..IDLE }; 20],
            None,
        ),
        ("5 % for eighteen minutes are 1.44 % of an hour, and more", vec![worse; 20], Some((17, 19))),
        ("it ends soon after the failures", [vec![worse; 20], vec![GOOD; 10]].concat(), Some((17, 22))),
        ("it ends when the requests do", [vec![worse; 20], vec![IDLE; 10]].concat(), Some((17, 23))),
    ];
    for (case, minutes, expected) in table {
        let mut world = protected(EntryPoint::Lambda, "99.9");
        let played = play(&mut world, EntryPoint::Lambda, &[hour.as_slice(), &minutes].concat());
        let is_red = |names: &&String| names.split(' ').any(|name| name == "burn-rate");
        let red: Vec<usize> = (0..minutes.len()).filter(|minute| is_red(&&played[60 + minute])).collect();
        assert_eq!(red.first().copied().zip(red.last().copied()), expected, "{case}: {played:?}");
        assert!(played.iter().filter(is_red).all(|names| names.contains(PARTS)), "{case}");
        assert!(played[..60].iter().all(String::is_empty), "{case}");
    }
}

#[test]
fn the_dead_man_alarm_of_each_kind() {
    let dead_but_good = Minute { heartbeat: false, ..GOOD };
    let dead_and_idle = Minute { heartbeat: false, ..IDLE };
    // (case, minutes, in which of them it is red)
    let table: [(&str, &[Minute], &str); 7] = [
        ("alive: Snapback decides itself", &[BAD; 6], "......"),
        ("dead, and customers are hurt", &[BAD, DEAD, DEAD, DEAD, DEAD], "...XX"),
        ("three of four", &[DEAD, DEAD, dead_but_good, DEAD], "...X"),
        ("dead, and all is well", &[GOOD, dead_but_good, dead_but_good, dead_but_good, dead_but_good], "....."),
        ("dead, and nobody calls", &[GOOD, dead_and_idle, dead_and_idle, dead_and_idle, dead_and_idle], "....."),
        ("dead, then alive again", &[DEAD, DEAD, DEAD, BAD, BAD, BAD], "..XX.."),
        ("dead, then nobody calls", &[DEAD, DEAD, DEAD, dead_and_idle, dead_and_idle], "..XX."),
    ];
    for kind in EntryPoint::ALL {
        for (case, minutes, expected) in table {
            let mut world = protected(kind, "90");
            assert_eq!(dead_man(&play(&mut world, kind, minutes)), expected, "{case}, {kind:?}");
        }
    }
}

fn dead_man(played: &[String]) -> String {
    let is_red = |names: &String| names.split(' ').any(|name| name == "dead-man");
    played.iter().map(|names| if is_red(names) { 'X' } else { '.' }).collect()
}

#[test]
fn the_dead_man_alarm_has_every_kind_of_impact() {
    let dead = |minute: Minute| [Minute { heartbeat: false, ..minute }; 3];
    let throttled = Minute { throttled: 50, ..IDLE };
    let slow = Minute { latency_ms: 3001.0, ..GOOD };
    let payments = Minute { transactions: Some((50, 5)), ..GOOD };
    let client = Minute { client_errors: 50, ..GOOD };
    for kind in EntryPoint::ALL {
        for (case, minute, expected) in [
            ("throttled", throttled, "..X"),
            ("slow", slow, "..X"),
            ("payments", payments, "..X"),
            ("4xx are mostly the callers' doing", client, "..."),
        ] {
            let mut world = protected(kind, "90");
            assert_eq!(dead_man(&play(&mut world, kind, &dead(minute))), expected, "{case}, {kind:?}");
        }
    }
}

#[test]
fn late_heartbeats() {
    // (case, how late, in which minutes it is red); Snapback is alive all the time, and customers are hurt
    let table = [
        ("in the next minute", 80, "......."),
        ("two minutes late", 140, "......."),
        ("three minutes late is as good as dead", 200, "..XXXXX"),
    ];
    for (case, seconds, expected) in table {
        let mut world = protected(EntryPoint::Lambda, "90");
        world.cloudwatch.set_visibility_delay(Some("Snapback"), Duration::from_secs(seconds));
        assert_eq!(dead_man(&play(&mut world, EntryPoint::Lambda, &[BAD; 7])), expected, "{case}");
    }
}

#[test]
fn the_verdict_alarm_is_red_while_the_verdict_is() {
    let decided = Minute { verdict: true, ..GOOD };
    check(&[(
        "decided, then over",
        EntryPoint::Lambda,
        &[GOOD, decided, decided, GOOD],
        &["", "verdict", "verdict", ""],
    )]);
}
