//! The scoreboard as text: a table of everything, and a page for people.

use crate::board::{Board, Row, minutes, per_cent, per_thousand};
use crate::score::Cell;
use crate::trace::Class;
use std::fmt::Write as _;

/// A rival counts as comparable when it rolls back at most this share of healthy deployments.
const COMPARABLE_FALSE: f64 = 0.05;
/// Shares this close are equal, and delays in seconds.
const SAME_SHARE: f64 = 0.02;
const SAME_DELAY_S: f64 = 15.0;

/// Every detector, class and request rate as comma-separated values, with a header.
#[must_use]
pub fn csv(board: &Board) -> String {
    let mut text = String::from(
        "detector,class,requests_per_s,bad,n,rollback,upper95,delay_median_s,delay_p95_s,delay_capped_median_s,harmed_share,inconclusive\n",
    );
    for row in &board.rows {
        for class in &board.series.classes {
            line(&mut text, row, *class, "all", &row.class(*class));
            for rate in &board.series.rates {
                line(&mut text, row, *class, &rate.to_string(), &row.class_at_rate(*class, *rate));
            }
        }
    }
    text
}

fn line(text: &mut String, row: &Row, class: Class, rate: &str, cell: &Cell) {
    let number = |value: Option<f64>, decimals: usize| value.map_or(String::new(), |value| format!("{value:.decimals$}"));
    let columns = [
        row.contestant.name.replace(',', ""),
        class.name().to_owned(),
        rate.to_owned(),
        u8::from(class.is_bad()).to_string(),
        cell.count.to_string(),
        format!("{:.4}", cell.share()),
        format!("{:.4}", cell.share_upper()),
        number(cell.delay_median_s(), 1),
        number(cell.delay_p95_s(), 1),
        number(cell.delay_capped_median_s(), 1),
        number(cell.harmed_share(), 4),
        format!("{:.4}", cell.inconclusive_share()),
    ];
    text.push_str(&columns.join(","));
    text.push('\n');
}

/// The page for people, in Markdown. `command` is what makes it again.
#[must_use]
pub fn page(board: &Board, command: &str) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut text, board, command);
    text
}

fn write_page(text: &mut String, board: &Board, command: &str) -> std::fmt::Result {
    let Some((own, rivals)) = board.rows.split_first() else { return Ok(()) };
    let series = &board.series;
    let deployments = own.outcomes.len();
    let rates: Vec<String> = series.rates.iter().map(ToString::to_string).collect();
    let plans: Vec<&str> = series.plans.iter().map(|plan| plan.name()).collect();
    writeln!(text, "# Detection scoreboard\n\nWritten by `{command}`; do not edit.\n")?;
    writeln!(
        text,
        "{} and {} other detectors judge the same {} simulated deployments: {} classes (half of them bad), {} requests per \
         second, the plans {}, {} of each; buckets of {} s, seed {}. Records come late, out of order or never, as in CloudWatch. \
         Everything by class and rate is in [scores.csv](scores.csv).\n",
        own.contestant.name,
        rivals.len(),
        thousands(deployments),
        series.classes.len(),
        rates.join(", "),
        plans.join(" and "),
        series.count,
        series.bucket_s,
        series.seed
    )?;
    writeln!(text, "![Overview](overview.svg)\n")?;
    overview_table(text, board)?;
    writeln!(text, "![Detected against false rollbacks](trade-off.svg)\n\n![Rolled back over time](over-time.svg)\n")?;
    better(text, own, rivals)?;
    worse(text, board, own, rivals)?;
    writeln!(text, "## By class\n\n![By class](by-class.svg)\n")?;
    class_tables(text, board)?;
    who(text, board)?;
    caveats(text)
}

fn thousands(number: usize) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}

fn seconds_or_dash(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "–".to_owned(), minutes)
}

