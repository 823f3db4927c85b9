//! The scoreboard as text: a table of everything, and a page for people.

use crate::board::{Board, Row, minutes, per_cent, per_thousand};
use crate::judge::Source;
use crate::score::Cell;
use crate::trace::Class;
use std::fmt::Write as _;

/// A rival counts as comparable when it rolls back at most this share of healthy deployments.
const COMPARABLE_FALSE: f64 = 0.1;
/// Shares this close are equal, and delays in seconds.
const SAME_SHARE: f64 = 0.02;
const SAME_DELAY_S: f64 = 15.0;

/// Every detector, class and request rate as comma-separated values, with a header.
#[must_use]
pub fn csv(board: &Board) -> String {
    let mut text = String::from(
        "detector,class,requests_per_s,bad,n,rollback,lower95,upper95,early,delay_median_s,delay_p95_s,delay_capped_median_s,harmed_share,inconclusive\n",
    );
    for row in board.rows.iter().chain([&board.alone]) {
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
    let number =
        |value: Option<f64>, decimals: usize| value.map_or(String::new(), |value| format!("{value:.decimals$}"));
    let (lower, upper) = cell.share_interval();
    let columns = [
        row.contestant.name.replace(',', ""),
        class.name().to_owned(),
        rate.to_owned(),
        u8::from(class.is_bad()).to_string(),
        cell.count.to_string(),
        format!("{:.4}", cell.share()),
        format!("{lower:.4}"),
        format!("{upper:.4}"),
        cell.early.to_string(),
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
    let bad = series.classes.iter().filter(|class| class.is_bad()).count();
    let healthy = series.classes.len() - bad;
    let rates: Vec<String> = series.rates.iter().map(ToString::to_string).collect();
    let plans: Vec<&str> = series.plans.iter().map(|plan| plan.name()).collect();
    writeln!(text, "# Detection scoreboard\n\nWritten by `{command}`; do not edit.\n")?;
    writeln!(
        text,
        "{} and {} other detectors judge the same {} simulated deployments: {} kinds of fault and {} of health, {} requests per \
         second, the plans {}, {} of each; buckets of {} s, seed {}. Records come late, out of order or never, as in CloudWatch. \
         Everything by class and rate is in [scores.csv](scores.csv).\n",
        own.contestant.name,
        rivals.len(),
        thousands(deployments),
        bad,
        healthy,
        rates.join(", "),
        plans.join(" and "),
        series.count,
        series.bucket_s,
        series.seed
    )?;
    writeln!(text, "![Overview](overview.svg)\n")?;
    overview_table(text, board)?;
    without_witnesses(text, board, own)?;
    writeln!(text, "![Detected against false rollbacks](trade-off.svg)\n\n![Rolled back over time](over-time.svg)\n")?;
    better(text, own, rivals)?;
    worse(text, board, own, rivals)?;
    writeln!(text, "## By class\n\n![By class](by-class.svg)\n")?;
    meanings(text, board)?;
    class_tables(text, board)?;
    by_class_and_rate(text, board, own)?;
    who(text, board)?;
    caveats(text)
}

fn thousands(number: usize) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}

fn seconds_or_dash(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "–".to_owned(), minutes)
}

/// Per thousand, with the 95 % interval.
fn with_interval(cell: &Cell) -> String {
    let (lower, upper) = cell.share_interval();
    format!("{} ({}–{})", per_thousand(cell.share()), per_thousand(lower), per_thousand(upper))
}

/// A table of these detectors, all deployments together.
fn summary(text: &mut String, rows: &[&Row]) -> std::fmt::Result {
    writeln!(
        text,
        "| detector | false rollbacks per 1,000 healthy deployments (95 % interval) | bad ones detected | delay, median | delay, \
         p95 | median, misses counted to the end | harmed |\n|---|---:|---:|---:|---:|---:|---:|"
    )?;
    for row in rows {
        let (bad, healthy) = (row.bad(), row.healthy());
        writeln!(
            text,
            "| {} | {} | {} % | {} | {} | {} | {} % |",
            row.contestant.name,
            with_interval(&healthy),
            per_cent(bad.detected_share()),
            seconds_or_dash(bad.delay_median_s()),
            seconds_or_dash(bad.delay_p95_s()),
            seconds_or_dash(bad.delay_capped_median_s()),
            bad.harmed_share().map_or_else(|| "–".to_owned(), per_cent),
        )?;
    }
    writeln!(text)
}

