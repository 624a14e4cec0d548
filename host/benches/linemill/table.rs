//! What was measured, beside its reference and its bar.

/// One line of the table.
#[derive(Default)]
pub struct Row {
    measure: String,
    ours: String,
    reference: String,
    ratio: String,
    bar: String,
    met: Option<bool>,
}

impl Row {
    /// Something measured; what is not set stays empty.
    pub fn new(measure: impl Into<String>, ours: impl Into<String>) -> Self {
        Row {
            measure: measure.into(),
            ours: ours.into(),
            ..Row::default()
        }
    }

    /// What it is compared to.
    pub fn beside(mut self, reference: impl Into<String>) -> Self {
        self.reference = reference.into();
        self
    }

    /// How it compares.
    pub fn ratio(mut self, ratio: f64) -> Self {
        self.ratio = format!("{ratio:.2}");
        self
    }

    /// What is to be reached, and whether it is.
    pub fn bar(mut self, bar: impl Into<String>, met: bool) -> Self {
        self.bar = bar.into();
        self.met = Some(met);
        self
    }

    fn cells(&self) -> [&str; 6] {
        let met = match self.met {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "",
        };
        [
            &self.measure,
            &self.ours,
            &self.reference,
            &self.ratio,
            &self.bar,
            met,
        ]
    }
}

/// Prints all rows as a Markdown table.
pub fn print(rows: &[Row]) {
    let head = ["measure", "linemill", "reference", "ratio", "bar", ""];
    let lines: Vec<[String; 6]> = rows
        .iter()
        .map(|row| row.cells().map(str::to_owned))
        .collect();
    markdown(&head.map(str::to_owned), &lines);
}

/// Prints a Markdown table, its columns below each other.
pub fn markdown<const N: usize>(head: &[String; N], lines: &[[String; N]]) {
    let width = |column: usize| {
        let cells = std::iter::once(head).chain(lines).map(|line| &line[column]);
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let dashes = widths.map(|width| "-".repeat(width));
    for line in [head, &dashes].into_iter().chain(lines) {
        let cells: Vec<String> = std::iter::zip(line, widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        println!("| {} |", cells.join(" | "));
    }
}
