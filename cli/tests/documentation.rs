//! `docs/metrics.md` is true: its snippets run and give the metrics that its policies read, its policies are valid, and its
//! tables have the values of the code.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test helper may panic")]

#[path = "documentation/metrics.rs"]
mod metrics;

use serde_json::{Value, json};
use snapback_core::policy::human;
use snapback_emulator::parts::MetricSink;
use snapback_emulator::{Emulator, EmulatorConfig};
use snapback_judge::detector::{DetectorValues, Margin};
use snapback_judge::{Judge, Metric, Signal};
use std::io::ErrorKind;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PAGE: &str = include_str!("../../docs/metrics.md");
const RUST: &str = include_str!("documentation/metrics.rs");
const VERSION: &str = "42";
/// What an event of Snapback's own carries: such a request is not counted.
const PROBE: &str = r#"{"snapback": {"probe": true}}"#;

/// The fenced blocks of one language, in order.
fn blocks(language: &str) -> Vec<&'static str> {
    let fence = format!("```{language}\n");
    PAGE.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

fn only_block(language: &str) -> &'static str {
    let blocks = blocks(language);
    assert_eq!(blocks.len(), 1, "{language}");
    blocks[0]
}

/// The calls of a column of the table of calls: of a request, and of a payment.
fn calls(column: usize) -> Vec<String> {
    let rows = PAGE.lines().filter(|line| line.starts_with("| request |") || line.starts_with("| payment |"));
    // The code has `|` in none of the languages.
    rows.map(|row| row.split('|').nth(column).unwrap().trim().trim_matches('`').to_owned()).collect()
}

/// Lines of `program` for a request that failed with 503, and a payment that failed; `None`: it is not installed.
fn lines_of(program: &str, file: &str, text: &str) -> Option<Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(file);
    std::fs::write(&path, text).unwrap();
    let output = Command::new(program).arg(&path).env("AWS_LAMBDA_FUNCTION_VERSION", VERSION).output();
    let output = match output {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("skipped: the snippet for {program} was not run, because {program} is not installed");
            return None;
        }
        output => output.unwrap(),
    };
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

fn now_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()
}

/// What CloudWatch has of `metric` of the service, for this version or for all of them.
async fn sum(aws: &Emulator, metric: &str, version: Option<&str>) -> Vec<f64> {
    let dimension = |name: &str, value: &str| json!({ "Name": name, "Value": value });
    let mut dimensions = vec![dimension("Service", "checkout")];
    dimensions.extend(version.map(|version| dimension("Version", version)));
    let named = json!({ "Namespace": "Shop", "MetricName": metric, "Dimensions": dimensions });
    let query = json!({ "Id": "m0", "MetricStat": { "Metric": named, "Period": 3600, "Stat": "Sum" } });
    let seconds = u64::try_from(now_ms() / 1000).unwrap();
    // Whole hours around now.
    let (from, to) = (seconds / 3600 * 3600 - 3600, seconds / 3600 * 3600 + 3600);
    let input = json!({ "MetricDataQueries": [query], "StartTime": from, "EndTime": to });
    let answer = aws.cloudwatch.call("GetMetricData", input).await.unwrap();
    let values = answer["MetricDataResults"][0]["Values"].as_array().unwrap();
    values.iter().map(|value| value.as_f64().unwrap()).collect()
}

/// Gives the lines to CloudWatch and looks for the metrics that the page's policy reads.
async fn check(language: &str, lines: &[String]) {
    assert_eq!(lines.len(), 2, "{language}: one line for each call: {lines:?}");
    let document: Value = serde_json::from_str(&lines[0]).unwrap();
    let at_ms = document["_aws"]["Timestamp"].as_u64().unwrap();
    assert!(u128::from(at_ms).abs_diff(now_ms()) < 600_000, "{language}: milliseconds of now: {at_ms}");
    let config = EmulatorConfig { minute: Duration::from_secs(60), port: None, store: None, functions: None };
    let aws = Emulator::start(config).await.unwrap();
    aws.cloudwatch.set_visibility_delay(None, Duration::ZERO);
    for line in lines {
        aws.cloudwatch.log_line("checkout", line);
    }
    assert_eq!(aws.cloudwatch.rejected(), 0, "{language}: {lines:?}");
    for metric in ["Requests", "ServerErrors", "PaymentsTried", "PaymentsFailed"] {
        for version in [Some(VERSION), None] {
            let values = sum(&aws, metric, version).await;
            assert_eq!(
                values.iter().sum::<f64>().to_bits(),
                1.0_f64.to_bits(),
                "{language} {metric} {version:?}: {values:?}"
            );
        }
        assert_eq!(sum(&aws, metric, Some("41")).await, Vec::<f64>::new(), "{language} {metric}");
    }
    aws.shutdown().await;
}

#[tokio::test]
async fn the_node_snippet_publishes_what_the_policy_reads() {
    let calls = calls(2).join("; ");
    let counted = format!("for (const event of [undefined]) {{ {calls} }}");
    let uncounted = format!("for (const event of [{PROBE}]) {{ {calls} }}");
    let text = format!("{}const [status, failed] = [503, true];\n{counted}\n{uncounted}\n", only_block("js"));
    if let Some(lines) = lines_of("node", "count.js", &text) {
        check("node", &lines).await;
    }
}

