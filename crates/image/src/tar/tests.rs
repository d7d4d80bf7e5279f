use proptest::prelude::*;

use super::build::{Builder, RawHeader};
use super::*;

fn entries(bytes: &[u8]) -> Result<Vec<Entry>, Error> {
    list(bytes, Limits::default())
}

fn only(bytes: &[u8]) -> Entry {
    let mut entries = entries(bytes).unwrap();
    assert_eq!(entries.len(), 1);
    entries.remove(0)
}

/// The content of the only entry, holes filled with zeros.
fn content(bytes: &[u8]) -> Vec<u8> {
    let mut reader = Reader::new(bytes, Limits::default());
    let entry = reader.next_entry().unwrap().unwrap();
    let mut content = vec![0; usize::try_from(entry.size).unwrap()];
    let copied = reader.read_content(&entry, |offset, piece| {
        let at = usize::try_from(offset).unwrap();
        content[at..at + piece.len()].copy_from_slice(piece);
        Ok::<(), ()>(())
    });
    copied.unwrap();
    assert!(reader.next_entry().unwrap().is_none());
    content
}

#[test]
fn every_kind_of_entry_is_read() {
    let archive = Builder::new()
        .directory("./d/")
        .file("d/f", b"hello")
        .symlink("d/s", "/absolute/../target")
        .hard_link("d/h", "d/f")
        .device("d/c", b'3', 1, 3)
        .device("d/b", b'4', 8, 0x1_0000)
        .entry("d/p", b'6', "", b"")
        .end();
    let entries = entries(&archive).unwrap();
    let kinds: Vec<EntryType> = entries.iter().map(|entry| entry.kind).collect();
    assert_eq!(
        kinds,
        [
            EntryType::Directory,
            EntryType::Regular,
            EntryType::SymbolicLink,
            EntryType::HardLink,
            EntryType::CharacterDevice,
            EntryType::BlockDevice,
            EntryType::Fifo
        ]
    );
    assert_eq!((entries[1].size, entries[1].mode, entries[1].mtime), (5, 0o755, 1000));
    assert_eq!(entries[2].link, b"/absolute/../target");
    assert_eq!((entries[5].major, entries[5].minor), (8, 0x1_0000));
}

#[test]
fn long_names_of_gnu_and_pax_are_read() {
    let long = format!("{}/end", "directory/".repeat(40));
    let gnu = Builder::new().gnu_long(b'L', long.as_bytes()).gnu_long(b'K', b"target").symlink("cut", "cut").end();
    let entry = only(&gnu);
    assert_eq!((entry.path, entry.link), (long.clone().into_bytes(), b"target".to_vec()));
    let pax = Builder::new()
        .pax(&[
            ("path", long.as_bytes()),
            ("linkpath", b"target"),
            ("uid", b"4000000000"),
            ("gid", b"7"),
            ("mtime", b"1.25"),
            ("SCHILY.xattr.user.a", b"b=\nc"),
        ])
        .symlink("cut", "cut")
        .end();
    let entry = only(&pax);
    assert_eq!((entry.path, entry.link), (long.into_bytes(), b"target".to_vec()));
    assert_eq!((entry.uid, entry.gid), (4_000_000_000, 7));
    assert_eq!((entry.mtime, entry.mtime_nanoseconds), (1, 250_000_000));
    assert_eq!(entry.xattrs, [(b"user.a".to_vec(), b"b=\nc".to_vec())]);
}

#[test]
fn the_ustar_prefix_belongs_to_the_name_and_gnus_fields_do_not() {
    let mut header = RawHeader::new(b"name", b'0', 0);
    header.set(345, b"prefix/of/it");
    assert_eq!(only(&Builder::new().raw(header.clone(), b"").end()).path, b"prefix/of/it/name");
    header.set(257, b"ustar  \0");
    assert_eq!(only(&Builder::new().raw(header, b"").end()).path, b"name");
}

#[test]
fn a_pax_size_replaces_the_headers() {
    let archive = Builder::new().pax(&[("size", b"3")]).raw(RawHeader::new(b"f", b'0', 0), b"abc").file("g", b"").end();
    let entries = entries(&archive).unwrap();
    assert_eq!(entries[0].size, 3);
    assert_eq!(entries[1].path, b"g");
}

