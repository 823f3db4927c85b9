//! The plots of the scoreboard.

use crate::board::{Board, Row, minutes, per_cent, per_thousand};
use crate::score::Cell;
use crate::svg::{Anchor, GRID, HAIR, Picture, SMALL, Stroke, Style, TEXT, TITLE};
use crate::trace::Class;

/// Colours that people with colour blindness can tell apart as well, with dashes to be sure; the first is for Snapback.
const LINES: [(&str, &str); 9] = [
    ("#0550ae", ""),
    ("#6e7781", "2 3"),
    ("#e69f00", "7 3"),
    ("#d55e00", ""),
    ("#009e73", "2 3"),
    ("#009e73", ""),
    ("#cc79a7", ""),
    ("#8c564b", "7 3"),
    ("#56b4e9", ""),
];

fn stroke(index: usize) -> Stroke {
    let (colour, dashes) = LINES.get(index % LINES.len()).copied().unwrap_or(("#000000", ""));
    Stroke { colour, dashes, width: if index == 0 { 3.5 } else { 2.0 } }
}

fn at(anchor: Anchor, style: Style) -> Style {
    Style { anchor, ..style }
}

fn name_style(index: usize) -> Style {
    Style { bold: index == 0, ..TEXT }
}

/// A part of a row of the overview: how far its bar reaches, and what is written beside it.
struct Bar {
    /// From and to, as shares of the column's width; a range has both, a bar begins at 0.
    from: f64,
    to: f64,
    text: String,
}

/// A column of the overview.
struct Column {
    title: &'static str,
    note: &'static str,
    bar: fn(&Row) -> Bar,
}

/// Longest delay that the overview shows, in seconds.
const DELAY_SHOWN_S: f64 = 1560.0;

const COLUMNS: [Column; 4] = [
    Column {
        title: "False rollbacks",
        note: "per 1,000 healthy deployments; less is better",
        bar: |row| {
            let share = row.healthy().share();
            Bar { from: 0.0, to: share, text: per_thousand(share) }
        },
    },
    Column {
        title: "Detected",
        note: "% of bad deployments; more is better",
        bar: |row| {
            let share = row.bad().detected_share();
            Bar { from: 0.0, to: share, text: per_cent(share) }
        },
    },
    Column {
        title: "Delay",
        note: "median to p95 of the detected ones, min:s",
        bar: |row| match (row.bad().delay_median_s(), row.bad().delay_p95_s()) {
            (Some(median), Some(p95)) => Bar {
                from: median / DELAY_SHOWN_S,
                to: p95 / DELAY_SHOWN_S,
                text: format!("{} – {}", minutes(median), minutes(p95)),
            },
            _ => Bar { from: 0.0, to: 0.0, text: "–".to_owned() },
        },
    },
    Column {
        title: "Harmed",
        note: "% of the requests that a fault could hurt",
        bar: |row| {
            let share = row.bad().harmed_share().unwrap_or(0.0);
            Bar { from: 0.0, to: share, text: per_cent(share) }
        },
    },
];

/// Four columns of bars, one row for each detector.
#[must_use]
pub fn overview(board: &Board) -> String {
    const LEFT: f64 = 215.0;
    const WIDTH: f64 = 165.0;
    const GAP: f64 = 105.0;
    const TOP: f64 = 60.0;
    const ROW: f64 = 30.0;
    let height = TOP + ROW * board.rows.len() as f64 + 16.0;
    let mut picture =
        Picture::new(LEFT + 4.0 * (WIDTH + GAP), height, "False rollbacks, detection, delay and harm by detector");
    for (index, row) in board.rows.iter().enumerate() {
        let y = TOP + ROW * index as f64;
        picture.text(LEFT - 14.0, y + 20.0, &at(Anchor::End, name_style(index)), row.contestant.name);
    }
    for (column, x) in COLUMNS.iter().zip((0_u8..).map(|index| LEFT + f64::from(index) * (WIDTH + GAP))) {
        picture.text(x, 24.0, &TITLE, column.title);
        picture.text(x, 42.0, &SMALL, column.note);
        picture.line(&[(x, TOP - 4.0), (x, height - 12.0)], &HAIR);
        for (index, row) in board.rows.iter().enumerate() {
            let y = TOP + ROW * index as f64;
            let bar = (column.bar)(row);
            let (from, to) = (x + bar.from * WIDTH, x + bar.to.min(1.05) * WIDTH);
            let colour = if index == 0 { stroke(0).colour } else { "#8c959f" };
            picture.area((from, y + 7.0), ((to - from).max(1.5), ROW - 13.0), colour);
            picture.text(to + 6.0, y + 20.0, &name_style(index), &bar.text);
        }
    }
    picture.finish()
}