#[tokio::test]
async fn the_python_snippet_publishes_what_the_policy_reads() {
    let calls = calls(3).join("; ");
    let uncounted = format!("event = json.loads('{PROBE}')\n{calls}");
    let counted = format!("event = {{\"snapback\": None}}\n{calls}");
    let text = format!("{}\nstatus, failed = 503, True\n{uncounted}\n{counted}\n", only_block("python"));
    if let Some(lines) = lines_of("python3", "count.py", &text) {
        check("python3", &lines).await;
    }
}

#[tokio::test]
async fn the_rust_snippet_publishes_what_the_policy_reads() {
    assert_eq!(only_block("rust"), RUST, "the page shows cli/tests/documentation/metrics.rs");
    let (status, failed) = (503, true);
    let calls = calls(4);
    let event = json!({ "path": "/orders" });
    let lines = [
        metrics::metrics_line(&event, &[("Requests", 1), ("ServerErrors", u64::from(status >= 500))]),
        metrics::metrics_line(&event, &[("PaymentsTried", 1), ("PaymentsFailed", u64::from(failed))]),
    ];
    let lines = lines.map(Option::unwrap);
    assert_eq!(
        calls,
        [
            r#"print_metrics(&event, &[("Requests", 1), ("ServerErrors", u64::from(status >= 500))])"#,
            r#"print_metrics(&event, &[("PaymentsTried", 1), ("PaymentsFailed", u64::from(failed))])"#,
        ]
    );
    let probe: Value = serde_json::from_str(PROBE).unwrap();
    assert_eq!(metrics::metrics_line(&probe, &[("Requests", 1)]), None);
    metrics::print_metrics(&probe, &[("Requests", 1)]);
    // The test process has no version in its environment, and must not change it beside other tests.
    let lines = lines.map(|line| {
        let mut document: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(document["Version"], std::env::var("AWS_LAMBDA_FUNCTION_VERSION").unwrap_or_default());
        document["Version"] = json!(VERSION);
        document.to_string()
    });
    check("rust", &lines).await;
}

#[test]
fn every_policy_of_the_page_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("snapback.yaml");
    let blocks = blocks("yaml");
    assert_eq!(blocks.len(), 4);
    let mut checked = 0;
    for block in blocks {
        // A source that stands there as a comment takes the place of the one above it.
        let sources: Vec<&str> = block.lines().filter(|line| line.trim_start().starts_with("# metric:")).collect();
        let instead = sources.iter().map(|source| {
            let other = source.replacen("# ", "", 1);
            let lines = block.lines().filter(|line| !line.trim_start().starts_with("# metric:"));
            let lines = lines.map(|line| if line.trim_start().starts_with("metric:") { other.as_str() } else { line });
            lines.collect::<Vec<_>>().join("\n")
        });
        for part in std::iter::once(block.to_owned()).chain(instead) {
            assert_valid(&file, &format!("service: checkout\nmode: advise\n{part}"));
            checked += 1;
        }
    }
    assert_eq!(checked, 7);
}

/// `snapback policy check` finds nothing wrong with this policy, which is put into `file`.
fn assert_valid(file: &std::path::Path, policy: &str) {
    std::fs::write(file, policy).unwrap();
    let check = Command::new(env!("CARGO_BIN_EXE_snapback")).args(["policy", "check"]).arg(file).output().unwrap();
    let said = String::from_utf8(check.stdout).unwrap();
    let is_ok = said.lines().next().is_some_and(|line| line.ends_with(": ok"));
    assert_eq!((check.status.code(), is_ok), (Some(0), true), "{policy}: {said}");
    assert!(check.stderr.is_empty(), "{policy}: {}", String::from_utf8_lossy(&check.stderr));
}

#[test]
fn the_policies_of_the_page_about_policies_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    let page = include_str!("../../docs/policy.md");
    let policies = page.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut checked = 0;
    for policy in policies {
        // The first one is whole.
        let head = if checked == 0 { "" } else { "service: checkout\nmode: rollback\n" };
        assert_valid(&folder.path().join("snapback.yaml"), &format!("{head}{policy}"));
        checked += 1;
    }
    assert_eq!(checked, 2);
}

/// The cells of the row that begins with this code.
fn row(name: &str) -> Vec<&'static str> {
    let start = format!("| `{name}` |");
    let row = PAGE.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no row `{name}`"));
    row.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn the_tables_have_the_values_of_the_code() {
    let judge = Judge::recommended();
    let times = [
        ("bucket", judge.bucket),
        ("ingestion_delay", judge.ingestion_delay),
        ("grace", judge.grace),
        ("no_data_timeout", judge.no_data_timeout),
        ("history", judge.history),
        ("long", judge.long),
        ("recent", judge.recent),
        ("peak", judge.peak),
        ("warm_up", judge.warm_up),
    ];
    for (name, value) in times {
        assert_eq!(row(name)[1], human(value), "{name}");
    }
    assert_eq!(row("alpha")[1], format!("{}%", judge.alpha * 100.0));

    for metric in Metric::COMPARED {
        let Margin { factor, points } = DetectorValues::default_margin(metric).unwrap();
        let expected = match metric {
            Metric::Body | Metric::Traffic => factor.to_string(),
            Metric::E5 | Metric::Tx | Metric::Q90 | Metric::Q99 | Metric::E4 | Metric::Probe | Metric::Pair => {
                format!("{factor}, {}pp", points * 100.0)
            }
        };
        let row = row(metric.as_str());
        assert!(row[1].starts_with(&format!("{}:", Signal::from(metric))), "{metric}: {row:?}");
        assert_eq!((row[2], row.len()), (expected.as_str(), 4), "{metric}");
    }
}
