//! What a bad version does before it is undone, in three ways of noticing it: the same fault, the same load, the same run.

mod play;

pub use play::{LOAD, play};

use serde_json::{Value, json};
use snapback_emulator::codedeploy::POLL_EVERY;

use crate::statistics::{Summary, count};
use crate::table::Table;

/// Who undoes a bad deployment, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Snapback by pairs of probes; its comparison goes on beside them.
    Pairs,
    /// Snapback by its comparison of CloudWatch metrics alone.
    Metrics,
    /// CodeDeploy by an alarm of the deployment group; Snapback only observes.
    Alarm,
}

impl Way {
    /// All, in the order of the table.
    pub const ALL: [Self; 3] = [Self::Pairs, Self::Metrics, Self::Alarm];

    /// In names of services and in JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pairs => "pairs",
            Self::Metrics => "metrics",
            Self::Alarm => "alarm",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Pairs => "Snapback, pairs of probes (`fast`)",
            Self::Metrics => "Snapback, comparison of metrics alone",
            Self::Alarm => "CodeDeploy, an alarm of the group alone",
        }
    }

    /// The policy of `service`. The check before traffic is the same in all ways, because the version's clock begins with it.
    fn policy(self, service: &str, topic: &str) -> Value {
        let probe = json!({"invoke": {
            "name": PROBE, "payload": {"path": "/checkout"}, "expect": {"status": 200, "within": "3s"}, "times": 2,
            "repeatable": true
        }});
        let mut policy = json!({
            "service": service, "mode": if self == Self::Alarm { "observe" } else { "rollback" },
            "before_traffic": {"deadline": "30s", "probes": [probe]},
            "signals": {"errors": {"against_baseline": {}}}, "bake": "10m", "tick": "10s", "notify": {"sns": topic}
        });
        if let (Self::Pairs, Some(members)) = (self, policy.as_object_mut()) {
            members.insert("witness".to_owned(), json!({"probe": {"every": "1s"}}));
            members.insert("fast".to_owned(), json!({"probes": [PROBE]}));
        }
        policy
    }
}

const PROBE: &str = "checkout";

/// One deployment, from the first request that its new version harmed until the alias pointed to the old one alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// How.
    pub way: Way,
    /// Id of the deployment.
    pub deployment: String,
    /// The first harmed request was sent, milliseconds since 1970.
    pub first_harm_ms: i64,
    /// The alias pointed to the old version alone, milliseconds since 1970.
    pub restored_ms: i64,
    /// Requests that the new version harmed.
    pub harmed: u64,
    /// Who stopped the deployment: a function of Snapback, or `alarm`.
    pub stopped_by: String,
}

impl Undone {
    /// From the first harm to the end of it, seconds.
    #[must_use]
    pub fn took_s(&self) -> f64 {
        seconds(self.restored_ms - self.first_harm_ms)
    }

    /// How far into its minute the fault began, seconds: metrics come by the minute.
    #[must_use]
    pub fn into_minute_s(&self) -> f64 {
        seconds(self.first_harm_ms.rem_euclid(60_000))
    }

    fn json(&self) -> Value {
        json!({
            "deployment": self.deployment, "into_minute_s": self.into_minute_s(), "undone_s": self.took_s(),
            "harmed": self.harmed, "stopped_by": self.stopped_by
        })
    }
}

fn seconds(ms: i64) -> f64 {
    i32::try_from(ms).map_or(f64::NAN, |ms| f64::from(ms) / 1000.0)
}

/// What the deployments of one way come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    /// How they were undone.
    pub way: Way,
    /// From the first harm to the end of it, seconds.
    pub took_s: Summary,
    /// Harmed requests of each.
    pub harmed: Summary,
}

/// A row for each way of which there are deployments.
#[must_use]
pub fn rows(undone: &[Undone]) -> Vec<Row> {
    let row = |way: Way| {
        let of_it = || undone.iter().filter(move |one| one.way == way);
        let took_s = Summary::of(of_it().map(Undone::took_s))?;
        let harmed = Summary::of(of_it().filter_map(|one| count(one.harmed)))?;
        Some(Row { way, took_s, harmed })
    };
    Way::ALL.into_iter().filter_map(row).collect()
}

/// The rows for people.
#[must_use]
pub fn table(undone: &[Undone]) -> Table {
    let head = ["undone by", "deployments", "median s", "slowest s", "requests harmed, median", "most"];
    let mut table = Table::new(head);
    for Row { way, took_s, harmed } in rows(undone) {
        let times = [took_s.median, took_s.max].map(|figure| format!("{figure:.1}"));
        let requests = [harmed.median, harmed.max].map(|figure| format!("{figure:.0}"));
        let cells = [way.title().to_owned(), took_s.n.to_string()];
        table.row(cells.into_iter().chain(times).chain(requests));
    }
    table
}

