//! The engine's own program, reached from inside.

use std::fs;
use std::path::Path;
use std::time::Duration;

use casemate_tests::{Runtime, archive, command};
use tar::EntryType;

use crate::table::Attack;
use crate::ways;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        test: "program::the_engines_program_is_overwritten",
        section: 'A',
        ids: "CVE-2019-5736",
        attempt: "A program of the container is `#!/proc/self/exe`, an ELF file whose loader is `/proc/self/exe`, or a link to it; it is the entry point, \
            or is executed in the running container; meanwhile the first process opens the program of every process that appears and writes to it. \
            As root, without a user namespace, with all capabilities and no filter.",
        defence: "What enters a container runs from a mount of the binary that nothing can be written through",
        result: "the binary is the same, byte for byte",
        red: "before there was the read-only mount: overwritten by `#!/proc/self/exe version`; for `casemate oci` also by a patch, `program::seal` that does nothing: OVERWRITTEN at the first script",
    },
    Attack {
        test: "program::the_engine_is_not_an_entry_point",
        section: 'A',
        ids: "CVE-2019-5736, CVE-2016-9962",
        attempt: "The entry point, or the program of `exec`, is `/proc/self/exe`, `/proc/1/exe`, `/proc/self/fd/N`, a link to them, or found by a `PATH` of them",
        defence: "Programs are opened with `RESOLVE_NO_MAGICLINKS` before they are executed",
        result: "not executable (126) or not found (127); the engine does not run",
        red: "patch: `program::check` without the open: `casemate version` answered from inside",
    },
    Attack {
        test: "program::libraries_and_decompressors_of_an_image_are_not_used",
        section: 'A',
        ids: "CVE-2019-14271, GHSA-x86f-5xw2-fm2r (CVE-2026-41567), CVE-2022-1227",
        attempt: "The image brings `ld.so.preload`, NSS modules, and an `xz`, `gzip`, `unpigz`, `zstd`, `newuidmap` and `ps` that leave a mark; so does the `PATH` of whoever \
            imports it; it is imported compressed, run by a user's name, executed in, and listed",
        defence: "One static program: decompression, names and lists are Rust, and nothing is executed or loaded but the container's own program",
        result: "no mark is left",
        red: "not possible by taking a line away: there is no code that executes a tool. The mark is left when the test runs `gzip` itself, which it checks",
    },
];

/// An ELF program without code, whose loader is `loader`.
fn elf(loader: &str) -> Vec<u8> {
    let machine: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };
    let size = 64 + 2 * 56 + loader.len() as u64 + 1;
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for half in [2_u16, machine] {
        bytes.extend(half.to_le_bytes());
    }
    bytes.extend(1_u32.to_le_bytes());
    for word in [0x40_00b0_u64, 64, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 2, 0, 0, 0] {
        bytes.extend(half.to_le_bytes());
    }
    // PT_INTERP, then PT_LOAD of the whole file.
    for (kind, offset, address, length) in
        [(3_u32, 176_u64, 0x40_00b0_u64, loader.len() as u64 + 1), (1, 0, 0x40_0000, size)]
    {
        bytes.extend(kind.to_le_bytes());
        bytes.extend(5_u32.to_le_bytes());
        for word in [offset, address, address, length, length, 0x1000] {
            bytes.extend(word.to_le_bytes());
        }
    }
    bytes.extend(loader.as_bytes());
    bytes.push(0);
    bytes
}

/// Programs that are the engine's in disguise: name and content.
fn disguises() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("script-version", b"#!/proc/self/exe version\n".to_vec()),
        ("script-help", b"#!/proc/self/exe --help\n".to_vec()),
        ("script", b"#!/proc/self/exe\n".to_vec()),
        ("script-features", b"#!/proc/self/exe features\n".to_vec()),
        ("elf", elf("/proc/self/exe")),
    ]
}

const LINKS: [(&str, &str); 4] = [
    ("magic", "/proc/self/exe"),
    ("magic-one", "/proc/1/exe"),
    ("magic-thread", "/proc/thread-self/exe"),
    ("self", "/proc/self"),
];

