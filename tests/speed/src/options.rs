//! What the benchmarks read from their command lines, and the files that they name.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use crate::Failure;

/// The number in `text`.
///
/// # Errors
/// A sentence that names `flag` and what is allowed.
pub fn number<T: FromStr + PartialOrd + std::fmt::Display>(
    flag: &str,
    text: &str,
    least: T,
    most: T,
) -> Result<T, String> {
    match text.parse::<T>() {
        Ok(value) if (&least..=&most).contains(&&value) => Ok(value),
        Ok(_) | Err(_) => Err(format!("{flag} is `{text}`, allowed is {least} to {most}")),
    }
}

/// The numbers in `text`, which are separated by commas and grow.
///
/// # Errors
/// A sentence that names `flag` and what is allowed.
pub fn growing_numbers(flag: &str, text: &str, least: usize, most: usize) -> Result<Vec<usize>, String> {
    let numbers: Vec<usize> =
        text.split(',').map(|part| number(flag, part.trim(), least, most)).collect::<Result<_, String>>()?;
    if numbers.is_sorted_by(|a, b| a < b) {
        Ok(numbers)
    } else {
        Err(format!("{flag} is `{text}`, and each number must be greater than the one before"))
    }
}

/// Folder of the function binaries: `given`, or the one that this program is in.
///
/// # Errors
/// When nobody can tell.
pub fn functions_folder(given: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(folder) = given {
        return Ok(std::path::absolute(folder)?);
    }
    let own = std::env::current_exe()?;
    let folder = own.parent().ok_or("cannot tell where the functions are: --functions DIR")?;
    Ok(folder.to_path_buf())
}

/// Writes what was measured into `file`.
///
/// # Errors
/// A sentence that names `file`.
pub fn write(file: &Path, text: String) -> Result<(), Failure> {
    std::fs::write(file, text).map_err(|error| format!("could not write {}: {error}", file.display()).into())
}

/// Runs a benchmark: prints its help, says what is wrong with its options (2) or why it could not run (3), or answers its own
/// code.
pub fn run<Options>(
    name: &str,
    help: &str,
    options: Result<Option<Options>, String>,
    bench: impl AsyncFnOnce(Options) -> Result<ExitCode, Failure>,
) -> ExitCode {
    let options = match options {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{help}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("{name}: {why}; see --help");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{name}: cannot start: {error}");
            return ExitCode::from(3);
        }
    };
    runtime.block_on(bench(options)).unwrap_or_else(|error| {
        eprintln!("{name}: {error}");
        ExitCode::from(3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_named() {
        assert_eq!(number("--warm", "3", 1, 10), Ok(3));
        for text in ["0", "11", "x", "-1", ""] {
            let error = number("--warm", text, 1_u32, 10).unwrap_err();
            assert_eq!(error, format!("--warm is `{text}`, allowed is 1 to 10"));
        }
    }

    #[test]
    fn sizes_grow() {
        let sizes = |text| growing_numbers("--deployments", text, 1, 2000);
        assert_eq!(sizes("1, 10,100"), Ok(vec![1, 10, 100]));
        assert_eq!(sizes("7"), Ok(vec![7]));
        for wrong in ["10,1", "1,1", "1,,2", "", "1,2001"] {
            let error = sizes(wrong).unwrap_err();
            assert!(error.starts_with("--deployments is `"), "{wrong}: {error}");
        }
    }
}
