//! Log lines of a function: one JSON object each, on standard output, at Lambda's own log level.
//!
//! Nothing here or in any caller logs credentials or execution ids. Crates below us are kept at `warn`, because their
//! finer levels print requests.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Crates whose debug output shows requests or events.
const QUIET: &[&str] = &["aws", "h2", "hyper", "lambda_runtime", "rustls", "tower"];

/// Starts logging as Lambda's log settings say: `AWS_LAMBDA_LOG_LEVEL` (`INFO` when it is missing or unknown) and
/// `AWS_LAMBDA_LOG_FORMAT` (`Text` for plain lines, anything else for JSON). A second call changes nothing.
pub fn init_logs() {
    let level = std::env::var("AWS_LAMBDA_LOG_LEVEL").unwrap_or_default();
    let format = std::env::var("AWS_LAMBDA_LOG_FORMAT").unwrap_or_default();
    let lines = tracing_subscriber::fmt::layer().with_ansi(false);
    let layer =
        if format.eq_ignore_ascii_case("text") { lines.boxed() } else { lines.json().flatten_event(true).boxed() };
    let registry = tracing_subscriber::registry().with(layer.with_filter(filter(&level)));
    // Already started, by a test for example: then that one stays.
    let _ = registry.try_init();
}

fn filter(level: &str) -> Targets {
    let level = level_of(level);
    let quiet = level.min(LevelFilter::WARN);
    QUIET.iter().fold(Targets::new().with_default(level), |targets, name| targets.with_target(*name, quiet))
}

/// Lambda's words for levels; `FATAL` is our `error`.
fn level_of(word: &str) -> LevelFilter {
    match word.to_ascii_uppercase().as_str() {
        "TRACE" => LevelFilter::TRACE,
        "DEBUG" => LevelFilter::DEBUG,
        "WARN" => LevelFilter::WARN,
        "ERROR" | "FATAL" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn levels_of_lambda_and_crates_that_stay_quiet() {
        // (setting, target, level of the line, is written?)
        let table = [
            ("", "snapback_app", Level::INFO, true),
            ("", "snapback_app", Level::DEBUG, false),
            ("debug", "snapback_app", Level::DEBUG, true),
            ("TRACE", "snapback_app", Level::TRACE, true),
            ("FATAL", "snapback_app", Level::WARN, false),
            ("nonsense", "snapback_app", Level::INFO, true),
            ("TRACE", "aws_smithy_runtime::client", Level::DEBUG, false),
            ("TRACE", "lambda_runtime", Level::TRACE, false),
            ("INFO", "hyper_util::client", Level::WARN, true),
            ("ERROR", "hyper_util::client", Level::WARN, false),
        ];
        for (setting, target, level, expected) in table {
            let is_written = filter(setting).would_enable(target, &level);
            assert_eq!(is_written, expected, "{setting} {target} {level}");
        }
    }
}