fn overview_table(text: &mut String, board: &Board) -> std::fmt::Result {
    writeln!(
        text,
        "| detector | false rollbacks per 1,000 healthy deployments (95 % at most) | bad ones detected | delay, median | delay, \
         p95 | median, misses counted to the end | harmed |\n|---|---:|---:|---:|---:|---:|---:|"
    )?;
    for row in &board.rows {
        let (bad, healthy) = (row.bad(), row.healthy());
        writeln!(
            text,
            "| {} | {} ({}) | {} % | {} | {} | {} | {} % |",
            row.contestant.name,
            per_thousand(healthy.share()),
            per_thousand(healthy.share_upper()),
            per_cent(bad.share()),
            seconds_or_dash(bad.delay_median_s()),
            seconds_or_dash(bad.delay_p95_s()),
            seconds_or_dash(bad.delay_capped_median_s()),
            bad.harmed_share().map_or_else(|| "–".to_owned(), per_cent),
        )?;
    }
    writeln!(
        text,
        "\nDelays are minutes:seconds from the start of the deployment, where every fault begins, to the rollback. *Harmed*: \
         requests hurt before the rollback as a share of all that would be hurt without one, over all bad deployments \
         together (so the large services weigh most). An alarm that was red before the deployment stops it at once, as \
         CodeDeploy does: that is why a detector that rolls back nearly everything has short delays.\n"
    )
}

/// The rivals that roll back few healthy deployments, the best detecting one first.
fn comparable<'a>(own: &Row, rivals: &'a [Row]) -> Vec<&'a Row> {
    let most = own.healthy().share().max(COMPARABLE_FALSE);
    let mut rows: Vec<&Row> = rivals.iter().filter(|row| row.healthy().share() <= most).collect();
    rows.sort_by(|one, other| other.bad().share().total_cmp(&one.bad().share()));
    rows
}

fn better(text: &mut String, own: &Row, rivals: &[Row]) -> std::fmt::Result {
    let name = own.contestant.name;
    writeln!(text, "## Where {name} is better\n")?;
    let rows = comparable(own, rivals);
    let list: Vec<String> =
        rows.iter().map(|row| format!("{} {} %", row.contestant.name, per_cent(row.bad().share()))).collect();
    if list.is_empty() {
        writeln!(text, "- No other detector rolls back 50 or fewer of 1,000 healthy deployments.")?;
    } else {
        writeln!(
            text,
            "- Among the detectors that roll back at most 50 of 1,000 healthy deployments, {name} detects {} % of the bad ones; \
             the others: {}.",
            per_cent(own.bad().share()),
            list.join(", ")
        )?;
    }
    let lower = |class: &Class| {
        let own_share = own.class(*class).share();
        let higher = rivals.iter().filter(|row| row.class(*class).share() > own_share + SAME_SHARE).count();
        (!class.is_bad() && higher > 0).then(|| format!("{} ({higher} of {})", class.name(), rivals.len()))
    };
    let healthy: Vec<String> = Class::ALL.iter().filter_map(lower).collect();
    writeln!(text, "- Fewer false rollbacks than others (than how many of them): {}.", joined(&healthy))?;
    let ahead = |class: &Class| {
        let behind = |row: &&Row| row.class(*class).share() < own.class(*class).share() - SAME_SHARE;
        let count = rivals.iter().filter(behind).count();
        (class.is_bad() && count > 0).then(|| format!("{} ({count} of {})", class.name(), rivals.len()))
    };
    let bad: Vec<String> = Class::ALL.iter().filter_map(ahead).collect();
    writeln!(text, "- Detects more than others (than how many of them): {}.\n", joined(&bad))
}