/// Detected against false rollbacks, one dot for each detector.
#[must_use]
pub fn trade_off(board: &Board) -> String {
    const LEFT: f64 = 70.0;
    const TOP: f64 = 50.0;
    const SIZE: (f64, f64) = (640.0, 400.0);
    const TICKS: [f64; 9] = [0.0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0];
    let mut picture = Picture::new(LEFT + SIZE.0 + 130.0, TOP + SIZE.1 + 56.0, "Detected against false rollbacks");
    let x = |share: f64| LEFT + share.sqrt() * SIZE.0;
    let y = |share: f64| TOP + (1.0 - share) * SIZE.1;
    picture.text(LEFT, 26.0, &TITLE, "Bad deployments detected, healthy ones rolled back (top left is best)");
    for tick in [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] {
        picture.line(&[(LEFT, y(tick)), (LEFT + SIZE.0, y(tick))], &HAIR);
        picture.text(LEFT - 8.0, y(tick) + 4.0, &at(Anchor::End, SMALL), &format!("{} %", per_cent(tick)));
    }
    for tick in TICKS {
        picture.line(&[(x(tick), TOP), (x(tick), TOP + SIZE.1)], &HAIR);
        picture.text(x(tick), TOP + SIZE.1 + 18.0, &at(Anchor::Middle, SMALL), &per_thousand(tick));
    }
    let caption = "false rollbacks per 1,000 healthy deployments (square root scale)";
    picture.text(LEFT + SIZE.0 / 2.0, TOP + SIZE.1 + 42.0, &at(Anchor::Middle, TEXT), caption);
    picture.upright_text(20.0, TOP + SIZE.1 / 2.0, &at(Anchor::Middle, TEXT), "bad deployments detected");
    // Where names stand: first and last x, y.
    let mut taken: Vec<(f64, f64, f64)> = Vec::new();
    for (index, row) in board.rows.iter().enumerate() {
        let (dot_x, dot_y) = (x(row.healthy().share()), y(row.bad().detected_share()));
        picture.dot(dot_x, dot_y, if index == 0 { 8.0 } else { 6.0 }, stroke(index).colour);
        let mut label_y = dot_y + 4.0;
        let width = 12.0 + 7.5 * row.contestant.name.chars().count() as f64;
        let overlaps = |from: f64, to: f64| from < dot_x + width && dot_x < to;
        // Names that would overlap move down.
        while taken.iter().any(|(from, to, y)| overlaps(*from, *to) && (y - label_y).abs() < 14.0) {
            label_y += 15.0;
        }
        taken.push((dot_x, dot_x + width, label_y));
        picture.text(dot_x + 12.0, label_y, &name_style(index), row.contestant.name);
    }
    picture.finish()
}

/// Some of a detector's outcomes, put together.
type Part = fn(&Row) -> Cell;

/// Share rolled back over time, bad deployments on the left, healthy ones on the right.
#[must_use]
pub fn over_time(board: &Board) -> String {
    const LEFT: f64 = 64.0;
    const TOP: f64 = 50.0;
    const SIZE: (f64, f64) = (350.0, 300.0);
    const GAP: f64 = 60.0;
    const SHOWN_S: f64 = 1560.0;
    let legend = LEFT + 2.0 * SIZE.0 + GAP + 24.0;
    let mut picture = Picture::new(legend + 225.0, TOP + SIZE.1 + 56.0, "Share rolled back over time");
    let panels: [(&str, &str, Part); 2] = [
        ("Bad deployments: high and early is good", "minutes since the fault began", Row::bad),
        ("Healthy deployments: low is good", "minutes since the start", Row::healthy),
    ];
    for ((title, caption, cell), left) in panels.into_iter().zip([LEFT, LEFT + SIZE.0 + GAP]) {
        let x = |seconds: f64| left + seconds / SHOWN_S * SIZE.0;
        let y = |share: f64| TOP + (1.0 - share) * SIZE.1;
        picture.text(left, 30.0, &Style { size: 14.0, ..TITLE }, title);
        for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
            picture.line(&[(left, y(tick)), (left + SIZE.0, y(tick))], &HAIR);
            picture.text(left - 8.0, y(tick) + 4.0, &at(Anchor::End, SMALL), &format!("{} %", per_cent(tick)));
        }
        for minute in [0.0, 5.0, 10.0, 15.0, 20.0, 25.0] {
            picture.line(&[(x(minute * 60.0), TOP + SIZE.1), (x(minute * 60.0), TOP + SIZE.1 + 6.0)], &HAIR);
            picture.text(x(minute * 60.0), TOP + SIZE.1 + 19.0, &at(Anchor::Middle, SMALL), &format!("{minute:.0}"));
        }
        picture.text(left + SIZE.0 / 2.0, TOP + SIZE.1 + 42.0, &at(Anchor::Middle, TEXT), caption);
        for (index, row) in board.rows.iter().enumerate().rev() {
            let cell = cell(row);
            let points: Vec<(f64, f64)> = (0..=156)
                .map(|step| f64::from(step) * 10.0)
                .map(|seconds| (x(seconds), y(cell.share_within(seconds))))
                .collect();
            picture.line(&points, &stroke(index));
        }
    }
    picture.upright_text(16.0, TOP + SIZE.1 / 2.0, &at(Anchor::Middle, TEXT), "rolled back");
    for (index, row) in board.rows.iter().enumerate() {
        let y = TOP + 14.0 + 24.0 * index as f64;
        picture.line(&[(legend, y), (legend + 28.0, y)], &stroke(index));
        picture.text(legend + 36.0, y + 4.0, &name_style(index), row.contestant.name);
    }
    picture.finish()
}