#[test]
fn sparse_files_of_all_four_formats_are_read() {
    let mut expected = vec![0; 3000];
    expected[1000..1512].fill(b'a');
    expected[2500..2600].fill(b'b');
    let stored = [vec![b'a'; 512], vec![b'b'; 100]].concat();

    let mut old = RawHeader::new(b"f", b'S', stored.len() as u64);
    old.set(257, b"ustar  \0");
    old.set(386, b"00000001750\0" as &[u8]).set(398, b"00000001000\0");
    old.set(482, &[1]).set(483, b"00000005670\0");
    let mut extension = [0; 512];
    extension[..24].copy_from_slice(b"00000004704\x0000000000144\0");
    extension[24..48].copy_from_slice(b"00000005670\x0000000000000\0");
    let old = Builder::new().raw(old, &extension).content(&stored).end();
    assert_eq!(content(&old), expected);

    let pairs: [(&str, &[u8]); 6] = [
        ("GNU.sparse.size", b"3000"),
        ("GNU.sparse.numblocks", b"2"),
        ("GNU.sparse.offset", b"1000"),
        ("GNU.sparse.numbytes", b"512"),
        ("GNU.sparse.offset", b"2500"),
        ("GNU.sparse.numbytes", b"100"),
    ];
    assert_eq!(content(&Builder::new().pax(&pairs).file("f", &stored).end()), expected);

    let map: [(&str, &[u8]); 3] =
        [("GNU.sparse.size", b"3000"), ("GNU.sparse.map", b"1000,512,2500,100"), ("GNU.sparse.name", b"real")];
    let archive = Builder::new().pax(&map).file("GNUSparseFile.0/f", &stored).end();
    assert_eq!(content(&archive), expected);
    assert_eq!(only(&archive).path, b"real");

    let newest: [(&str, &[u8]); 4] = [
        ("GNU.sparse.major", b"1"),
        ("GNU.sparse.minor", b"0"),
        ("GNU.sparse.name", b"real"),
        ("GNU.sparse.realsize", b"3000"),
    ];
    let mut block = b"2\n1000\n512\n2500\n100\n".to_vec();
    block.resize(512, 0);
    let archive = Builder::new().pax(&newest).file("f", &[block, stored].concat()).end();
    assert_eq!(content(&archive), expected);
}

#[test]
fn an_archive_may_end_with_one_empty_block_or_none() {
    let archive = Builder::new().file("f", b"x");
    let marked = archive.clone().end();
    let mut reader = Reader::new(&marked[..1536], Limits::default());
    assert!(reader.next_entry().unwrap().is_some());
    assert!(reader.next_entry().unwrap().is_none());
    assert!(reader.saw_end_mark());
    // Nor need the last content be padded.
    let unpadded = archive.clone().open_end()[..513].to_vec();
    let mut reader = Reader::new(&unpadded[..], Limits::default());
    assert!(reader.next_entry().unwrap().is_some());
    assert!(reader.next_entry().unwrap().is_none());
    assert!(!reader.saw_end_mark());
    let open = archive.open_end();
    let mut reader = Reader::new(&open[..], Limits::default());
    assert!(reader.next_entry().unwrap().is_some());
    assert!(reader.next_entry().unwrap().is_none());
    assert!(!reader.saw_end_mark());
}

#[test]
fn a_truncated_archive_is_refused_with_the_entry_named() {
    let archive = Builder::new().file("first", b"x").file("second", &[b'y'; 600]).open_end();
    for length in [512, 1024 + 100, 1536 + 10, 2048 + 50] {
        let error = entries(&archive[..length]).unwrap_err();
        assert!(matches!(error, Error::Truncated { .. }), "{length}: {error}");
        if length > 1536 {
            assert!(error.to_string().contains("\"second\""), "{error}");
        }
    }
}

