//! What was measured, as a table for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::arguments::Request;
use crate::contest::Outcome;
use crate::statistics::Summary;

/// A goal of the project's, and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Goal {
    what: String,
    most: f64,
    /// `None`: could not be measured.
    measured: Option<f64>,
    /// For a ratio, that of the minima: what is left of it when the machine's noise is taken away.
    of_minima: Option<f64>,
    met: Option<bool>,
    #[serde(skip)]
    ratio_of: Option<(String, &'static str, &'static str)>,
}

impl Goal {
    /// The median of `ours` against that of `theirs` in a table.
    pub(crate) fn ratio(table: &str, ours: &'static str, theirs: &'static str, most: f64) -> Self {
        Self {
            what: format!("{table}: {ours} / {theirs}"),
            most,
            measured: None,
            of_minima: None,
            met: None,
            ratio_of: Some((table.to_owned(), ours, theirs)),
        }
    }

    /// A whole number.
    pub(crate) fn at_most(what: &str, measured: u64, most: u64) -> Self {
        // Sizes and counts here are far below the 2^53 that a float holds exactly.
        #[allow(clippy::cast_precision_loss)]
        let (measured, most) = (measured as f64, most as f64);
        Self::at_most_ms(what, measured, most)
    }

    /// A number with a fraction.
    pub(crate) fn at_most_ms(what: &str, measured: f64, most: f64) -> Self {
        Self {
            what: what.to_owned(),
            most,
            measured: Some(measured),
            of_minima: None,
            met: Some(measured <= most),
            ratio_of: None,
        }
    }
}

#[derive(Debug, Serialize)]
struct Row {
    name: &'static str,
    #[serde(flatten)]
    summary: Option<Summary>,
    failed: Option<String>,
}

#[derive(Debug, Serialize)]
struct Table {
    name: String,
    what: String,
    rows: Vec<Row>,
}

/// Everything that one run of the bench found out.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    kernel: String,
    cpus: usize,
    rounds: usize,
    tables: Vec<Table>,
    figures: BTreeMap<String, Summary>,
    goals: Vec<Goal>,
    notes: Vec<String>,
}

impl Report {
    pub(crate) fn new(request: &Request) -> Self {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            kernel: kernel.trim().to_owned(),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            rounds: request.rounds,
            tables: Vec::new(),
            figures: BTreeMap::new(),
            goals: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds what contenders did in turns.
    pub(crate) fn table(&mut self, name: &str, what: &str, outcomes: Vec<Outcome>) {
        let rows = outcomes
            .into_iter()
            .map(|outcome| match outcome.result {
                Ok(summary) => Row { name: outcome.name, summary: Some(summary), failed: None },
                Err(words) => Row { name: outcome.name, summary: None, failed: Some(words) },
            })
            .collect();
        self.tables.push(Table { name: name.to_owned(), what: what.to_owned(), rows });
    }

    /// Adds one measurement that stands by itself.
    pub(crate) fn figure(&mut self, what: &str, summary: Summary) {
        self.figures.insert(what.to_owned(), summary);
    }

    /// Adds a goal. A ratio is taken from the table of its name, which must be there already.
    pub(crate) fn goal(&mut self, mut goal: Goal) {
        if let Some((table, ours, theirs)) = &goal.ratio_of {
            let both = self.summary(table, ours).zip(self.summary(table, theirs));
            goal.measured = both.map(|(ours, theirs)| ours.median_ms / theirs.median_ms);
            goal.of_minima = both.map(|(ours, theirs)| ours.minimum_ms / theirs.minimum_ms);
            goal.met = goal.measured.map(|measured| measured <= goal.most);
        }
        self.goals.push(goal);
    }

    /// Adds something to know.
    pub(crate) fn note(&mut self, words: String) {
        self.notes.push(words);
    }

    fn summary(&self, table: &str, name: &str) -> Option<Summary> {
        self.tables.iter().find(|entry| entry.name == table)?.rows.iter().find(|row| row.name == name)?.summary
    }

    /// For programs.
    pub(crate) fn json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).unwrap_or_default();
        json.push('\n');
        json
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String never fails.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(
            out,
            "Linux {}, {} CPUs; times in milliseconds; ratios are of medians within this run",
            self.kernel, self.cpus
        )?;
        for table in &self.tables {
            writeln!(out, "\n{}: {}", table.name, table.what)?;
            writeln!(
                out,
                "  {:<12} {:>9} {:>9} {:>9} {:>8} {:>12}",
                "", "minimum", "median", "p90", "samples", "to casemate"
            )?;
            let ours = self.summary(&table.name, "casemate").map(|ours| ours.median_ms);
            for row in &table.rows {
                match (&row.summary, &row.failed) {
                    (Some(s), _) => {
                        let ratio = ours.map_or(String::new(), |ours| format!("{:.2}x", s.median_ms / ours));
                        writeln!(
                            out,
                            "  {:<12} {:>9.2} {:>9.2} {:>9.2} {:>8} {ratio:>12}",
                            row.name, s.minimum_ms, s.median_ms, s.p90_ms, s.samples
                        )?;
                    }
                    (None, failed) => {
                        writeln!(out, "  {:<12} failed: {}", row.name, failed.as_deref().unwrap_or("not measured"))?;
                    }
                }
            }
        }
        if !self.figures.is_empty() {
            writeln!(out)?;
        }
        for (what, s) in &self.figures {
            writeln!(out, "  {what}: minimum {:.2}, median {:.2}, p90 {:.2}", s.minimum_ms, s.median_ms, s.p90_ms)?;
        }
        writeln!(out, "\ngoals")?;
        for goal in &self.goals {
            let verdict = match goal.met {
                Some(true) => "met",
                Some(false) => "MISSED",
                None => "not measured",
            };
            let measured = goal.measured.map_or("-".to_owned(), |measured| format!("{measured:.3}"));
            let minima = goal.of_minima.map_or(String::new(), |ratio| format!(", of minima {ratio:.3}"));
            writeln!(out, "  {verdict:<12} {:<48} {measured:>10}  (at most {:.3}{minima})", goal.what, goal.most)?;
        }
        if !self.notes.is_empty() {
            writeln!(out, "\nnotes")?;
        }
        for note in &self.notes {
            writeln!(out, "  {note}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn outcome(name: &'static str, ms: u64) -> Outcome {
        Outcome { name, result: Summary::of(&[Duration::from_millis(ms)]).ok_or_else(String::new) }
    }

    #[test]
    fn goals_are_held_against_medians() {
        let request = crate::arguments::parse(std::iter::empty()).unwrap().unwrap();
        let mut report = Report::new(&request);
        let failed = Outcome { name: "docker", result: Err("no daemon".to_owned()) };
        report.table("start", "x", vec![outcome("floor", 2), outcome("casemate", 3), outcome("crun", 5), failed]);
        report.goal(Goal::ratio("start", "casemate", "floor", 2.0));
        report.goal(Goal::ratio("start", "casemate", "crun", 0.5));
        report.goal(Goal::ratio("start", "casemate", "docker", 0.1));
        report.goal(Goal::at_most("supervisor", 700, 700));
        let met: Vec<Option<bool>> = report.goals.iter().map(|goal| goal.met).collect();
        assert_eq!(met, [Some(true), Some(false), None, Some(true)]);
        let text = report.text();
        assert!(text.contains("MISSED") && text.contains("no daemon"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["tables"][0]["rows"][1]["median_ms"], 3.0);
        assert_eq!(json["goals"][1]["met"], false);
    }
}