#[test]
fn the_engines_program_is_overwritten() {
    let mut engine = ways::engine_with(|layer| {
        for (name, content) in disguises() {
            archive::file(layer, &format!("bin/{name}"), 0o755, &content);
        }
        for (name, target) in LINKS {
            archive::link(layer, EntryType::Symlink, &format!("bin/{name}"), target);
        }
    });
    let flags = [
        &["--userns", "host", "--allow", "host-userns"][..],
        &[
            "--userns",
            "host",
            "--allow",
            "host-userns",
            "--cap-add",
            "ALL",
            "--security-opt",
            "seccomp=unconfined",
            "--security-opt",
            "no-new-privileges=false",
        ],
        &[],
    ];
    for (number, flags) in flags.iter().enumerate() {
        let name = format!("watcher-{number}");
        // By another file: one that is executed can't be written to, and the supervisor is executed all the time.
        engine.use_binary(&casemate_tests::binary());
        engine.background(&name, flags, &["attacker", "overwrite", "100"]);
        let binary = engine.use_copy();
        for program in programs() {
            for _ in 0..6 {
                engine.run(&["exec", &name, &program]);
            }
            let words: Vec<&str> =
                ["run", "--rm"].iter().chain(*flags).chain(&["busybox", &program]).copied().collect();
            engine.run(&words);
            unchanged(&binary, &format!("{flags:?} {program}\n{}", engine.run(&["logs", &name]).stdout()));
        }
        engine.run(&["rm", "-f", &name]).ok();
        unchanged(&binary, &format!("{flags:?}"));
    }
}

fn programs() -> Vec<String> {
    let files = disguises().into_iter().map(|(name, _)| name);
    files.chain(["magic", "magic-one", "magic-thread", "self/exe"]).map(|name| format!("/bin/{name}")).collect()
}

#[track_caller]
fn unchanged(binary: &Path, when: &str) {
    let original = fs::read(casemate_tests::binary()).expect("it is there");
    let same = fs::read(binary).expect("it is there") == original;
    if !same {
        // The rest of the test, and what cleans up after it, runs it.
        fs::write(binary, original).expect("it can be mended");
    }
    assert!(same, "the engine's program was overwritten: {when}");
}

#[test]
fn the_runtimes_program_is_overwritten() {
    let mut runtime = Runtime::new();
    let original = fs::read(runtime.program()).expect("it is there");
    let binary = runtime.use_copy();
    let all: Vec<String> = (0..=40).filter_map(capability).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let bundle = ways::bundle(&runtime).capabilities(&all).args(&["/bin/attacker", "overwrite", "100"]);
    for (name, content) in disguises() {
        let path = bundle.rootfs().join("bin").join(name);
        fs::write(&path, content).expect("the bundle can be written to");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    }
    for (name, target) in LINKS {
        std::os::unix::fs::symlink(target, bundle.rootfs().join("bin").join(name)).expect("a link");
    }
    bundle.launch();
    for program in programs() {
        for _ in 0..6 {
            bundle.exec(&[], &[&program]);
        }
        let first = ways::bundle(&runtime);
        fs::remove_dir_all(first.rootfs().join("bin")).expect("it is there");
        let copied = command::run(
            std::process::Command::new("cp").arg("-a").arg(bundle.rootfs().join("bin")).arg(first.rootfs()),
            None,
            Duration::from_secs(20),
        );
        copied.expect(0);
        first.args(&[&program]).capabilities(&all).run();
        assert!(fs::read(&binary).expect("it is there") == original, "{program}: {}", bundle.stdout());
    }
    bundle.delete();
    assert!(fs::read(&binary).expect("it is there") == original, "the runtime's program was overwritten");
}

/// The name of a capability, of the kernel's list.
pub(crate) fn capability(number: u32) -> Option<String> {
    const NAMES: &str = "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE \
        NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT \
        SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG \
        WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE";
    // Only what we have ourselves can be given.
    let own = casemate_tests::host::status(std::process::id(), "CapEff");
    let own = u64::from_str_radix(&own, 16).expect("a mask");
    let name = NAMES.split_whitespace().nth(number as usize)?;
    (own >> number & 1 == 1).then(|| format!("CAP_{name}"))
}

