//! What was attempted, as rows: `docs/attacks.md` is made from them, and held against them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use crate::{
    archives, calls, documents, exhaust, hooks, host, identity, joining, missing, mounts, procfs, program, terminal,
};

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

const TABLES: &[&[Attack]] = &[
    program::ATTACKS,
    joining::ATTACKS,
    mounts::ATTACKS,
    procfs::ATTACKS,
    hooks::ATTACKS,
    identity::ATTACKS,
    archives::ATTACKS,
    documents::ATTACKS,
    terminal::ATTACKS,
    calls::ATTACKS,
    host::ATTACKS,
    exhaust::ATTACKS,
];

const SECTIONS: &[(char, &str)] = &[
    ('A', "What enters a container: paths, mounts, descriptors"),
    ('B', "Ids, groups and capabilities"),
    ('D', "Images"),
    ('E', "The kernel's surface"),
    ('F', "What a configuration hands out, and what containers share"),
];

/// The page as the tables make it.
fn page() -> String {
    let mut page = missing::BEGIN.to_owned();
    for (section, heading) in SECTIONS {
        write!(page, "\n## {heading}\n\n| published as | attempt | defence | what comes of it | seen to fail | test |\n|---|---|---|---|---|---|\n")
            .expect("memory");
        for attack in TABLES.iter().copied().flatten().filter(|attack| attack.section == *section) {
            let cells = [attack.ids, attack.attempt, attack.defence, attack.result, attack.red].map(cell).join(" | ");
            writeln!(page, "| {cells} | `{}` |", attack.test).expect("memory");
        }
    }
    page += missing::MIDDLE;
    for (ids, what, why) in missing::MISSING {
        writeln!(page, "| {} | {} | {} |", cell(ids), cell(what), cell(why)).expect("memory");
    }
    page + missing::END
}

fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[test]
fn the_page_is_what_the_tests_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("docs").join("attacks.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "docs/attacks.md is not what the tables of tests/attacks say; UPDATE_DOCS=1 cargo test -p casemate-tests --test attacks table writes it"
    );
}

#[test]
fn every_row_has_a_test_and_every_module_a_table() {
    let own = std::process::Command::new(std::env::current_exe().expect("it runs"))
        .arg("--list")
        .output()
        .expect("it can be run again");
    let tests: BTreeSet<String> = String::from_utf8_lossy(&own.stdout)
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect();
    let mut modules = BTreeSet::new();
    for attack in TABLES.iter().copied().flatten() {
        assert!(tests.contains(attack.test), "{} is no test", attack.test);
        assert!(SECTIONS.iter().any(|(section, _)| *section == attack.section), "{}: {}", attack.test, attack.section);
        modules.insert(attack.test.split("::").next().unwrap_or_default());
    }
    for test in &tests {
        let module = test.split("::").next().unwrap_or_default();
        assert!(module == "table" || modules.contains(module), "{test} is in no table");
    }
}
