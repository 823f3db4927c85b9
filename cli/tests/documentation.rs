//! `docs/metrics.md` is true: its snippets run and give the metrics that its policies read, its policies are valid, and its
//! tables have the values of the code.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test helper may panic")]

#[path = "documentation/metrics.rs"]
mod metrics;

use serde_json::{Value, json};
use snapback_core::canary::{Margin, Metric, Settings};
use snapback_core::policy::{Judge, human, signal_of};
use snapback_stage::embedded::EmbeddedAws;
use snapback_stage::parts::MetricSink;
use snapback_stage::stage::StageConfig;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PAGE: &str = include_str!("../../docs/metrics.md");
const RUST: &str = include_str!("documentation/metrics.rs");
const VERSION: &str = "42";

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
async fn sum(aws: &EmbeddedAws, metric: &str, version: Option<&str>) -> Vec<f64> {
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
    let config = StageConfig { minute: Duration::from_secs(60), port: None, store: None };
    let aws = EmbeddedAws::start(config, PathBuf::new()).await.unwrap();
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
    let text = format!("{}const [status, failed] = [503, true];\n{};\n", only_block("js"), calls(2).join(";\n"));
    if let Some(lines) = lines_of("node", "count.js", &text) {
        check("node", &lines).await;
    }
}

#[tokio::test]
async fn the_python_snippet_publishes_what_the_policy_reads() {
    let text = format!("{}\nstatus, failed = 503, True\n{}\n", only_block("python"), calls(3).join("\n"));
    if let Some(lines) = lines_of("python3", "count.py", &text) {
        check("python3", &lines).await;
    }
}

#[tokio::test]
async fn the_rust_snippet_publishes_what_the_policy_reads() {
    assert_eq!(only_block("rust"), RUST, "the page shows cli/tests/documentation/metrics.rs");
    let (status, failed) = (503, true);
    let calls = calls(4);
    let lines = [
        metrics::metrics_line(&[("Requests", 1), ("ServerErrors", u64::from(status >= 500))]),
        metrics::metrics_line(&[("PaymentsTried", 1), ("PaymentsFailed", u64::from(failed))]),
    ];
    assert!(
        calls[0].contains(r#"metrics_line(&[("Requests", 1), ("ServerErrors", u64::from(status >= 500))])"#),
        "{calls:?}"
    );
    assert!(
        calls[1].contains(r#"metrics_line(&[("PaymentsTried", 1), ("PaymentsFailed", u64::from(failed))])"#),
        "{calls:?}"
    );
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
            std::fs::write(&file, format!("service: checkout\nmode: advise\n{part}")).unwrap();
            let check =
                Command::new(env!("CARGO_BIN_EXE_snapback")).args(["policy", "check"]).arg(&file).output().unwrap();
            let said = String::from_utf8(check.stdout).unwrap();
            assert_eq!((check.status.code(), said.ends_with(": ok\n")), (Some(0), true), "{part}: {said}");
            assert!(check.stderr.is_empty(), "{part}: {}", String::from_utf8_lossy(&check.stderr));
            checked += 1;
        }
    }
    assert_eq!(checked, 6);
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
        ("settle", judge.settle),
        ("grace", judge.grace),
        ("dark", judge.dark),
        ("history", judge.history),
        ("long", judge.long),
        ("recent", judge.recent),
        ("peak", judge.peak),
        ("young", judge.young),
    ];
    for (name, value) in times {
        assert_eq!(row(name)[1], human(value), "{name}");
    }
    assert_eq!(row("alpha")[1], format!("{}%", judge.alpha * 100.0));

    let settings = Settings::default_method();
    let margin = |margin: Margin| format!("{}, {}pp", margin.factor, margin.points * 100.0);
    for (metric, rate) in
        [Metric::E5, Metric::Tx, Metric::Q50, Metric::Q90, Metric::Q99, Metric::E4].into_iter().zip(&settings.rates)
    {
        let row = row(metric.as_str());
        assert!(row[1].starts_with(&format!("{}:", signal_of(metric))), "{metric}: {row:?}");
        let expected = [margin(rate.concurrent), margin(rate.before_after), rate.weight.to_string()];
        assert_eq!(row[2..], expected, "{metric}");
    }
    let traffic = &settings.traffic;
    let said = (traffic.weight, traffic.concurrent_share, traffic.after_share);
    assert_eq!(format!("{said:?}"), "(0.12, 0.5, 0.3)", "the page says so in words");
    assert!(PAGE.contains("(`traffic`, weight 0.12): less than half") && PAGE.contains("less than 0.3 of"));
}
