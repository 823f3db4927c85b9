use super::*;

type Points = &'static [(i64, f64)];

fn series(points: &[(i64, f64)]) -> Operand {
    Operand::Series(points.iter().copied().collect())
}

fn inputs(given: &[(&str, Points)]) -> BTreeMap<String, Operand> {
    given.iter().map(|(id, points)| ((*id).to_owned(), series(points))).collect()
}

/// Over `a` = 1, 2, missing, 0 and `b` = 10, missing, 30, 0 at the moments 1 to 4; moment 5 has nothing.
fn evaluate(text: &str) -> Result<Operand, MathError> {
    let inputs =
        inputs(&[("a", &[(1, 1.0), (2, 2.0), (4, 0.0)]), ("b", &[(1, 10.0), (3, 30.0), (4, 0.0)]), ("none", &[])]);
    Expression::parse(text)?.evaluate(&inputs, &[1, 2, 3, 4, 5])
}

#[test]
fn expressions_over_series() {
    let table: &[(&str, &str, Points)] = &[
        ("missing counts as zero in a sum", "a + b", &[(1, 11.0), (2, 2.0), (3, 30.0), (4, 0.0)]),
        ("in a difference", "a - b", &[(1, -9.0), (2, 2.0), (3, -30.0), (4, 0.0)]),
        ("in a product", "a * b", &[(1, 10.0), (2, 0.0), (3, 0.0), (4, 0.0)]),
        ("division by zero drops, nothing divided is zero", "b / a", &[(1, 10.0), (2, 0.0)]),
        ("a number meets only points that are there", "a + 1", &[(1, 2.0), (2, 3.0), (4, 1.0)]),
        ("number first", "10 / a", &[(1, 10.0), (2, 5.0)]),
        ("unary minus binds tightest", "-a * 2", &[(1, -2.0), (2, -4.0), (4, 0.0)]),
        ("product before sum", "a + 2 * a", &[(1, 3.0), (2, 6.0), (4, 0.0)]),
        ("parentheses", "(a + 2) * a", &[(1, 3.0), (2, 8.0), (4, 0.0)]),
        ("left to right", "a - 1 - 1", &[(1, -1.0), (2, 0.0), (4, -2.0)]),
        ("comparison of series needs both", "a < b", &[(1, 1.0), (4, 0.0)]),
        ("comparison with a number", "a >= 1", &[(1, 1.0), (2, 1.0), (4, 0.0)]),
        ("at most", "a <= 1", &[(1, 1.0), (2, 0.0), (4, 1.0)]),
        ("equal", "a == 2", &[(1, 0.0), (2, 1.0), (4, 0.0)]),
        ("not equal", "a != 2", &[(1, 1.0), (2, 0.0), (4, 1.0)]),
        ("and before or", "a > 1 OR a > 0 AND b > 0", &[(1, 1.0), (4, 0.0)]),
        ("the other spelling", "a > 0 && b > 0 || a > 5", &[(1, 1.0), (4, 0.0)]),
        ("if with three arguments", "IF(a > 1, a, -1)", &[(1, -1.0), (2, 2.0), (4, -1.0)]),
        ("if drops where the condition is missing", "IF(b, 1, 2)", &[(1, 1.0), (3, 1.0), (4, 2.0)]),
        ("if drops where the branch is missing", "IF(b >= 0, a)", &[(1, 1.0), (4, 0.0)]),
        ("if with two arguments drops what is false", "IF(a, a)", &[(1, 1.0), (2, 2.0)]),
        ("if with a number as condition", "IF(1 > 2, a, b)", &[(1, 10.0), (3, 30.0), (4, 0.0)]),
        ("fill with a number", "FILL(a, 7)", &[(1, 1.0), (2, 2.0), (3, 7.0), (4, 0.0), (5, 7.0)]),
        ("fill with a series", "FILL(a, b)", &[(1, 1.0), (2, 2.0), (3, 30.0), (4, 0.0)]),
        ("fill repeats", "FILL(b, REPEAT)", &[(1, 10.0), (2, 10.0), (3, 30.0), (4, 0.0), (5, 0.0)]),
        ("fill repeats nothing before the first", "FILL(none, REPEAT)", &[]),
        ("fill of an empty series", "FILL(none, 0)", &[(1, 0.0), (2, 0.0), (3, 0.0), (4, 0.0), (5, 0.0)]),
        ("maximum of a list", "MAX([a, b])", &[(1, 10.0), (2, 2.0), (3, 30.0), (4, 0.0)]),
        ("minimum of a list", "MIN([a, b])", &[(1, 1.0), (2, 2.0), (3, 30.0), (4, 0.0)]),
        ("average of those that are there", "AVG([a, b])", &[(1, 5.5), (2, 2.0), (3, 30.0), (4, 0.0)]),
        ("sum of a list", "SUM([a, b, a])", &[(1, 12.0), (2, 4.0), (3, 30.0), (4, 0.0)]),
        ("a series and its own maximum", "a / MAX(a)", &[(1, 0.5), (2, 1.0), (4, 0.0)]),
        ("rounding", "CEIL(a / 4) + FLOOR(a / 4) + ABS(-a)", &[(1, 2.0), (2, 3.0), (4, 0.0)]),
        ("numbers with point and exponent", "a * .5 + 1.5e1 - 2E-1 * 0", &[(1, 15.5), (2, 16.0), (4, 15.0)]),
        ("a quotient that does not exist", "a + 1 / 0", &[(1, 1.0), (2, 2.0), (4, 0.0)]),
        ("availability", "IF(b > 0, 100 * (1 - FILL(a, 0) / b), 100)", &[(1, 90.0), (3, 100.0), (4, 100.0)]),
    ];
    for (case, text, expected) in table {
        assert_eq!(evaluate(text), Ok(series(expected)), "{case}: {text}");
    }
    let floor = [(1, 1.5), (2, 2.0), (4, 1.5)];
    assert_eq!(evaluate("MAX([a, 1.5])"), Ok(series(&floor)), "a number beside a series");
    assert_eq!(evaluate("MIN([3, 2])"), Ok(Operand::Scalar(2.0)), "numbers alone");
    assert_eq!(evaluate("SUM(a) + 2 * 3"), Ok(Operand::Scalar(9.0)), "a single series sums up to a number");
}