/// What the witnesses are worth: the same detector with and without them.
fn without_witnesses(text: &mut String, board: &Board, own: &Row) -> std::fmt::Result {
    let (name, alone) = (own.contestant.name, &board.alone);
    writeln!(
        text,
        "## The same without any witness\n\nOnly {name} reads the witnesses: requests counted in front of the function, failures \
         of other functions behind the same dependencies, and its own requests to both versions. The other detectors, as published, \
         do not use them, though a team could set an alarm on some. Without witnesses it sees exactly what they see, so this is the row to compare them with in a service that \
         has none:\n"
    )?;
    summary(text, &[own, alone])?;
    let differs = |class: &&Class| {
        let (with, without) = (own.class(**class), alone.class(**class));
        (with.detected_share() - without.detected_share()).abs() > SAME_SHARE
    };
    let classes: Vec<&Class> = board.series.classes.iter().filter(differs).collect();
    if classes.is_empty() {
        return writeln!(text, "No class differs by more than {} points.\n", per_cent(SAME_SHARE));
    }
    writeln!(text, "| class | with | without |\n|---|---:|---:|")?;
    for class in classes {
        let figure = |row: &Row| match class.is_bad() {
            true => format!("{} % detected", per_cent(row.class(*class).detected_share())),
            false => format!("{} of 1,000 rolled back", per_thousand(row.class(*class).share())),
        };
        writeln!(text, "| {} | {} | {} |", class.name(), figure(own), figure(alone))?;
    }
    writeln!(text)
}

fn overview_table(text: &mut String, board: &Board) -> std::fmt::Result {
    let rows: Vec<&Row> = board.rows.iter().collect();
    summary(text, &rows)?;
    let late: Vec<String> = board
        .series
        .classes
        .iter()
        .filter(|class| class.begins_late())
        .map(|class| format!("`{}`", class.name()))
        .collect();
    writeln!(
        text,
        "Delays are minutes:seconds from the onset of the fault to the rollback. Faults begin with the deployment, except: {}. A \
         rollback before the onset is no detection (column `early` of scores.csv). *Harmed*: \
         requests hurt before the rollback as a share of all that would be hurt without one, over all bad deployments \
         together (so the large services weigh most). An alarm that was red before the deployment stops it at once, as \
         CodeDeploy does: that is why a detector that rolls back nearly everything has short delays.\n",
        joined(&late)
    )
}

/// The rivals that roll back few healthy deployments, the best detecting one first.
fn comparable<'a>(own: &Row, rivals: &'a [Row]) -> Vec<&'a Row> {
    let most = own.healthy().share().max(COMPARABLE_FALSE);
    let mut rows: Vec<&Row> = rivals.iter().filter(|row| row.healthy().share() <= most).collect();
    rows.sort_by(|one, other| other.bad().detected_share().total_cmp(&one.bad().detected_share()));
    rows
}

fn better(text: &mut String, own: &Row, rivals: &[Row]) -> std::fmt::Result {
    let name = own.contestant.name;
    writeln!(text, "## Where {name} is better\n")?;
    let rows = comparable(own, rivals);
    let most = per_thousand(own.healthy().share().max(COMPARABLE_FALSE));
    let list = |what: &dyn Fn(&Row) -> String| -> String {
        let parts: Vec<String> = rows.iter().map(|row| format!("{} {}", row.contestant.name, what(row))).collect();
        joined(&parts)
    };
    let detected = |row: &Row| format!("{} %", per_cent(row.bad().detected_share()));
    let median = |row: &Row| seconds_or_dash(row.bad().delay_capped_median_s());
    let harmed = |row: &Row| format!("{} %", per_cent(row.bad().harmed_share().unwrap_or(0.0)));
    writeln!(text, "Against the detectors that roll back at most {most} of 1,000 healthy deployments:\n")?;
    writeln!(text, "- detected: {name} {}; {}", detected(own), list(&detected))?;
    writeln!(text, "- median delay, misses counted to the end: {name} {}; {}", median(own), list(&median))?;
    writeln!(text, "- harmed: {name} {}; {}\n", harmed(own), list(&harmed))?;
    let lower = |class: &Class| {
        let own_share = own.class(*class).share();
        let higher = rivals.iter().filter(|row| row.class(*class).share() > own_share + SAME_SHARE).count();
        (!class.is_bad() && higher > 0).then(|| format!("`{}` {higher}", class.name()))
    };
    let healthy: Vec<String> = Class::ALL.iter().filter_map(lower).collect();
    let of = rivals.len();
    writeln!(text, "How many of all {of} roll back more healthy deployments than {name}: {}.\n", joined(&healthy))?;
    let ahead = |class: &Class| {
        let own_share = own.class(*class).detected_share();
        let behind = |row: &&Row| row.class(*class).detected_share() < own_share - SAME_SHARE;
        let count = rivals.iter().filter(behind).count();
        (class.is_bad() && count > 0).then(|| format!("`{}` {count}", class.name()))
    };
    let bad: Vec<String> = Class::ALL.iter().filter_map(ahead).collect();
    writeln!(text, "How many of all {of} detect fewer bad ones: {}.\n", joined(&bad))
}

