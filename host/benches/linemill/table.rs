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
    let lines: Vec<[&str; 6]> = std::iter::once(head)
        .chain(rows.iter().map(Row::cells))
        .collect();
    let width = |column: usize| {
        let widths = lines.iter().map(|line| line[column].chars().count());
        widths.max().unwrap_or(0)
    };
    for (at, line) in lines.iter().enumerate() {
        let cells: Vec<String> = (0..6)
            .map(|column| format!("{:1$}", line[column], width(column)))
            .collect();
        println!("| {} |", cells.join(" | "));
        if at == 0 {
            let dashes: Vec<String> = (0..6).map(|column| "-".repeat(width(column))).collect();
            println!("| {} |", dashes.join(" | "));
        }
    }
}