/// `IF(heartbeat + 0*invocations > 0, 0, raw)`: alive, dead and blind.
#[test]
fn the_dead_man_expression() {
    let dead_man = Expression::parse("IF(heartbeat + 0*invocations > 0, 0, raw)").unwrap();
    let raw = Expression::parse("IF(errors / invocations > 0.05 OR p99 > 800, 1, 0)").unwrap();
    assert_eq!(dead_man.ids().into_iter().collect::<Vec<_>>(), ["heartbeat", "invocations", "raw"]);
    // Moment 1: alive and bad. 2: dead and bad. 3: dead and good. 4: alive without traffic. 5: nothing at all.
    let mut inputs = inputs(&[
        ("heartbeat", &[(1, 1.0), (4, 1.0)]),
        ("invocations", &[(1, 100.0), (2, 100.0), (3, 100.0)]),
        ("errors", &[(1, 50.0), (2, 50.0), (3, 0.0)]),
        ("p99", &[(1, 20.0), (2, 20.0), (3, 20.0)]),
    ]);
    let grid = [1, 2, 3, 4, 5];
    let value = raw.evaluate(&inputs, &grid).unwrap();
    assert_eq!(value, series(&[(1, 1.0), (2, 1.0), (3, 0.0)]));
    inputs.insert("raw".into(), value);
    assert_eq!(dead_man.evaluate(&inputs, &grid), Ok(series(&[(1, 0.0), (2, 1.0), (3, 0.0), (4, 0.0)])));
}

#[test]
fn wrong_expressions_say_what_is_wrong() {
    let deep = format!("{}a{}", "(".repeat(200), ")".repeat(200));
    let minuses = format!("{}a", "-".repeat(2000));
    let chain = format!("a{}", "+a".repeat(900));
    let long = "a+".repeat(2000);
    let table = [
        ("RATE(a)", "function RATE is not supported"),
        ("SEARCH(a)", "function SEARCH is not supported"),
        ("a +", "found the end"),
        ("a b", "expected an operator or the end, found `b`"),
        ("(a", "expected ), found the end"),
        ("a ^ 2", "unexpected character `^` at position 2"),
        ("a + é", "unexpected character `é` at position 4"),
        ("1.2.3", "`1.2.3` is not a number"),
        ("a + 1e999", "`1e999` is not a number"),
        (&chain, "nested too deeply"),
        ("IF(a)", "IF takes a condition and one or two values, got 1"),
        ("IF(a, 1, 2, 3)", "got 4"),
        ("ABS(a, b)", "ABS takes one argument, got 2"),
        ("FILL(a, LINEAR)", "found LINEAR"),
        ("FILL(1, 2)", "expected a time series in FILL"),
        ("AND", "found AND"),
        ("missing + 1", "id `missing` is not one of the queries"),
        ("[a, b] + 1", "an operand must be a single time series"),
        ("", "found the end"),
        (&deep, "nested too deeply"),
        (&minuses, "nested too deeply"),
        (&long, "more than 2048 characters"),
    ];
    for (text, message) in table {
        let error = evaluate(text).unwrap_err().to_string();
        assert!(error.contains(message), "{text}: {error}");
    }
}

proptest::proptest! {
    /// Any text is either an expression or an error.
    #[test]
    fn no_text_panics(text in "[a-zA-Z0-9_ +*/<>=!&|()\\[\\],.^-]{0,80}") {
        drop(evaluate(&text));
    }
}
