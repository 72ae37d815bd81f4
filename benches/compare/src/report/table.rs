//! A table that reads well both in a terminal and as Markdown, and how numbers are written in it.

/// Cells of text under a head.
#[derive(Clone, Debug)]
pub struct Table {
    /// How many columns are of text; those of numbers follow.
    texts: usize,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty one. So many columns are of text, those behind them of numbers.
    pub fn new<T: Into<String>>(texts: usize, head: impl IntoIterator<Item = T>) -> Self {
        let head = head.into_iter().map(Into::into).collect();
        let rows = Vec::new();
        Self { texts, head, rows }
    }

    /// One more row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// As Markdown, padded.
    pub fn text(&self) -> String {
        let width = |column: usize| {
            let cells = self
                .rows
                .iter()
                .chain([&self.head])
                .filter_map(|row| row.get(column));
            cells
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
                .max(3)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: &[String]| {
            let mut line = String::from("|");
            for (column, width) in widths.iter().enumerate() {
                let cell = cells.get(column).map_or("", String::as_str);
                let padded = match column < self.texts {
                    true => format!(" {cell:<width$} |"),
                    false => format!(" {cell:>width$} |"),
                };
                line.push_str(&padded);
            }
            line + "\n"
        };
        let rule = widths
            .iter()
            .enumerate()
            .map(|(column, width)| match column < self.texts {
                true => "-".repeat(*width),
                false => "-".repeat(width - 1) + ":",
            });
        let mut text = line(&self.head) + &line(&rule.collect::<Vec<_>>());
        text.extend(self.rows.iter().map(|row| line(row)));
        text
    }
}

/// A number with as many digits as say something.
pub fn number(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "-".to_owned(),
        1e6.. => format!("{:.2} M", value / 1e6),
        1e5.. => format!("{:.0} k", value / 1e3),
        1e4.. => format!("{:.1} k", value / 1e3),
        1e3.. => format!("{:.2} k", value / 1e3),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_one_another() {
        let mut table = Table::new(1, ["work", "events/s"]);
        table.row(vec!["A1".into(), number(5_950.0)]);
        table.row(vec!["longer".into(), number(1_150_000.0)]);
        let expected = "\
| work   | events/s |
| ------ | -------: |
| A1     |   5.95 k |
| longer |   1.15 M |
";
        assert_eq!(table.text(), expected);
    }

    #[test]
    fn numbers_are_short() {
        let written = [41_796.0, 102_000.0, 382.4, 24.26, 0.64, f64::NAN].map(number);
        assert_eq!(written, ["41.8 k", "102 k", "382", "24.3", "0.64", "-"]);
    }
}
