//! How a topic of the report is judged.

use serde::Serialize;

/// How closed one topic is, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As closed as a container can reasonably be.
    Good,
    /// Something to know: a weaker hold, or something that could not be seen from inside.
    Note,
    /// An opening: what holds the container back here is missing.
    Open,
}

impl Verdict {
    /// The word that reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Open => "open",
        }
    }

    /// The verdict of that name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Good, Self::Note, Self::Open].into_iter().find(|verdict| verdict.name() == name)
    }
}

/// A verdict with the words why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// How closed it is.
    pub verdict: Verdict,
    /// Why: one or several facts, the worst first, joined by semicolons.
    pub why: String,
}

/// Collects the facts that speak about one topic; the worst of them is the verdict.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    found: Vec<(Verdict, String)>,
}

impl Facts {
    pub(crate) fn add(&mut self, verdict: Verdict, why: impl Into<String>) {
        self.found.push((verdict, why.into()));
    }

    pub(crate) fn good(&mut self, why: impl Into<String>) {
        self.add(Verdict::Good, why);
    }

    pub(crate) fn note(&mut self, why: impl Into<String>) {
        self.add(Verdict::Note, why);
    }

    pub(crate) fn open(&mut self, why: impl Into<String>) {
        self.add(Verdict::Open, why);
    }

    /// The verdict of all facts: the worst; the words of the worst come first. A topic about which nothing is known is a note.
    pub(crate) fn judge(mut self) -> Judgement {
        self.found.sort_by_key(|(verdict, _)| std::cmp::Reverse(*verdict));
        let verdict = self.found.first().map_or(Verdict::Note, |(verdict, _)| *verdict);
        let words: Vec<String> = self.found.into_iter().map(|(_, why)| why).collect();
        let why = if words.is_empty() { "nothing could be seen".to_owned() } else { words.join("; ") };
        Judgement { verdict, why }
    }
}

/// A list of names for a sentence: at most `most` of them, then how many more there are.
pub(crate) fn listed(names: &[impl AsRef<str>], most: usize) -> String {
    let shown: Vec<&str> = names.iter().take(most).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(most) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_fact_decides_and_comes_first() {
        let mut facts = Facts::default();
        facts.good("a");
        facts.open("b");
        facts.note("c");
        assert_eq!(facts.judge(), Judgement { verdict: Verdict::Open, why: "b; c; a".to_owned() });
    }

    #[test]
    fn nothing_known_is_never_good() {
        assert_eq!(Facts::default().judge().verdict, Verdict::Note);
    }

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(listed(&["a", "b", "c"], 3), "a, b, c");
        assert_eq!(listed(&["a", "b", "c", "d"], 2), "a, b and 2 more");
    }
}
