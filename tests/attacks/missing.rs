//! What the page says around the tables: what there is nothing to try on, and what can't be stopped.

/// The beginning of the page.
pub(crate) const BEGIN: &str = "# Attacks

Published escapes and abuses, 2016 to 2026, made for real against the built binary by `tests/attacks`: through `casemate run`, and through
`casemate oci` with bundles as Docker makes them (as root without a user namespace, with Docker's 14 capabilities and no filter),
in a user namespace, and with all that `casemate run` gives. This page is made from the tests and held against them by one:

    cargo test -p casemate-tests --test attacks
    UPDATE_DOCS=1 cargo test -p casemate-tests --test attacks table     # after a change of the tables

Races are run: one thread or container exchanges names as fast as it can while containers are started for one to three seconds.
A race that is not won in this time proves nothing by itself; what it shows is that what it found with the defence taken out, or in Debian's runc 1.1.5,
in this time and mostly at the first start, it does not find here. The defences do not depend on winning: what is used is a descriptor,
not a name.

*Seen to fail* says what was taken out of casemate, or opened by a flag, for the test to fail. A test without that would be no test.
";

/// What comes between the tables and what is missing.
pub(crate) const MIDDLE: &str = "
## Not applicable yet

Casemate has nothing that these could be tried on. What is added will have to bring its attack.

| published as | what it is | why there is nothing to try |
|---|---|---|
";

/// Published as, what, and why it isn't applicable.
pub(crate) const MISSING: &[(&str, &str, &str)] = &[
    (
        "CVE-2024-1753, CVE-2024-9407, CVE-2024-9675, CVE-2024-11218",
        "mounts of `RUN --mount` in builds of buildah and podman",
        "no such command: `build`",
    ),
    (
        "CVE-2024-23651, CVE-2024-23652, CVE-2024-23653, CVE-2026-33747, CVE-2026-33748",
        "BuildKit's cache mounts, stubs, frontends and git contexts",
        "no such command: `build`",
    ),
    ("CVE-2019-13139, CVE-2022-39253", "git references of a build", "no such command: `build`"),
    ("CVE-2025-9566", "volumes of `podman kube play`", "no such command: `kube play`"),
    (
        "CVE-2018-15664, CVE-2019-14271, CVE-2021-41089, CVE-2026-41567, CVE-2026-42306, GHSA-vp62-88p7-qqf5, GHSA-rg2x-37c3-w2rh",
        "`docker cp`: links that are exchanged, libraries of the container, decompressors of the container",
        "no such command: `cp`; that nothing of an image is executed or loaded by the engine is tried above",
    ),
    (
        "CVE-2022-1227",
        "`podman top` runs the image's programs with the host's rights",
        "no such command: `top`; `oci ps` executes the host's `ps` outside",
    ),
    (
        "CVE-2024-0132, CVE-2025-23359",
        "links in the NVIDIA toolkit's mounts",
        "no such device support; hooks are tried above",
    ),
    ("CVE-2025-24965", "crun's krun reads a file of the image", "no virtual machines yet"),
    (
        "CVE-2020-15157, CVE-2021-41190 in registries",
        "credentials sent to a foreign layer's address, redirects",
        "no such command: `pull`; foreign layers in archives are tried above",
    ),
    (
        "ARP and DNS spoofing on a bridge, CVE-2020-13401, CVE-2024-29018",
        "neighbours on a network",
        "no networks yet: a container has its own loopback, or what it is given by name",
    ),
    (
        "checkpoint archives (CVE-2026-53492, CVE-2026-50195, CVE-2026-53489, CVE-2024-8676)",
        "policy restored from an archive",
        "`checkpoint` and `restore` say that they are not supported",
    ),
    ("health checks of an image", "`HEALTHCHECK` commands of an image", "no health checks yet"),
];

/// The end of the page.
pub(crate) const END: &str = "
## What no configuration can stop

- A bug of the kernel that is reached through a call that programs need. The filter leaves `futex`, `read`, `write`, `mmap`, `epoll`, pipes, Unix and
  IP sockets, timers and signals, and bugs were there: CVE-2016-5195 (copy-on-write), CVE-2017-5123 (`waitid`), CVE-2022-0847 (pipes),
  CVE-2022-2585 (timers), CVE-2026-43499 (futex requeue), garbage collection of Unix sockets. No filter helps; an updated kernel does, or a kernel of
  the container's own. Casemate has no virtual machines yet.
- What the processor leaks between processes of one machine. The kernel's mitigations are left on; nothing more is done.
- The page cache is shared. A bug that writes to it reaches the files of every container with the same layer, and the store of images. The known
  entries (AF_ALG, `vmsplice`, io_uring) are refused; the cache itself can't be divided.
- What a person allows by name. `--privileged`, the host's namespaces, writable directories of the host and sockets of engines hand over what their names
  say; [relaxations.md](relaxations.md) has the risk of each. With the host's network, abstract sockets of the host are there.
- `casemate oci` does what a bundle asks for. A bundle without a user namespace, with Docker's capabilities and no filter is held by the capabilities that are not
  there, the device list, the masks and the order of the start, which is what these tests try; `--hardened` gives it the rest.
- The operator's own terminal, when a runtime is called from it with `terminal` false: what is inherited as standard input can be typed into by whoever holds
  it and is allowed `TIOCSTI` (CVE-2017-5226). `casemate run` never hands it on; for `casemate oci` the filter of the bundle, `--hardened`, or
  `dev.tty.legacy_tiocsti=0` is what refuses it.
- What `/proc` and `/sys` tell of the machine to everybody: model and load of processors, memory, uptime, kernel version and command line, `core_pattern`.
";
