//! Tables in Markdown, aligned so that they are read as they are.

use std::fmt;

/// A table: the first column to the left, all others to the right unless asked for otherwise.
#[derive(Debug, Clone, Default)]
pub struct Table {
    is_to_the_left: bool,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new<'a>(head: impl IntoIterator<Item = &'a str>) -> Self {
        Self { is_to_the_left: false, head: head.into_iter().map(str::to_owned).collect(), rows: Vec::new() }
    }

    /// The same with all columns to the left: cells that are more than a number.
    #[must_use]
    pub fn to_the_left(self) -> Self {
        Self { is_to_the_left: true, ..self }
    }

    /// Adds a row; cells that are missing are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    fn width(&self, column: usize) -> usize {
        let cells = std::iter::once(&self.head).chain(&self.rows).filter_map(|row| row.get(column));
        // Room for the mark of the alignment.
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = (0..self.head.len()).map(|column| self.width(column)).collect();
        let is_left = |column| column == 0 || self.is_to_the_left;
        let marks = widths.iter().enumerate().map(|(column, width)| match is_left(column) {
            true => "-".repeat(*width),
            false => format!("{}:", "-".repeat(width - 1)),
        });
        let marks: Vec<String> = marks.collect();
        let (head, rest) = (std::iter::once(&self.head), std::iter::once(&marks).chain(&self.rows));
        for row in head.chain(rest) {
            for (column, width) in widths.iter().enumerate() {
                let cell = row.get(column).map_or("", String::as_str);
                let bar = if column == 0 { "|" } else { "" };
                match is_left(column) {
                    true => write!(formatter, "{bar} {cell:<width$} |")?,
                    false => write!(formatter, "{bar} {cell:>width$} |")?,
                }
            }
            writeln!(formatter)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned() {
        let mut table = Table::new(["start", "median", "p9"]);
        table.row(["warm".to_owned(), "7 µs".to_owned(), "1".to_owned()]);
        table.row(["cold, long".to_owned()]);
        let expected = "\
| start      | median |  p9 |
| ---------- | -----: | --: |
| warm       |   7 µs |   1 |
| cold, long |        |     |
";
        assert_eq!(table.to_string(), expected);
        let expected = "\
| start      | median | p9  |
| ---------- | ------ | --- |
| warm       | 7 µs   | 1   |
| cold, long |        |     |
";
        assert_eq!(table.to_the_left().to_string(), expected);
    }
}
