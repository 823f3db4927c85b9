//! A seeded part of the scoreboard, small enough for every test run: Snapback reaches its targets, traces are the same on
//! every machine, and the program writes the same bytes twice.
#![allow(clippy::unwrap_used, reason = "a test helper may panic")]

use snapback_detection::generate::generate;
use snapback_detection::run::{Series, play_all};
use snapback_detection::score::{Cell, Outcome};
use snapback_detection::snapback::SNAPBACK;
use snapback_detection::targets::Targets;
use snapback_detection::trace::{Class, Plan, RATES, Spec};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// How Snapback judges ten of each class, rate and plan.
fn outcomes(classes: &[Class], rates: &[f64]) -> Vec<Outcome> {
    let series = Series { classes: classes.to_vec(), rates: rates.to_vec(), ..Series::full(1, 10, 60) };
    play_all(&series.specs(), &[SNAPBACK], &|_| {}).into_iter().flatten().collect()
}

#[test]
fn a_part_of_the_targets_is_reached() {
    let healthy: Vec<Class> = Class::ALL.into_iter().filter(|class| !class.is_bad()).collect();
    let at_both = [Class::ErrorsLarge, Class::Silent, Class::ErrorsInBake];
    let at_one = [
        Class::ErrorsRamp,
        Class::LatencyShift,
        Class::Transactions,
        Class::ErrorsOnClean,
        Class::OnsetInShift,
        Class::OutageInBake,
    ];
    let mut all = outcomes(&healthy, &[5.0, 100.0]);
    all.extend(outcomes(&at_both, &[5.0, 100.0]));
    all.extend(outcomes(&at_one, &[100.0]));
    let targets = Targets::parse(include_str!("../targets2.json")).unwrap();
    let checked = targets.check(&all);
    assert!(checked.missed.is_empty(), "{:#?}", checked.missed);
    // The mean, 32 healthy cells, and share and delay of 12 bad ones.
    assert_eq!(checked.reached, 1 + 32 + 2 * 12);
}

#[test]
fn a_tiny_service_is_left_alone_or_called_too_small() {
    let healthy = Cell::of(&outcomes(&[Class::Healthy, Class::SpikyTraffic], &[0.3]));
    assert_eq!((healthy.count, healthy.rolled_back), (40, 0));
    assert!(healthy.inconclusive > 0, "18 requests a minute cannot always tell: {healthy:?}");
}

/// 64-bit FNV-1a of everything that a detector could see.
fn fingerprint(spec: &Spec) -> u64 {
    let deployment = generate(spec);
    let text = format!("{:?} {:?} {:?}", deployment.arrivals, deployment.onset_s, deployment.harmed);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[test]
fn traces_are_the_same_on_every_machine() {
    let all: Vec<u64> = Class::ALL
        .into_iter()
        .zip(RATES.into_iter().cycle())
        .zip(Plan::ALL.into_iter().cycle())
        .zip([60, 10].into_iter().cycle())
        .map(|(((class, rate), plan), bucket_s)| fingerprint(&Spec { seed: 42, class, rate, plan, bucket_s, index: 3 }))
        .collect();
    let whole = all.iter().fold(0_u64, |sum, one| sum.rotate_left(7) ^ one);
    // Another number is no error by itself: the generator, or fastrand, was changed. Then make the scoreboard anew.
    assert_eq!(format!("{whole:016x}"), "6248e86bd89e5df6", "{all:x?}");
}

fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench-detection")).args(arguments).output().unwrap()
}

/// All files of a folder with their contents, by name.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.file_name().unwrap().into(), std::fs::read(&path).unwrap())).collect()
}

#[test]
fn the_same_command_writes_the_same_bytes() {
    let folders = ["scoreboard-1", "scoreboard-2"].map(|name| Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
    for folder in &folders {
        let output = bench(&["--n", "1", "--bucket", "60", "--seed", "9", "--out", folder.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout.is_empty(), "progress goes to stderr");
    }
    let [one, two] = folders.map(|folder| contents(&folder));
    let names: Vec<&str> = one.iter().map(|(name, _)| name.to_str().unwrap()).collect();
    assert_eq!(names, ["README.md", "by-class.svg", "over-time.svg", "overview.svg", "scores.csv", "trade-off.svg"]);
    assert!(one == two, "two runs differ");
    let page = String::from_utf8(one.into_iter().next().unwrap().1).unwrap();
    assert!(page.contains("`make bench-detection ARGS='--seed 9 --n 1 --bucket 60'`"), "{page}");
}

#[test]
fn wrong_usage_is_told() {
    // (arguments, exit code, what stderr says)
    let table: [(&[&str], i32, &str); 7] = [
        (&["--help"], 0, ""),
        (&["--n", "0"], 2, "--n 0: allowed is 1 to 1000"),
        (&["--n", "many"], 2, "--n many: not a whole number"),
        (&["--seed"], 2, "--seed needs a value"),
        (&["--bucket", "30"], 2, "--bucket 30: allowed are 60 and 10"),
        (&["--fast"], 2, "unknown argument --fast"),
        (&["--n", "1", "--out", "/dev/null/nowhere"], 2, "could not write to /dev/null/nowhere"),
    ];
    for (arguments, code, message) in table {
        let output = bench(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(message), "{arguments:?}: {said}");
    }
    assert!(String::from_utf8_lossy(&bench(&["-h"]).stdout).contains("--bucket S"));
}