/// How the table is to be read.
#[must_use]
pub fn about() -> String {
    format!(
        "From the first request that the new version harmed until the alias points to the old version alone. Every service has {LOAD}\n\
         requests a second, a tenth of them to the new version, which fails all of its own from about a minute after its first one\n\
         on; the faults begin at all times of a minute. Emulated: CodeDeploy looks at the group's alarms every {} s, which AWS does\n\
         not document, and Lambda's metrics are complete a second after their minute. AWS delivers them later, up to some minutes:\n\
         that makes both ways by metrics slower, not the pairs of probes. The alarm is at its best here: one minute above 3 %\n\
         is enough, whoever is to blame, and nothing is late; the comparison waits 30 s for late points all the same.",
        POLL_EVERY.as_secs()
    )
}

/// Rows and every deployment.
#[must_use]
pub fn json(undone: &[Undone]) -> Value {
    let of_way = |row: &Row| {
        let samples: Vec<Value> = undone.iter().filter(|one| one.way == row.way).map(Undone::json).collect();
        json!({
            "way": row.way.word(), "deployments": row.took_s.n,
            "undone_s": {"median": row.took_s.median, "max": row.took_s.max},
            "harmed": {"median": row.harmed.median, "max": row.harmed.max}, "samples": samples
        })
    };
    json!({
        "requests_per_second": LOAD, "codedeploy_polls_every_s": POLL_EVERY.as_secs(),
        "ways": rows(undone).iter().map(of_way).collect::<Vec<Value>>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn undone(way: Way, took_ms: i64, harmed: u64) -> Undone {
        // 1,800,000,000 s since 1970 are whole minutes.
        let first_harm_ms = 1_800_000_007_250;
        Undone {
            way,
            deployment: "d-1".to_owned(),
            first_harm_ms,
            restored_ms: first_harm_ms + took_ms,
            harmed,
            stopped_by: "watcher".to_owned(),
        }
    }

    #[test]
    fn each_way_has_its_own_row() {
        let all = [
            undone(Way::Alarm, 40_000, 80),
            undone(Way::Pairs, 9_500, 19),
            undone(Way::Alarm, 20_000, 41),
            undone(Way::Alarm, 60_400, 120),
        ];
        let expected = "\
| undone by                               | deployments | median s | slowest s | requests harmed, median | most |
| --------------------------------------- | ----------: | -------: | --------: | ----------------------: | ---: |
| Snapback, pairs of probes (`fast`)      |           1 |      9.5 |       9.5 |                      19 |   19 |
| CodeDeploy, an alarm of the group alone |           3 |     40.0 |      60.4 |                      80 |  120 |
";
        assert_eq!(table(&all).to_string(), expected, "a way without deployments has no row");
    }

    #[test]
    fn json_has_every_deployment() {
        let found = json(&[undone(Way::Metrics, 70_000, 140), undone(Way::Metrics, 80_500, 160)]);
        let samples = json!([
            {"deployment": "d-1", "into_minute_s": 7.25, "undone_s": 70.0, "harmed": 140, "stopped_by": "watcher"},
            {"deployment": "d-1", "into_minute_s": 7.25, "undone_s": 80.5, "harmed": 160, "stopped_by": "watcher"}
        ]);
        let way = json!({
            "way": "metrics", "deployments": 2, "undone_s": {"median": 70.0, "max": 80.5},
            "harmed": {"median": 140.0, "max": 160.0}, "samples": samples
        });
        let expected = json!({"requests_per_second": LOAD, "codedeploy_polls_every_s": 10, "ways": [way]});
        assert_eq!(found, expected);
        assert_eq!(json(&[])["ways"], json!([]));
    }

    #[test]
    fn the_ways_differ_in_what_decides_alone() {
        let [pairs, metrics, alarm] = Way::ALL.map(|way| way.policy("checkout", "arn:topic"));
        for other in [&metrics, &alarm] {
            assert_eq!(other["before_traffic"], pairs["before_traffic"]);
            assert_eq!(other["signals"], pairs["signals"]);
            assert_eq!((other.get("witness"), other.get("fast")), (None, None));
        }
        assert_eq!(pairs["fast"], json!({"probes": ["checkout"]}));
        assert_eq!([pairs, metrics, alarm].map(|policy| policy["mode"].clone()), ["rollback", "rollback", "observe"]);
    }
}
