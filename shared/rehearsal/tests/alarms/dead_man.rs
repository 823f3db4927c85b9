//! The two alarms that Snapback attaches to a deployment group, with an AWS minute of 5 s.

use super::*;
use snapback_wire::alarms::{EntryPoint, Purpose, alarm_inputs};

const GROUP: [(&str, &str); 1] = [("DeploymentGroup", "shop/live")];
const ALIAS: [(&str, &str); 2] = [("FunctionName", "checkout"), ("Resource", "checkout:live")];
const AWS_MINUTE: i64 = 5000;

/// Verdict and dead-man alarm.
fn own_alarms() -> [Value; 2] {
    let parameters = [("Name", "shop"), ("Application", "shop"), ("Group", "live"), ("FunctionName", "checkout")];
    let alarms = alarm_inputs(EntryPoint::Lambda, &parameters).unwrap().into_iter();
    let own: Vec<Value> = alarms.filter(|alarm| alarm.purpose == Purpose::Own).map(|alarm| alarm.input).collect();
    own.try_into().unwrap()
}

/// What happens in one AWS minute.
#[derive(Clone, Copy)]
struct Minute {
    heartbeat: bool,
    traffic: bool,
    bad: bool,
}

const ALIVE: Minute = Minute { heartbeat: true, traffic: true, bad: true };
const DEAD: Minute = Minute { heartbeat: false, traffic: true, bad: true };
const DEAD_BUT_GOOD: Minute = Minute { heartbeat: false, traffic: true, bad: false };
const NOTHING: Minute = Minute { heartbeat: false, traffic: false, bad: false };

/// State of the dead-man alarm after each minute; `heartbeat_delay` is how late heartbeats become visible.
fn states_after(minutes: &[Minute], heartbeat_delay: Duration) -> Vec<String> {
    let mut world = World::with_minute(Duration::from_millis(u64::try_from(AWS_MINUTE).unwrap()));
    world.cloudwatch.set_visibility_delay(Some("Snapback"), heartbeat_delay);
    world.call(TEN, "PutMetricAlarm", &own_alarms()[1]);
    let mut states = Vec::new();
    let mut start = TEN;
    for minute in minutes {
        for second in 0..5 {
            let at = start + second * 1000;
            if minute.heartbeat && second % 2 == 0 {
                world.record(at, "Snapback", "Heartbeat", &GROUP, 1.0);
            }
            if minute.traffic {
                world.record(at, "AWS/Lambda", "Invocations", &ALIAS, 10.0);
                world.record(at, "AWS/Lambda", "Errors", &ALIAS, if minute.bad { 5.0 } else { 0.0 });
            }
        }
        start += AWS_MINUTE;
        world.evaluate(start + 1250);
        states.push(world.state("snapback-dead-man-shop"));
    }
    states
}

#[test]
fn the_dead_man_alarm_goes_off_only_without_heartbeat_and_with_impact() {
    let second = Duration::from_secs(1);
    let table: [(&str, &[Minute], Duration, &str); 7] = [
        ("alive: our own judgement counts", &[ALIVE; 8], second, "OK OK OK OK OK OK OK OK"),
        ("dead: raw thresholds, after three of four", &[ALIVE, ALIVE, DEAD, DEAD, DEAD], second, "OK OK OK OK ALARM"),
        ("dead, but nothing is wrong", &[ALIVE, DEAD_BUT_GOOD, DEAD_BUT_GOOD, DEAD_BUT_GOOD], second, "OK OK OK OK"),
        ("dead, then alive again", &[DEAD, DEAD, DEAD, ALIVE, ALIVE, ALIVE], second, "OK OK ALARM ALARM OK OK"),
        ("neither heartbeat nor traffic: no points", &[NOTHING; 4], second, "OK OK OK OK"),
        ("heartbeats one period late", &[ALIVE; 6], Duration::from_secs(7), "OK OK OK OK OK OK"),
        ("heartbeats four periods late", &[ALIVE; 6], Duration::from_secs(20), "OK OK ALARM ALARM ALARM ALARM"),
    ];
    for (case, minutes, heartbeat_delay, expected) in table {
        assert_eq!(states_after(minutes, heartbeat_delay).join(" "), expected, "{case}");
    }
}

#[test]
fn the_verdict_alarm_follows_the_minute_of_the_emulator() {
    let mut world = World::with_minute(Duration::from_secs(5));
    world.call(TEN, "PutMetricAlarm", &own_alarms()[0]);
    world.record(TEN, "Snapback", "Verdict", &GROUP, 0.0);
    world.record(TEN + 3000, "Snapback", "Verdict", &GROUP, 1.0);
    let changes = world.evaluate(TEN + 6249);
    let before = "the period before, until a quarter of an AWS minute has passed";
    assert_eq!(changes[0].detail["state"]["value"], "OK", "{before}");
    let changes = world.evaluate(TEN + 6250);
    assert_eq!(changes[0].detail["state"]["value"], "ALARM");
    assert_eq!(changes[0].detail["configuration"]["metrics"][0]["metricStat"]["period"], 60, "AWS's period is told");
}