#[test]
fn the_engine_is_not_an_entry_point() {
    let engine = ways::engine_with(|layer| {
        for (name, target) in LINKS {
            archive::link(layer, EntryType::Symlink, &format!("bin/{name}"), target);
        }
    });
    let running = engine.sleeper("running", &[]);
    let mut programs = programs();
    programs.retain(|program| program.contains("magic") || program.contains("self/"));
    programs.extend((0..12).map(|number| format!("/proc/self/fd/{number}")));
    programs.extend(
        ["/proc/self/exe", "/proc/1/exe", "/proc/self/../self/exe", "/dev/fd/3", "//proc//self//exe"]
            .map(str::to_owned),
    );
    for program in &programs {
        for output in [
            engine.run(&["run", "--rm", "busybox", program, "version"]),
            engine.run(&["run", "--rm", "--entrypoint", program, "busybox", "version"]),
            engine.run(&["exec", &running.id, program, "version"]),
            engine.run(&["run", "--rm", "-w", "/proc/self", "busybox", "./exe", "version"]),
            engine.run(&["run", "--rm", "-e", "PATH=/proc/self", "busybox", "exe", "version"]),
            engine.run(&["run", "--rm", "-e", "PATH=/bin/self:/proc/self", "busybox", "exe", "version"]),
        ] {
            assert!(matches!(output.code, 125..=127), "{}: {} {}", output.line, output.code, output.stdout());
            assert!(!output.stdout().to_lowercase().contains("casemate"), "{}: {}", output.line, output.stdout());
        }
    }
}

#[test]
fn libraries_and_decompressors_of_an_image_are_not_used() {
    let outside = ways::Outside::new();
    let mark = format!("{}/mark", outside.path());
    let script = format!("#!/bin/sh\necho \"$0\" >> {mark}\necho \"$0\" >> {}/mark\n", outside.climbing());
    let tools = [
        "xz",
        "gzip",
        "unpigz",
        "pigz",
        "zstd",
        "bzip2",
        "tar",
        "ps",
        "newuidmap",
        "nsenter",
        "getent",
        "mount",
        "git",
    ];
    let library = b"\x7fELF not a library, but whoever loads it fails\n";
    let engine = ways::engine_with(|layer| {
        for tool in tools {
            archive::file(layer, &format!("usr/bin/{tool}"), 0o755, script.as_bytes());
        }
        archive::file(layer, "etc/ld.so.preload", 0o644, b"/lib/evil.so\n");
        archive::file(layer, "etc/nsswitch.conf", 0o644, b"passwd: evil files\ngroup: evil files\nhosts: evil\n");
        for name in ["lib/evil.so", "lib/libnss_evil.so.2", "lib/x86_64-linux-gnu/libnss_files.so.2"] {
            archive::file(layer, name, 0o755, library);
        }
    });
    // The same tools, for whoever imports: on the path before all others.
    let evil = engine.directory("evil");
    for tool in tools {
        let path = engine.file(&format!("evil/{tool}"), &script);
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    }
    let packed =
        std::process::Command::new("gzip").args(["-1", "-c"]).arg(casemate_tests::images::busybox()).output().unwrap();
    let packed = engine.file("packed.tar.gz", packed.stdout);
    let path = format!("{evil}:/usr/bin:/bin");
    let run = |words: &[&str]| command::run(engine.command(words).env("PATH", &path), None, command::LIMIT);
    run(&["import", &packed, "packed"]).ok();
    run(&["run", "--rm", "-u", "app", "busybox", "true"]).ok();
    run(&["run", "-d", "--name", "one", "-u", "app:web", "busybox", "sleep", "100"]).ok();
    run(&["exec", "-u", "web", "one", "true"]).ok();
    for words in [
        &["ps", "-a"][..],
        &["inspect", "one"],
        &["logs", "one"],
        &["images"],
        &["system", "check"],
        &["rm", "-f", "one"],
    ] {
        run(words).ok();
    }
    outside.assert_untouched("a tool of the image's or of the path was run");
    // So that it is known that it would have been seen.
    command::run(std::process::Command::new(format!("{evil}/gzip")).env("PATH", &path), None, command::LIMIT);
    assert!(fs::exists(&mark).unwrap());
}