/// One half of the picture by class: which classes, what a share is called and how dark it gets.
struct Panel {
    title: &'static str,
    bad: bool,
    text: fn(f64) -> String,
    darkness: fn(f64) -> f64,
    colour: [f64; 3],
}

const PANELS: [Panel; 2] = [
    Panel { title: "Bad: % detected", bad: true, text: per_cent, darkness: |share| share, colour: BLUE },
    Panel {
        title: "Healthy: rolled back, per 1,000",
        bad: false,
        text: per_thousand,
        darkness: f64::sqrt,
        colour: RED,
    },
];

/// Detection and false rollbacks of each class, as two tables in colours.
#[must_use]
pub fn by_class(board: &Board) -> String {
    const LEFT: f64 = 215.0;
    const TOP: f64 = 134.0;
    const CELL: (f64, f64) = (50.0, 30.0);
    let rows = CELL.1 * board.rows.len() as f64;
    let count = |bad| board.series.classes.iter().filter(|class| class.is_bad() == bad).count();
    let width = LEFT + count(true).max(count(false)) as f64 * CELL.0 + 16.0;
    let mut picture = Picture::new(width, 2.0 * (TOP + rows + 16.0), "Rolled back by class and detector");
    for (panel, top) in PANELS.iter().zip([TOP, 2.0 * TOP + rows + 16.0]) {
        picture.text(LEFT, top - TOP + 24.0, &TITLE, panel.title);
        let classes: Vec<Class> =
            board.series.classes.iter().copied().filter(|class| class.is_bad() == panel.bad).collect();
        let x = |index: usize| LEFT + CELL.0 * index as f64;
        for (index, class) in classes.iter().enumerate() {
            picture.upright_text(x(index) + CELL.0 / 2.0 + 4.0, top - 8.0, &SMALL, class.name());
        }
        for (line, row) in board.rows.iter().enumerate() {
            let y = top + CELL.1 * line as f64;
            picture.text(LEFT - 14.0, y + 20.0, &at(Anchor::End, name_style(line)), row.contestant.name);
            for (index, class) in classes.iter().enumerate() {
                let share = row.class(*class).detected_share();
                let colour = shade((panel.darkness)(share), panel.colour);
                picture.area((x(index), y), (CELL.0 - 2.0, CELL.1 - 2.0), &colour);
                let ink = if share > 0.55 { "#ffffff" } else { "#24292f" };
                let style = Style { colour: ink, anchor: Anchor::Middle, ..name_style(line) };
                picture.text(x(index) + CELL.0 / 2.0 - 1.0, y + 19.0, &style, &(panel.text)(share));
            }
        }
        picture.line(
            &[(LEFT - 200.0, top + CELL.1 - 1.0), (x(classes.len()), top + CELL.1 - 1.0)],
            &Stroke { colour: GRID, ..HAIR },
        );
    }
    picture.finish()
}

const BLUE: [f64; 3] = [5.0, 80.0, 174.0];
const RED: [f64; 3] = [188.0, 76.0, 0.0];

/// A colour between nearly white (0) and this one (1).
fn shade(share: f64, full: [f64; 3]) -> String {
    let [red, green, blue] = full.map(|part| crate::math::count(246.0 + (part - 246.0) * share.clamp(0.0, 1.0)));
    format!("#{red:02x}{green:02x}{blue:02x}")
}