fn joined(parts: &[String]) -> String {
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn worse(text: &mut String, board: &Board, own: &Row, rivals: &[Row]) -> std::fmt::Result {
    let name = own.contestant.name;
    let mut calm: Vec<&Row> = rivals.iter().collect();
    calm.sort_by(|one, other| one.healthy().share().total_cmp(&other.healthy().share()));
    writeln!(
        text,
        "## Where {name} is worse\n\nIn brackets: how many of 1,000 healthy deployments that detector rolls back. One that rolls \
         back most of everything detects a lot.\n\n| class | {name} detects | these detect more | {name}'s median delay, misses \
         counted | these are sooner |\n|---|---:|---|---:|---|"
    )?;
    for class in Class::ALL.into_iter().filter(|class| class.is_bad()) {
        let share = |row: &Row| row.class(class).detected_share();
        let median = |row: &Row| row.class(class).delay_capped_median_s().unwrap_or(f64::INFINITY);
        let list = |ahead: &dyn Fn(&Row) -> Option<String>| -> String {
            let one = |row: &&Row| {
                let what = ahead(row)?;
                Some(format!("{} {what} ({})", row.contestant.name, per_thousand(row.healthy().share())))
            };
            joined(&calm.iter().filter_map(one).collect::<Vec<String>>())
        };
        let more = |row: &Row| (share(row) > share(own) + SAME_SHARE).then(|| format!("{} %", per_cent(share(row))));
        let sooner = |row: &Row| (median(row) < median(own) - SAME_DELAY_S).then(|| minutes(median(row)));
        let (own_share, own_median) = (per_cent(share(own)), minutes(median(own)));
        writeln!(text, "| {} | {own_share} % | {} | {own_median} | {} |", class.name(), list(&more), list(&sooner))?;
    }
    let calmer: Vec<String> = calm
        .iter()
        .filter(|row| row.healthy().share() < own.healthy().share())
        .map(|row| format!("{} {}", row.contestant.name, per_thousand(row.healthy().share())))
        .collect();
    let fewer = per_thousand(own.healthy().share());
    writeln!(text, "\nFalse rollbacks: {name} {fewer} of 1,000. Fewer: {}.", joined(&calmer))?;
    let fewer = |class: &Class| {
        let own_share = own.class(*class).share();
        let lower = rivals.iter().filter(|row| row.class(*class).share() < own_share - SAME_SHARE).count();
        (!class.is_bad() && lower > 0).then(|| format!("`{}` {lower}", class.name()))
    };
    let fewer: Vec<String> = Class::ALL.iter().filter_map(fewer).collect();
    let of = rivals.len();
    writeln!(text, "How many of all {of} roll back fewer healthy deployments than {name}: {}.", joined(&fewer))?;
    let wrong = |class: &Class| {
        let cell = own.class(*class);
        let said = format!("{} of {} `{}`", cell.rolled_back, cell.count, class.name());
        (!class.is_bad() && cell.rolled_back > 0).then_some(said)
    };
    let wrong: Vec<String> = Class::ALL.iter().filter_map(wrong).collect();
    writeln!(text, "Healthy deployments that {name} rolled back: {}.\n", joined(&wrong))?;
    by_rate(text, board, own)
}

fn by_rate(text: &mut String, board: &Board, own: &Row) -> std::fmt::Result {
    writeln!(
        text,
        "Small services are hard. {} by requests per second:\n\n| requests/s | detected | false rollbacks per 1,000 (95 % interval) | too little \
         to tell, of the healthy |\n|---:|---:|---:|---:|",
        own.contestant.name
    )?;
    for rate in &board.series.rates {
        let (bad, healthy) = (own.at_rate(true, *rate), own.at_rate(false, *rate));
        writeln!(
            text,
            "| {rate} | {} % | {} | {} % |",
            per_cent(bad.detected_share()),
            with_interval(&healthy),
            per_cent(healthy.inconclusive_share())
        )?;
    }
    writeln!(text)
}

fn meanings(text: &mut String, board: &Board) -> std::fmt::Result {
    for (title, is_bad) in [("Bad", true), ("Healthy", false)] {
        let classes = board.series.classes.iter().filter(|class| class.is_bad() == is_bad);
        let parts: Vec<String> = classes.map(|class| format!("`{}` {}", class.name(), class.meaning())).collect();
        writeln!(text, "{title}: {}.\n", parts.join("; "))?;
    }
    Ok(())
}

/// How one figure of a cell is written.
type Figure = fn(&Cell) -> String;

fn class_tables(text: &mut String, board: &Board) -> std::fmt::Result {
    let names: Vec<&str> = board.rows.iter().map(|row| row.contestant.name).collect();
    let tables: [(&str, bool, Figure); 3] = [
        ("Detected, %", true, |cell| per_cent(cell.detected_share())),
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

fn by_class_and_rate(text: &mut String, board: &Board, own: &Row) -> std::fmt::Result {
    let rates: Vec<String> = board.series.rates.iter().map(|rate| format!("{rate}/s")).collect();
    let (name, columns) = (own.contestant.name, "---:|".repeat(rates.len()));
    let rates = rates.join(" | ");
    let cells = |class: Class, figure: &dyn Fn(&Cell) -> String| -> String {
        let cells = board.series.rates.iter().map(|rate| figure(&own.class_at_rate(class, *rate)));
        cells.collect::<Vec<String>>().join(" | ")
    };
    writeln!(
        text,
        "{name} by class and requests per second: detected, and the median delay (misses counted to the end).\n"
    )?;
    writeln!(text, "| class | {rates} |\n|---|{columns}")?;
    for class in board.series.classes.iter().filter(|class| class.is_bad()) {
        let figure = |cell: &Cell| {
            let median = seconds_or_dash(cell.delay_capped_median_s());
            format!("{} %, {median}", per_cent(cell.detected_share()))
        };
        writeln!(text, "| {} | {} |", class.name(), cells(*class, &figure))?;
    }
    writeln!(text, "\nFalse rollbacks: how many, and per 1,000 with the 95 % interval of the class.\n")?;
    writeln!(text, "| class | {rates} | per 1,000 |\n|---|{columns}---:|")?;
    for class in board.series.classes.iter().filter(|class| !class.is_bad()) {
        let figure = |cell: &Cell| format!("{} of {}", cell.rolled_back, cell.count);
        writeln!(text, "| {} | {} | {} |", class.name(), cells(*class, &figure), with_interval(&own.class(*class)))?;
    }
    writeln!(text)
}

/// A link to a source, with its version where it has one.
fn cited(source: &Source) -> String {
    let version = if source.version.is_empty() { String::new() } else { format!(" ({})", source.version) };
    format!("[{}]({}){version}", source.title, source.url)
}

fn who(text: &mut String, board: &Board) -> std::fmt::Result {
    writeln!(text, "## Who is compared\n")?;
    for row in board.rows.iter().chain([&board.alone]) {
        let sources: Vec<String> = row.contestant.sources.iter().map(cited).collect();
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
         - The others are written anew from the descriptions and the code that are named above, not run. Pages without a version \
         were read as they stood in 2026. Where a source leaves a setting to the \
         user, it is set from the hour before the deployment, and alarms are evaluated every 10 s, which is sooner than \
         CloudWatch does. A team that knows its service can tune each of them further.\n\
         - Burn rates are made for paging people about a service, Flagger and Argo Rollouts for Kubernetes, Kayenta for hours of \
         data from a baseline of the same size. Here they stand for what a detector of that kind can do in a quarter of an \
         hour on Lambda.\n\
         - In `neighbour_fails` and `dependency_fails` the question is whose fault it is, and the version's own numbers hardly \
         show that. That the others roll back there comes from what they are given as much as from their rules.\n\
         - Snapback was developed with such classes in view. Faults that nobody thought of are in none of the figures."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::{Contestant, Verdict};
    use crate::rivals::RIVALS;
    use crate::run::Series;
    use crate::score::Outcome;
    use crate::snapback::{SNAPBACK, SNAPBACK_ALONE};
    use crate::trace::{Deployment, Spec};

    /// A board on which each detector rolls back the first so many of ten bad and of ten healthy deployments, after so long.
    fn board() -> Board {
        let classes = vec![Class::ErrorsSmall, Class::WarmUp];
        let series =
            Series { classes, rates: vec![5.0], plans: vec![crate::trace::Plan::ALL[0]], ..Series::full(7, 10, 60) };
        let row = |contestant: &Contestant, bad: u64, healthy: u64, at_s: i64| {
            let outcome = |spec: &Spec| {
                let harmed = if spec.class.is_bad() { vec![1.0; 20] } else { vec![0.0; 20] };
                let arrivals = std::collections::BTreeMap::new();
                let deployment = Deployment { spec: *spec, arrivals, onset_s: 0.0, harmed };
                let rolls_back = spec.index < if spec.class.is_bad() { bad } else { healthy };
                Outcome::of(&deployment, rolls_back.then_some(at_s), Verdict::Inconclusive)
            };
            Row { contestant: *contestant, outcomes: series.specs().iter().map(outcome).collect() }
        };
        let rows = vec![row(&SNAPBACK, 7, 1, 240), row(&RIVALS[0], 10, 9, 60), row(&RIVALS[5], 4, 0, 600)];
        let alone = row(&SNAPBACK_ALONE, 6, 3, 300);
        Board { series, rows, alone }
    }

    #[test]
    fn the_page_names_wins_and_losses() {
        let text = page(&board(), "make it");
        let wanted = [
            "Written by `make it`; do not edit.",
            "the same 20 simulated deployments: 1 kinds of fault and 1 of health",
            "| Snapback | 100 (18–404) | 70 % | 4:00 | 4:00 | 4:00 | 44 % |",
            "| Snapback without witnesses | 300 (108–603) | 60 % | 5:00 | 5:00 | 5:00 | 55 % |",
            "| errors_small | 70 % detected | 60 % detected |",
            "| warm_up | 100 of 1,000 rolled back | 300 of 1,000 rolled back |",
            "- detected: Snapback 70 %; Kayenta 40 %",
            "| errors_small | 70 % | SAM alarms 100 % (900) | 4:00 | SAM alarms 1:00 (900) |",
            "False rollbacks: Snapback 100 of 1,000. Fewer: Kayenta 0.",
            "How many of all 2 roll back fewer healthy deployments than Snapback: `warm_up` 1.",
            "Healthy deployments that Snapback rolled back: 1 of 10 `warm_up`.",
            "| 5 | 70 % | 100 (18–404) | 100 % |",
            "| errors_small | 70 | 100 | 40 |",
            "| warm_up | 100 | 900 | 0 |",
            "| errors_small | 70 %, 4:00 |",
            "| warm_up | 1 of 10 | 100 (18–404) |",
        ];
        for part in wanted {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
        for row in board().rows {
            for source in row.contestant.sources {
                assert!(text.contains(&cited(source)), "{} is not cited", source.url);
            }
        }
        assert_eq!(text, page(&board(), "make it"), "the same bytes again");
    }

    #[test]
    fn the_table_has_a_line_for_every_cell() {
        let text = csv(&board());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + 4 * 2 * 2);
        assert!(
            lines.contains(&"Snapback,errors_small,all,1,10,0.7000,0.3968,0.8922,0,240.0,240.0,240.0,0.4400,1.0000"),
            "{text}"
        );
        assert!(lines.contains(&"Kayenta,warm_up,5,0,10,0.0000,0.0000,0.2775,0,,,1320.0,,1.0000"), "{text}");
        let columns = lines[0].matches(',').count();
        assert!(lines.iter().all(|line| line.matches(',').count() == columns));
    }

    #[test]
    fn every_plot_shows_every_detector() {
        let board = board();
        // The one by class has two panels.
        let plots = [
            (crate::plots::overview(&board), 1),
            (crate::plots::trade_off(&board), 1),
            (crate::plots::over_time(&board), 1),
            (crate::plots::by_class(&board), 2),
        ];
        for (text, times) in plots {
            for row in &board.rows {
                assert_eq!(text.matches(&format!(">{}</text>", row.contestant.name)).count(), times, "{text}");
            }
            assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        }
    }
}
