//! The reader of tar archives: layers and outer archives come from strangers.
#![no_main]

use casemate_image::Limits;
use casemate_image::tar::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { entries: 1000, bytes: 1 << 30, ..Limits::default() };
    let mut reader = Reader::new(bytes, limits);
    let (mut entries, mut held) = (0u64, 0u64);
    while let Ok(Some(entry)) = reader.next_entry() {
        entries += 1;
        assert!(entries <= limits.entries, "more entries than the limit");
        assert!(entry.uid != u32::MAX && entry.gid != u32::MAX, "an id that means 'none'");
        assert!(entry.mode <= 0o7777);
        assert!(entry.mtime_nanoseconds < 1_000_000_000);
        assert!(!entry.name().chars().any(char::is_control), "a name for people has a control character");
        if let Some(extents) = &entry.sparse {
            let mut end = 0;
            for extent in extents {
                assert!(extent.offset >= end, "extents overlap or run backwards");
                end = extent.offset.checked_add(extent.length).expect("an extent beyond the end of numbers");
            }
            assert!(end <= entry.size, "an extent beyond the end of the file");
        }
        let mut last = 0;
        let read = reader.read_content(&entry, |offset, piece| {
            assert!(offset >= last, "content runs backwards");
            last = offset + piece.len() as u64;
            assert!(last <= entry.size, "content beyond the file's size");
            held += piece.len() as u64;
            Ok::<(), ()>(())
        });
        if read.is_err() {
            break;
        }
    }
    assert!(held <= bytes.len() as u64, "more content than the archive has bytes");
});
