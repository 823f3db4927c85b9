//! Instructions that a process carried out, as callgrind counts them: the one figure that does not depend on the machine's load.

use std::path::Path;

use super::error::Failure;

/// Millions of instructions in a file of callgrind.
///
/// # Errors
/// When the file is not there or has no total.
pub fn millions(file: &Path) -> Result<f64, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let total = total(&text).ok_or_else(|| format!("{} has no total", file.display()))?;
    Ok(f64::from(u32::try_from(total / 1_000)?) / 1_000.0)
}

/// The line `summary:` has what the program did, `totals:` what of it could be told by function; they agree when the program ended
/// well. A process that a signal ended has at least one of them.
fn total(text: &str) -> Option<u64> {
    let of = |key: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix(key));
        lines.filter_map(|rest| rest.split_whitespace().next()?.parse::<u64>().ok()).max()
    };
    of("summary:").max(of("totals:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_found() {
        // (case, file, total)
        let table = [
            (
                "both",
                "version: 1\nevents: Ir\nsummary: 12345678\n\nfn=(1) main\n1 5\ntotals: 12345678\n",
                Some(12_345_678),
            ),
            ("only totals", "events: Ir\nfn=(1)\n2 7\ntotals: 99\n", Some(99)),
            ("only summary", "summary: 42\n", Some(42)),
            ("several events", "events: Ir Dr\nsummary: 70 30\n", Some(70)),
            ("two parts", "summary: 10\ntotals: 10\nsummary: 30\ntotals: 30\n", Some(30)),
            ("none", "events: Ir\nfn=(1)\n", None),
            ("no number", "summary: many\n", None),
        ];
        for (case, text, expected) in table {
            assert_eq!(total(text), expected, "{case}");
        }
    }
}