fn joined(parts: &[String]) -> String {
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn worse(text: &mut String, board: &Board, own: &Row, rivals: &[Row]) -> std::fmt::Result {
    let name = own.contestant.name;
    writeln!(text, "## Where {name} is worse\n\nIn brackets: what that detector rolls back of 1,000 healthy deployments.\n")?;
    let with_false = |row: &Row, what: String| {
        format!("{} {what} ({})", row.contestant.name, per_thousand(row.healthy().share()))
    };
    for class in Class::ALL.into_iter().filter(|class| class.is_bad()) {
        let cell = own.class(class);
        let more: Vec<String> = rivals
            .iter()
            .filter(|row| row.class(class).share() > cell.share() + SAME_SHARE)
            .map(|row| with_false(row, format!("{} %", per_cent(row.class(class).share()))))
            .collect();
        if !more.is_empty() {
            let own_share = per_cent(cell.share());
            writeln!(text, "- `{}`: {name} detects {own_share} %. More: {}.", class.name(), more.join(", "))?;
        }
        let median = |row: &Row| row.class(class).delay_capped_median_s().unwrap_or(f64::INFINITY);
        let sooner: Vec<String> = rivals
            .iter()
            .filter(|row| median(row) < median(own) - SAME_DELAY_S)
            .map(|row| with_false(row, minutes(median(row))))
            .collect();
        if !sooner.is_empty() {
            let own_median = minutes(median(own));
            writeln!(text, "- `{}`: {name} takes {own_median} (median, misses counted). Sooner: {}.", class.name(), sooner.join(", "))?;
        }
    }
    let calmer: Vec<String> = rivals
        .iter()
        .filter(|row| row.healthy().share() < own.healthy().share())
        .map(|row| format!("{} {}", row.contestant.name, per_thousand(row.healthy().share())))
        .collect();
    let fewer = per_thousand(own.healthy().share());
    writeln!(text, "- False rollbacks: {name} {fewer} of 1,000. Fewer: {}.", joined(&calmer))?;
    for class in Class::ALL.into_iter().filter(|class| !class.is_bad()) {
        let cell = own.class(class);
        if cell.rolled_back > 0 {
            writeln!(text, "- `{}`: {name} rolls back {} of {} healthy deployments.", class.name(), cell.rolled_back, cell.count)?;
        }
    }
    writeln!(text, "- Small services are hard. {name} by requests per second:\n")?;
    writeln!(text, "  | requests/s | detected | false rollbacks per 1,000 | too little to tell, of the healthy |\n  |---:|---:|---:|---:|")?;
    for rate in &board.series.rates {
        let (bad, healthy) = (own.at_rate(true, *rate), own.at_rate(false, *rate));
        writeln!(
            text,
            "  | {rate} | {} % | {} | {} % |",
            per_cent(bad.share()),
            per_thousand(healthy.share()),
            per_cent(healthy.inconclusive_share())
        )?;
    }
    writeln!(text)
}

fn class_tables(text: &mut String, board: &Board) -> std::fmt::Result {
    let names: Vec<&str> = board.rows.iter().map(|row| row.contestant.name).collect();
    let tables: [(&str, bool, fn(&Cell) -> String); 3] = [
        ("Detected, %", true, |cell| per_cent(cell.share())),
        ("Median delay, misses counted to the end, min:s", true, |cell| seconds_or_dash(cell.delay_capped_median_s())),
        ("False rollbacks per 1,000", false, |cell| per_thousand(cell.share())),
    ];
    for (title, is_bad, value) in tables {
        writeln!(text, "| {title} | {} |\n|---|{}", names.join(" | "), "---:|".repeat(names.len()))?;
        for class in board.series.classes.iter().filter(|class| class.is_bad() == is_bad) {
            let values: Vec<String> = board.rows.iter().map(|row| value(&row.class(*class))).collect();
            writeln!(text, "| {} | {} |", class.name(), values.join(" | "))?;
        }
        writeln!(text)?;
    }
    Ok(())
}

fn who(text: &mut String, board: &Board) -> std::fmt::Result {
    writeln!(text, "## Who is compared\n")?;
    for row in &board.rows {
        let sources: Vec<String> =
            row.contestant.sources.iter().map(|source| format!("[{}]({})", source.title, source.url)).collect();
        let from = if sources.is_empty() { String::new() } else { format!(" Source: {}.", sources.join("; ")) };
        writeln!(text, "- **{}**: {}{from}", row.contestant.name, row.contestant.method)?;
    }
    writeln!(text)
}

fn caveats(text: &mut String) -> std::fmt::Result {
    writeln!(
        text,
        "## What these figures are not\n\n\
         - The deployments are simulated (`tests/detection/src/generate.rs`). Yours differ; what carries over is the order of \
         the detectors and where each is blind, less so the figures.\n\
         - The others are written anew from their public descriptions, not run. Where a description leaves a setting to the \
         user, it is set from the hour before the deployment, and alarms are evaluated every 10 s, which is sooner than \
         CloudWatch does. A team that knows its service can tune each of them further.\n\
         - Burn rates are made for paging people about a service, Flagger and Argo Rollouts for Kubernetes, Kayenta for hours of \
         data from a baseline of the same size. Here they stand for what a detector of that kind can do in a quarter of an \
         hour on Lambda."
    )
}