#[test]
fn headers_that_lie_are_refused() {
    let header = |at: usize, bytes: &[u8]| {
        let mut header = RawHeader::new(b"entry", b'0', 0);
        header.set(at, bytes);
        Builder::new().raw(header, b"").end()
    };
    let negative = [0xff; 12];
    let mut enormous = [0; 12];
    enormous[0] = 0x80;
    enormous[4] = 0x80;
    let mut bad_sum = Builder::new().file("entry", b"").end();
    bad_sum[0] = b'E';
    let x = |records: &[(&str, &[u8])]| Builder::new().pax(records).file("entry", b"").end();
    for (what, archive) in [
        ("negative size", header(124, &negative)),
        ("enormous size", header(124, &enormous)),
        ("size that is no number", header(124, b"0000000008x\0")),
        ("negative owner", header(108, &[0xff; 8])),
        ("owner -1 as 2^32-1", header(108, b"\x80\0\0\0\xff\xff\xff\xff")),
        ("unknown type", header(156, b"Z")),
        ("multi-volume", header(156, b"M")),
        ("directory with content", Builder::new().entry("entry", b'5', "", b"content").end()),
        ("hard link with content", Builder::new().entry("entry", b'1', "x", b"content").end()),
        ("device that cannot be", Builder::new().device("entry", b'3', 4096, 0).end()),
        ("checksum", bad_sum),
        ("pax negative size", x(&[("size", b"-5")])),
        ("pax name with NUL", x(&[("path", b"a\0b")])),
        ("pax link with NUL", Builder::new().pax(&[("linkpath", b"a\0b")]).symlink("entry", "x").end()),
        ("sparse name with NUL", x(&[("GNU.sparse.size", b"0"), ("GNU.sparse.map", b""), ("GNU.sparse.name", b"a\0")])),
        ("pax uid", x(&[("uid", b"4294967295")])),
        ("global name", Builder::new().global_pax(&[("path", b"evil")]).file("entry", b"").end()),
        ("global size", Builder::new().global_pax(&[("size", b"1")]).file("entry", b"").end()),
        ("two pax headers", Builder::new().pax(&[("uid", b"1")]).pax(&[("uid", b"2")]).file("entry", b"").end()),
        ("two long names", Builder::new().gnu_long(b'L', b"a").gnu_long(b'L', b"b").file("entry", b"").end()),
        ("pax and then the end", Builder::new().pax(&[("uid", b"1")]).end()),
        ("sparse overlap", x(&[("GNU.sparse.size", b"10"), ("GNU.sparse.map", b"0,5,3,5")])),
        ("sparse beyond its size", x(&[("GNU.sparse.size", b"10"), ("GNU.sparse.map", b"8,5")])),
        (
            "sparse overflow",
            x(&[
                ("GNU.sparse.size", b"9223372036854775807"),
                ("GNU.sparse.map", b"9223372036854775807,9223372036854775807"),
            ]),
        ),
        ("sparse odd", x(&[("GNU.sparse.size", b"10"), ("GNU.sparse.map", b"1")])),
        ("sparse without content", x(&[("GNU.sparse.size", b"10"), ("GNU.sparse.map", b"0,5")])),
        ("sparse version", x(&[("GNU.sparse.major", b"2"), ("GNU.sparse.minor", b"0")])),
    ] {
        let error = entries(&archive).expect_err(what);
        assert!(matches!(error, Error::Refused { .. }), "{what}: {error:?}");
    }
}

#[test]
fn memory_is_bounded_whatever_a_header_asks_for() {
    let mut header = RawHeader::new(b"././@LongLink", b'L', 1 << 32);
    header.set(257, b"ustar  \0");
    assert!(matches!(entries(&Builder::new().raw(header, b"").end()), Err(Error::Refused { .. })));
    let count = Builder::new()
        .pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.minor", b"0"), ("GNU.sparse.realsize", b"1")])
        .file("f", &[&b"99999999999\n"[..], &[0; 500]].concat())
        .end();
    assert!(matches!(entries(&count), Err(Error::Refused { .. })));
    let limits = Limits { entries: 3, ..Limits::default() };
    let four = (0..4).fold(Builder::new(), |archive, n| archive.file(&n.to_string(), b"")).end();
    assert!(list(&four, limits).unwrap_err().to_string().contains("more than 3 entries"));
}

#[test]
fn what_the_tar_crate_writes_is_read_alike() {
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o640);
    header.set_uid(3_000_000);
    header.set_gid(5);
    header.set_mtime(99);
    let long = "x".repeat(300);
    builder.append_data(&mut header, &long, &b"data"[..]).unwrap();
    let archive = builder.into_inner().unwrap();
    let entry = only(&archive);
    assert_eq!(entry.path, long.as_bytes());
    assert_eq!((entry.uid, entry.gid, entry.mode, entry.mtime), (3_000_000, 5, 0o640, 99));
    assert_eq!(content(&archive), b"data");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
        let _ = entries(&bytes);
    }

    #[test]
    fn no_damage_makes_the_reader_panic(at in 0_usize..4000, value in any::<u8>()) {
        let mut archive = Builder::new()
            .pax(&[("path", b"a/b"), ("GNU.sparse.size", b"10"), ("GNU.sparse.map", b"0,5")])
            .file("f", b"12345")
            .gnu_long(b'L', b"long")
            .symlink("s", "t")
            .end();
        let at = at % archive.len();
        archive[at] = value;
        // Repaired, so that the damage is not just a wrong checksum.
        let block = at / BLOCK * BLOCK;
        let mut header = RawHeader([0; BLOCK]);
        header.0.copy_from_slice(&archive[block..block + BLOCK]);
        archive[block..block + BLOCK].copy_from_slice(&header.finish());
        let _ = entries(&archive);
    }
}
