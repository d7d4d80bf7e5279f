use super::*;

struct Fixture {
    _root: tempfile::TempDir,
    directories: Directories,
}

impl Fixture {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let directories = Directories {
            data: root.path().join("data"),
            run: root.path().join("run"),
            config: root.path().join("etc"),
        };
        directories.prepare().unwrap();
        Self { _root: root, directories }
    }

    fn claims(&self) -> Claims<'_> {
        Claims(&self.directories)
    }

    /// A container directory with an owner file of this process.
    fn container(&self) -> ContainerId {
        let id = ContainerId::random().unwrap();
        self.claims().make_directory(&id).unwrap();
        id
    }

    /// One whose creator is gone, with or without a record.
    fn orphan(&self, with_record: bool) -> ContainerId {
        let id = ContainerId::random().unwrap();
        let directory = self.directories.container(&id);
        directories::make_new(&directory).unwrap();
        let owner = Owner { id: id.clone(), pid: std::process::id(), start: 1 };
        fs::write(directory.join(OWNER_FILE), serde_json::to_vec(&owner).unwrap()).unwrap();
        if with_record {
            fs::write(directory.join(crate::record::RECORD_FILE), "{}").unwrap();
        }
        id
    }
}

fn pool_of_one() -> Pool {
    // Everything but one slot is given to others.
    Pool::of_one_slot(0x7000_0000)
}

#[test]
fn a_name_is_taken_once() {
    let fixture = Fixture::new();
    let (a, b) = (fixture.container(), fixture.container());
    fixture.claims().take_name(&a, "web").unwrap();
    let error = fixture.claims().take_name(&b, "web").unwrap_err();
    assert!(matches!(&error, Error::NameTaken { holder, .. } if holder == a.short()), "{error}");
    assert_eq!(fixture.claims().holder_of_name("web").unwrap(), Some(a.clone()));
    fixture.claims().release(&a, Some("web"), None).unwrap();
    fixture.claims().take_name(&b, "web").unwrap();
}

#[test]
fn a_stale_name_is_collected_and_a_recorded_one_is_not() {
    let fixture = Fixture::new();
    let (stale, recorded, b) = (fixture.orphan(false), fixture.orphan(true), fixture.container());
    fixture.claims().take_name(&stale, "stale").unwrap();
    fixture.claims().take_name(&recorded, "recorded").unwrap();
    fixture.claims().take_name(&b, "stale").unwrap();
    assert!(fixture.claims().take_name(&b, "recorded").is_err());
}

#[test]
fn releasing_leaves_what_became_somebody_elses() {
    let fixture = Fixture::new();
    let (a, b) = (fixture.container(), fixture.container());
    fixture.claims().take_name(&b, "web").unwrap();
    fixture.claims().release(&a, Some("web"), None).unwrap();
    assert_eq!(fixture.claims().holder_of_name("web").unwrap(), Some(b));
}

#[test]
fn ranges_never_overlap_and_run_out_with_words() {
    let fixture = Fixture::new();
    let (a, b) = (fixture.container(), fixture.container());
    let pool = pool_of_one();
    let range = fixture.claims().take_range(&a, &pool).unwrap();
    let error = fixture.claims().take_range(&b, &pool).unwrap_err();
    assert!(error.to_string().contains("no free range"), "{error}");
    fixture.claims().release(&a, None, Some(range)).unwrap();
    assert_eq!(fixture.claims().take_range(&b, &pool).unwrap(), range);
}

#[test]
fn a_stale_range_is_collected_when_none_is_free() {
    let fixture = Fixture::new();
    let (stale, b) = (fixture.orphan(false), fixture.container());
    let pool = pool_of_one();
    let range = fixture.claims().take_range(&stale, &pool).unwrap();
    assert_eq!(fixture.claims().take_range(&b, &pool).unwrap(), range);
}

#[test]
fn a_shared_range_is_free_only_after_the_last() {
    let fixture = Fixture::new();
    let (a, b, c) = (fixture.container(), fixture.container(), fixture.container());
    let pool = pool_of_one();
    let range = fixture.claims().take_range(&a, &pool).unwrap();
    fixture.claims().share_range(&b, range).unwrap();
    fixture.claims().release(&a, None, Some(range)).unwrap();
    assert!(fixture.claims().take_range(&c, &pool).is_err(), "b still uses the range");
    fixture.claims().release(&b, None, Some(range)).unwrap();
    assert_eq!(fixture.claims().take_range(&c, &pool).unwrap(), range);
    assert_eq!(fs::read_dir(fixture.directories.claims("shared")).unwrap().count(), 0);
}

#[test]
fn a_range_that_is_gone_cannot_be_shared() {
    let fixture = Fixture::new();
    let b = fixture.container();
    let range = IdRange { uid: 0x7000_0000, gid: 0x7000_0000, size: 65_536 };
    assert!(fixture.claims().share_range(&b, range).is_err());
}

#[test]
fn collecting_everything_names_what_it_removed() {
    let fixture = Fixture::new();
    let (stale, alive) = (fixture.orphan(false), fixture.container());
    fixture.claims().take_name(&stale, "stale").unwrap();
    fixture.claims().take_name(&alive, "alive").unwrap();
    let collected = fixture.claims().collect().unwrap();
    assert_eq!(collected, [fixture.directories.claims("names").join("stale")]);
}

#[test]
fn two_threads_never_both_get_a_name() {
    let fixture = Fixture::new();
    let ids: Vec<_> = (0..8).map(|_| fixture.container()).collect();
    for round in 0..20 {
        let name = format!("name{round}");
        // A stale claim in the way makes them collect as well.
        let stale = fixture.orphan(false);
        fixture.claims().take_name(&stale, &name).unwrap();
        let winners = std::thread::scope(|scope| {
            let handles: Vec<_> =
                ids.iter().map(|id| scope.spawn(|| fixture.claims().take_name(id, &name).is_ok())).collect();
            handles.into_iter().map(|handle| usize::from(handle.join().unwrap())).sum::<usize>()
        });
        assert_eq!(winners, 1, "round {round}");
    }
}
