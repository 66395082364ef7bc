//! What comes out: rows of samples beside their targets, as a Markdown table.

use std::fmt;

/// What a value must come to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// Said beside a row that has one.
    None,
}

impl Target {
    fn judge(self, median: f64) -> &'static str {
        let reached = match self {
            Self::AtLeast(least) => median >= least,
            Self::AtMost(most) => median <= most,
            Self::None => return "",
        };
        if reached { "yes" } else { "**no**" }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "at least {least}"),
            Self::AtMost(most) => write!(f, "at most {most}"),
            Self::None => Ok(()),
        }
    }
}

/// Rows that are printed as they come in, so that a run that is stopped has said what it knows.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<String>,
}

impl Table {
    /// Adds a row for samples of one quantity. The median is what counts.
    pub(crate) fn row(&mut self, what: &str, unit: &str, mut samples: Vec<f64>, target: Target) {
        samples.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (samples.first(), samples.last()) else { return };
        let median = median(&samples);
        let row = format!(
            "| {what} | {unit} | {} | {} | {} | {target} | {} |",
            short(*min),
            short(median),
            short(*max),
            target.judge(median)
        );
        eprintln!("{row}");
        self.rows.push(row);
    }

    /// Adds a line that says why there is no row, or what stands behind one.
    pub(crate) fn note(&mut self, note: &str) {
        let row = format!("| {note} | | | | | | |");
        eprintln!("{row}");
        self.rows.push(row);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | unit | min | median | max | target | reached |")?;
        writeln!(f, "|---|---|---|---|---|---|---|")?;
        self.rows.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

/// The middle of sorted samples, of which there is at least one.
fn median(sorted: &[f64]) -> f64 {
    let (low, high) = ((sorted.len() - 1) / 2, sorted.len() / 2);
    f64::midpoint(sorted[low], sorted[high])
}

/// Three digits, or all before the point.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}
