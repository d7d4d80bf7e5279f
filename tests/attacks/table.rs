//! What was attempted, as rows: `docs/attacks.md` is made from them.

/// One attempt, and the test that makes it.
#[derive(Debug)]
pub(crate) struct Attack {
    /// The test.
    pub(crate) test: &'static str,
    /// Section of the corpus: A, B, D, E or F.
    pub(crate) section: char,
    /// The advisories, or what the technique is called.
    pub(crate) ids: &'static str,
    /// What the attacker does.
    pub(crate) attempt: &'static str,
    /// What stops it.
    pub(crate) defence: &'static str,
    /// What comes of it.
    pub(crate) result: &'static str,
    /// What was taken away for the test to fail, or why nothing could be.
    pub(crate) red: &'static str,
}

/// An entry of the corpus that has nothing to be tried on.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) ids: &'static str,
    pub(crate) what: &'static str,
    pub(crate) why: &'static str,
}
