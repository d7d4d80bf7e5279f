//! The repertoire of escape kits: what a configuration hands out, and what the kernel tells or lets be changed.

use std::fs;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};

use casemate_tests::{Runtime, archive, eventually};

use crate::table::Attack;
use crate::ways;

pub(crate) const ATTACKS: &[Attack] = &[
    Attack {
        test: "host::the_host_is_asked_for",
        section: 'F',
        ids: "privileged, docker.sock, hostPath /, /proc, /sys, /etc, host namespaces, raw disks (CDK, deepce, amicontained)",
        attempt: "Asks for each of them with Docker's flags",
        defence: "Refused by the posture unless a person allows it by its name",
        result: "125, and the flag that allows it",
        red: "in the test: with `--allow` it is given",
    },
    Attack {
        test: "host::the_kernels_knobs_are_turned",
        section: 'F',
        ids: "core_pattern, modprobe, uevent_helper, binfmt_misc, sysrq, hotplug, /proc/sys, powercap (CVE-2020-8694), thermal throttle, /proc/scsi (CVE-2017-16539), /proc/acpi (CVE-2018-10892)",
        attempt: "Writes to each, as root with Docker's capabilities and by default; turns /proc/sys upside down; mounts binfmt_misc",
        defence: "/proc/sys, sysrq-trigger and /sys are read-only; what is the host's is masked; another user namespace",
        result: "EROFS, EACCES or not there; the host's values are the same",
        red: "in the test: `--security-opt systempaths=unconfined --userns host` opens them",
    },
    Attack {
        test: "host::the_control_groups_are_left",
        section: 'F',
        ids: "CVE-2022-0492, CVE-2021-4154, CVE-2023-25809, release_agent, devices.allow, writable /sys/fs/cgroup",
        attempt: "Writes to release_agent, notify_on_release, devices.allow, cgroup.procs and its own limits; makes groups; mounts a hierarchy anew, in a new namespace",
        defence: "Hierarchies are shown read-only; `mount` and `unshare` are refused; in a user namespace the kernel refuses release_agent",
        result: "EROFS or EPERM",
        red: "not seen: no build with writable hierarchies was tried",
    },
    Attack {
        test: "host::a_device_of_the_host_is_opened",
        section: 'F',
        ids: "CAP_MKNOD, device mknod and debugfs, /dev/mem, /dev/kvm (CVE-2026-53359)",
        attempt: "Makes nodes of every disk of the host, of mem, kmem, port, kvm, fuse, loop, tun and uinput in every place, opens them; with Docker's CAP_MKNOD, and in an image",
        defence: "Device list of the control group; nodev on every mount; a user namespace can't make nodes",
        result: "EPERM or EACCES at the latest when it is opened",
        red: "patch: no device list: kvm, fuse and more were opened as Docker's bundle",
    },
    Attack {
        test: "host::the_hosts_device_nodes_are_changed",
        section: 'F',
        ids: "bind-mounted device nodes",
        attempt: "Changes mode, owner and times of `/dev/null`, `/dev/full` and others, which may be the host's own inodes",
        defence: "Device nodes are on mounts that nothing can be changed through",
        result: "EROFS or EPERM; the host's nodes are the same",
        red: "before the mounts were read-only: the host's /dev/full was 0600",
    },
    Attack {
        test: "host::capabilities_reach_the_host",
        section: 'F',
        ids: "CAP_SYS_ADMIN, SYS_MODULE, SYS_PTRACE, DAC_READ_SEARCH, SYS_RAWIO, SYSLOG, BPF, SYS_TIME, SYS_BOOT, NET_ADMIN",
        attempt: "With all capabilities and no filter, in the user namespace that is the default: loads a module, reads dmesg, sets the clock, kills the host's processes, mounts the host's disk, traces, reads /dev/mem, reboots",
        defence: "The container's own user namespace: its capabilities are over nothing of the host's",
        result: "EPERM",
        red: "in the test: with `--userns host` dmesg is read",
    },
    Attack {
        test: "host::processes_of_the_host_are_reached",
        section: 'F',
        ids: "host PID with ptrace or nsenter, /proc/PID/root, signals through a shared PID namespace, abstract sockets, CVE-2020-15257",
        attempt: "With the host's PID namespace allowed: kills, traces, enters and reads the host's processes. With the own network: connects to an abstract socket of the host",
        defence: "Another user namespace; a network namespace of its own; sockets of the engine have paths",
        result: "EPERM; not to be found",
        red: "in the test: with the host's network, which must be allowed, the abstract socket answers",
    },
    Attack {
        test: "host::a_set_user_id_program_gives_root",
        section: 'F',
        ids: "set-user-id programs and file capabilities",
        attempt: "Another user executes a set-user-id-root program of the image, and one with file capabilities",
        defence: "no-new-privileges, nosuid on the root and every mount",
        result: "it runs as the user",
        red: "in the test: with `no-new-privileges=false` it is root of the container",
    },
    Attack {
        test: "host::the_kernel_tells_of_the_host",
        section: 'F',
        ids: "/proc/kcore, /proc/keys, /proc/timer_list, dmesg, kallsyms, /proc/sched_debug, /proc/interrupts, GHSA-jq35, GHSA-6fw5, environment of the engine",
        attempt: "Reads each; looks for kernel addresses, other processes, other containers' and the host's environment, host name, mounts and sockets",
        defence: "Masked; own namespaces; nothing of the engine's environment is passed on",
        result: "empty, refused or the container's own",
        red: "in the test: `systempaths=unconfined` shows /proc/timer_list and kallsyms",
    },
    Attack {
        test: "host::clock_and_names_are_set",
        section: 'F',
        ids: "clock, host name and domain name writes",
        attempt: "Sets the clock, the host name and the domain name",
        defence: "no capability, the filter; names are a namespace's own",
        result: "EPERM; the host's are the same",
        red: "in the test: with CAP_SYS_ADMIN the container's own host name is set, and the host's is the same",
    },
    Attack {
        test: "host::the_cloud_is_asked_for_credentials",
        section: 'F',
        ids: "metadata service 169.254.169.254",
        attempt: "Connects to 169.254.169.254, fd00:ec2::254 and to other addresses",
        defence: "A network of its own, with nothing but a loopback device",
        result: "unreachable",
        red: "not tried: a packet would have to leave this machine; that there is no route is looked at",
    },
];

/// Files that a write changes the host through. Each is written back with its own content, so that nothing changes even when it works.
const KNOBS: &[&str] = &[
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hotplug",
    "/proc/sys/kernel/poweroff_cmd",
    "/proc/sys/kernel/sysrq",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/pid_max",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/swappiness",
    "/proc/sys/fs/file-max",
    "/proc/sys/fs/protected_symlinks",
    "/proc/sys/fs/suid_dumpable",
    "/proc/irq/default_smp_affinity",
    "/sys/kernel/uevent_helper",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/kernel/profiling",
    "/sys/power/state",
    "/sys/module/printk/parameters/time",
];

fn turn() -> String {
    let files = KNOBS.join(" ");
    format!(
        "for f in {files}; do if [ -e $f ]; then v=$(cat $f 2>/dev/null); (echo \"$v\" > $f) 2>/dev/null && echo wrote $f; fi; done; \
        (: > /proc/sysrq-trigger) 2>/dev/null && echo wrote /proc/sysrq-trigger; \
        find /proc/sys -type f -writable 2>/dev/null | while read f; do (cat $f > $f) 2>/dev/null && echo wrote $f; done; \
        mount -t binfmt_misc none /tmp 2>/dev/null && echo mounted binfmt_misc; \
        (echo x > /proc/sys/fs/binfmt_misc/register) 2>/dev/null && echo wrote binfmt_misc; \
        find /sys -type f -writable 2>/dev/null | head -200 | while read f; do (: >> $f) 2>/dev/null && echo wrote $f; done; true"
    )
}

#[test]
fn the_kernels_knobs_are_turned() {
    ways::each(|way| {
        let said = way.sh(&turn()).stdout();
        assert_eq!(said, "", "{}", way.name());
    });
    ways::each_hardened(|way| assert_eq!(way.sh(&turn()).stdout(), "", "{}", way.name()));
    // What it was that kept them: opened on purpose, one can be written to, with its own value.
    let open = ways::run(&["--security-opt", "systempaths=unconfined", "--userns", "host", "--allow", "host-userns"]);
    let said = open.sh("v=$(cat /proc/sys/vm/swappiness); echo $v > /proc/sys/vm/swappiness && echo wrote").stdout();
    assert_eq!(said, "wrote");
}

#[test]
fn the_control_groups_are_left() {
    let script = "for f in $(find /sys/fs/cgroup -type f \\( -name 'release_agent' -o -name 'notify_on_release' -o -name 'devices.allow' -o -name 'cgroup.procs' \
        -o -name 'tasks' -o -name 'pids.max' -o -name 'memory.limit_in_bytes' -o -name 'memory.max' -o -name 'cpu.max' -o -name 'cpu.shares' -o -name 'cgroup.subtree_control' \\) 2>/dev/null); \
        do (echo 1 > $f) 2>/dev/null && echo wrote $f; done; \
        for d in $(find /sys/fs/cgroup -type d 2>/dev/null); do mkdir $d/x 2>/dev/null && echo made $d/x; done; \
        for c in memory pids rdma devices; do mkdir -p /tmp/c; mount -t cgroup -o $c none /tmp/c 2>/dev/null && echo mounted $c; done; \
        mount -t cgroup2 none /tmp/c 2>/dev/null && echo mounted version 2; \
        mount -o remount,rw /sys/fs/cgroup 2>/dev/null && echo remounted; \
        unshare -UrCm sh -c 'mount -t cgroup -o rdma none /tmp/c && echo mounted inside' 2>/dev/null; \
        unshare -C sh -c 'mount -t cgroup -o rdma none /tmp/c && echo mounted inside' 2>/dev/null; true";
    ways::each(|way| assert_eq!(way.sh(script).stdout(), "", "{}", way.name()));
    ways::each_hardened(|way| {
        assert_eq!(way.sh(script).stdout(), "", "{}", way.name());
        let groups = way.sh("cat /proc/self/cgroup; grep -c . /proc/1/cgroup").ok();
        assert!(
            groups.lines().filter(|line| line.contains(':')).all(|line| line.ends_with(":/")),
            "{}: {groups}",
            way.name()
        );
    });
}

/// Numbers of devices that the host may have: all its disks, and what memory, keys and hypervisors are behind.
fn devices() -> Vec<(char, u64, u64)> {
    let mut devices = vec![
        ('c', 1, 1),
        ('c', 1, 2),
        ('c', 1, 4),
        ('c', 1, 11),
        ('c', 10, 229),
        ('c', 10, 232),
        ('c', 10, 200),
        ('c', 10, 223),
        ('c', 10, 237),
        ('c', 10, 238),
        ('c', 4, 0),
        ('c', 4, 1),
        ('c', 5, 1),
        ('c', 10, 1),
        ('c', 13, 64),
        ('b', 7, 0),
        ('b', 8, 0),
        ('b', 259, 0),
        ('b', 254, 0),
        ('b', 253, 0),
    ];
    for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        let text = fs::read_to_string(entry.path().join("dev")).unwrap_or_default();
        if let Some((major, minor)) = text.trim().split_once(':')
            && let (Ok(major), Ok(minor)) = (major.parse(), minor.parse())
        {
            devices.push(('b', major, minor));
        }
    }
    devices
}

#[test]
fn a_device_of_the_host_is_opened() {
    let list: Vec<String> = devices().iter().map(|(kind, major, minor)| format!("{kind}:{major}:{minor}")).collect();
    let list = list.join(",");
    let attempt = ["/bin/attacker", "nodes", &list, "/tmp", "/dev", "/dev/shm", "/", "/root", "/run", "/var/tmp"];
    ways::each(|way| assert_eq!(way.first(&attempt).ok(), "", "{}", way.name()));
    ways::each_hardened(|way| assert_eq!(way.first(&attempt).ok(), "", "{}", way.name()));
    // In an image, whose nodes are there already.
    let mut names = Vec::new();
    let engine = ways::engine_with(|layer| {
        for (kind, major, minor) in devices() {
            let name = format!("n{kind}{major}-{minor}");
            let entry = if kind == 'c' { tar::EntryType::Char } else { tar::EntryType::Block };
            let mut header = archive::header(entry, &name, 0o666, 0);
            header.set_device_major(u32::try_from(major).unwrap()).unwrap();
            header.set_device_minor(u32::try_from(minor).unwrap()).unwrap();
            header.set_cksum();
            layer.append(&header, std::io::empty()).unwrap();
            names.push(name);
        }
    });
    let names: Vec<String> = names.iter().map(|name| format!("/{name}")).collect();
    for flags in [
        &[][..],
        &["--read-only=false", "--cap-add", "ALL", "--security-opt", "seccomp=unconfined"],
        &["--userns", "host", "--allow", "host-userns"],
    ] {
        let mut words = vec!["run", "--rm"];
        words.extend(flags);
        words.extend(["busybox", "attacker", "open"]);
        words.extend(names.iter().map(String::as_str));
        assert_eq!(engine.run(&words).ok(), "", "{flags:?}");
    }
}

#[test]
fn the_hosts_device_nodes_are_changed() {
    let names = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];
    let facts = || {
        names.map(|name| {
            fs::metadata(name).map(|facts| (facts.mode(), facts.uid(), facts.gid(), facts.mtime())).unwrap()
        })
    };
    let before = facts();
    // To what it is: nobody is hurt when it works, but the time of the change.
    let changed = || names.map(|name| fs::metadata(name).map(|facts| (facts.ctime(), facts.ctime_nsec())).unwrap());
    let untouched = changed();
    let script = "for f in null zero full random urandom tty; do chmod 666 /dev/$f; chown 0:0 /dev/$f; touch -d '2001-01-01' /dev/$f; done 2>/dev/null; true";
    let check = |way: &dyn ways::Way| {
        way.sh(script).ok();
        for (place, name) in names.iter().enumerate() {
            assert_eq!(facts()[place], before[place], "{name}: {}", way.name());
            assert_eq!(changed()[place], untouched[place], "{name} of the host was changed: {}", way.name());
        }
    };
    ways::each_hardened(check);
    ways::each(check);
    check(ways::run(&["--userns", "host", "--allow", "host-userns", "--cap-add", "ALL"]).as_ref());
}

#[test]
fn capabilities_reach_the_host() {
    let script = "dmesg 2>/dev/null | head -1 | sed 's/^/dmesg /'; date -s '2001-01-01 00:00' >/dev/null 2>&1; [ $(date +%Y) = 2001 ] && echo clock; \
        kill -0 -1 2>/dev/null; mount -t debugfs none /tmp 2>/dev/null && echo debugfs; mount -t tracefs none /tmp 2>/dev/null && echo tracefs; \
        mount -t securityfs none /tmp 2>/dev/null && echo securityfs; mount -t bpf none /tmp 2>/dev/null && ls /tmp | sed 's/^/bpf /'; \
        for d in $(ls /sys/block 2>/dev/null); do mknod /tmp/d b $(cat /sys/block/$d/dev | tr : ' ') 2>/dev/null && echo node $d; mount -t ext4 /dev/$d /tmp 2>/dev/null && echo disk $d; done; \
        insmod /bin/busybox 2>&1 | grep -v -i -E 'permitted|does not support' | sed 's/^/module /'; head -c 1 /proc/kcore 2>/dev/null | wc -c | grep -v '^0' | sed 's/^/kcore /'; \
        echo 1 2>/dev/null > /proc/sys/vm/drop_caches && echo drop_caches; swapon /tmp/none 2>&1 | grep -v -i -E 'permitted|No such' | sed 's/^/swap /'; true";
    let flags = [
        "--cap-add",
        "ALL",
        "--security-opt",
        "seccomp=unconfined",
        "--security-opt",
        "systempaths=unconfined",
        "--security-opt",
        "no-new-privileges=false",
        "--read-only=false",
    ];
    let clock = std::time::SystemTime::now();
    let way = ways::run(&flags);
    let said = way.sh(script).stdout();
    assert_eq!(said, "");
    assert!(clock.elapsed().unwrap().as_secs() < 60, "the host's clock was set");
    assert_eq!(way.first(&[ways::ATTACKER, "handle", "/etc/hosts"]).ok(), "handle EPERM");
    let host: Vec<&str> = flags.iter().chain(&["--userns", "host", "--allow", "host-userns"]).copied().collect();
    let said = ways::run(&host).sh("dmesg | wc -l").stdout();
    assert_ne!(said, "0", "what keeps the host is the user namespace");
}

#[test]
fn processes_of_the_host_are_reached() {
    let mut victim = std::process::Command::new("sleep").arg("1000").env("SECRET", ways::SECRET).spawn().unwrap();
    let pid = victim.id();
    let script = format!(
        "[ -d /proc/{pid} ] && echo seen; kill -9 {pid} 2>/dev/null && echo killed; cat /proc/{pid}/environ 2>/dev/null; ls /proc/{pid}/root/etc 2>/dev/null; ls /proc/{pid}/fd 2>/dev/null; \
        cat /proc/{pid}/mem 2>/dev/null; nsenter -t {pid} -a true 2>/dev/null && echo entered; nsenter -t {pid} -m true 2>/dev/null && echo entered; readlink /proc/{pid}/exe 2>/dev/null; \
        ls /proc/1/root/etc/shadow 2>/dev/null; kill -9 1 2>/dev/null && echo killed; true"
    );
    // Its own PID namespace: nobody is there.
    ways::each_hardened(|way| {
        let said = way.sh("ls -d /proc/[0-9]* | wc -l").ok();
        assert!(said.parse::<u32>().unwrap() < 6, "{}: {said} processes", way.name());
    });
    let engine = ways::engine();
    for more in [&[][..], &["--cap-add", "ALL", "--security-opt", "seccomp=unconfined"]] {
        let words: Vec<&str> = ["run", "--rm", "--pid", "host", "--allow", "host-pid"]
            .iter()
            .chain(more)
            .chain(&["busybox", "sh", "-c", &script])
            .copied()
            .collect();
        let output = engine.run(&words);
        assert_eq!(output.stdout(), "seen", "{more:?}: {}", output.stderr);
        assert!(victim.try_wait().unwrap().is_none(), "{more:?}: it lives");
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    // Abstract sockets are of the network namespace.
    let name = format!("casemate-attack-{}", std::process::id());
    let _listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    ways::each_hardened(|way| {
        assert_eq!(way.first(&[ways::ATTACKER, "abstract", &name]).ok(), "abstract ECONNREFUSED", "{}", way.name());
    });
    let output = engine.run(&[
        "run",
        "--rm",
        "--network",
        "host",
        "--allow",
        "host-network",
        "busybox",
        "attacker",
        "abstract",
        &name,
    ]);
    assert_eq!(output.ok(), "abstract connected", "it was the network namespace that kept it");
    let ours = fs::read_to_string("/proc/net/unix").unwrap();
    let engines =
        ours.lines().filter(|line| line.contains('@') && line.contains("casemate") && !line.contains(&name)).count();
    assert_eq!(engines, 0, "the engine has no abstract socket");
}

#[test]
fn a_set_user_id_program_gives_root() {
    let engine = ways::engine();
    for user in ["1000", "33"] {
        let said = engine.run(&["run", "--rm", "-u", user, "busybox", "prober-suid", "ids"]).ok();
        assert!(said.starts_with(&format!("uid {user} {user} {user} ")), "{said}");
        let open =
            ["run", "--rm", "-u", user, "--security-opt", "no-new-privileges=false", "busybox", "prober-suid", "ids"];
        let said = engine.run(&open).ok();
        assert!(said.starts_with(&format!("uid {user} 0 0 ")), "what keeps it is no-new-privileges: {said}");
    }
    let runtime = Runtime::new();
    let bundle = |no_new_privileges: bool| {
        ways::bundle(&runtime).args(&["/bin/prober-suid", "ids"]).edit(|config| {
            config["process"]["user"] = serde_json::json!({"uid": 1000, "gid": 1000});
            config["process"]["noNewPrivileges"] = no_new_privileges.into();
        })
    };
    assert!(bundle(true).run().ok().starts_with("uid 1000 1000 1000 "));
    assert!(bundle(false).run().ok().starts_with("uid 1000 0 0 "), "what keeps it is no-new-privileges");
}

#[test]
fn the_kernel_tells_of_the_host() {
    let files = [
        "/proc/kcore",
        "/proc/keys",
        "/proc/timer_list",
        "/proc/sched_debug",
        "/proc/latency_stats",
        "/proc/timer_stats",
    ];
    let script = format!(
        "for f in {}; do head -c 4096 $f 2>/dev/null; done; ls /proc/acpi /proc/scsi /proc/asound /sys/firmware 2>/dev/null | grep -v ':$' | grep .; true",
        files.join(" ")
    );
    ways::each(|way| assert_eq!(way.sh(&script).stdout(), "", "{}", way.name()));
    let more = "head -c 100000 /proc/kallsyms /proc/interrupts /proc/kmsg 2>/dev/null | grep -v '^==>' | grep .; dmesg 2>/dev/null; \
        ls /sys/kernel/debug /sys/kernel/security /sys/kernel/tracing /sys/fs/bpf /sys/fs/pstore 2>/dev/null | grep -v ':$' | grep .; true";
    let default = ways::run(&[]);
    assert_eq!(default.sh(more).stdout(), "");
    // Nothing of the engine's surroundings.
    let engine = ways::engine();
    let mut command = engine.command(&[
        "run",
        "--rm",
        "busybox",
        "sh",
        "-c",
        "cat /proc/*/environ /proc/*/cmdline /etc/* /proc/mounts /proc/self/mountinfo 2>/dev/null; env",
    ]);
    command
        .env("TOP_SECRET", ways::SECRET)
        .env("http_proxy", ways::SECRET)
        .env("LD_PRELOAD", "")
        .env("DOCKER_HOST", ways::SECRET);
    let output = casemate_tests::command::run(&mut command, None, casemate_tests::command::LIMIT);
    ways::assert_kept(&output, "the caller's environment");
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert!(
        !default.sh("hostname; cat /etc/hosts /etc/hostname").ok().contains(name.trim()),
        "the host's name is told"
    );
    let open = ways::run(&["--security-opt", "systempaths=unconfined", "--userns", "host", "--allow", "host-userns"]);
    assert_ne!(open.sh("head -c 100 /proc/timer_list").stdout(), "", "what keeps it is the mask");
}

#[test]
fn clock_and_names_are_set() {
    let host = || {
        (
            fs::read_to_string("/proc/sys/kernel/hostname").unwrap(),
            fs::read_to_string("/proc/sys/kernel/domainname").unwrap(),
        )
    };
    let before = host();
    let script = "hostname attacked 2>/dev/null && echo named; dnsdomainname attacked 2>/dev/null; (echo attacked > /proc/sys/kernel/hostname) 2>/dev/null && echo wrote; \
        (echo attacked > /proc/sys/kernel/domainname) 2>/dev/null && echo wrote; date -s '2001-01-01 00:00' >/dev/null 2>&1; [ $(date +%Y) = 2001 ] && echo clock; hwclock -w 2>/dev/null && echo hwclock; true";
    ways::each(|way| assert_eq!(way.sh(script).stdout(), "", "{}", way.name()));
    ways::each_hardened(|way| assert_eq!(way.sh(script).stdout(), "", "{}", way.name()));
    let own = ways::run(&["--cap-add", "SYS_ADMIN"]);
    assert_eq!(own.sh("hostname own && hostname").stdout(), "own");
    assert_eq!(host(), before);
}

#[test]
fn the_cloud_is_asked_for_credentials() {
    ways::each_hardened(|way| {
        // Nothing but its own loopback: no packet can leave.
        assert_eq!(way.sh("ls /sys/class/net; ip route; ip -6 route | grep -v lo; true").ok(), "lo", "{}", way.name());
        for address in ["169.254.169.254", "fd00:ec2::254", "10.0.0.1", "192.168.1.1"] {
            let output = way.sh(&format!("nc -w 1 {address} 80 </dev/null 2>&1"));
            assert!(
                output.code != 0 && output.stdout().contains("unreachable"),
                "{address}, {}: {}",
                way.name(),
                output.stdout()
            );
        }
    });
}

#[test]
fn the_host_is_asked_for() {
    let engine = ways::engine();
    let socket = engine.scratch().join("docker.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    let socket = format!("{}:/var/run/docker.sock", socket.display());
    let asked: &[(&[&str], &str)] = &[
        (&["--privileged"], "privileged"),
        (&["--pid", "host"], "host-pid"),
        (&["--network", "host"], "host-network"),
        (&["--ipc", "host"], "host-ipc"),
        (&["--uts", "host"], "host-uts"),
        (&["--userns", "host"], "host-userns"),
        (&["--cgroupns", "host"], "host-cgroupns"),
        (&["-v", "/:/host"], ""),
        (&["-v", "/etc:/host"], ""),
        (&["-v", "/proc:/host"], ""),
        (&["-v", "/sys:/host"], ""),
        (&["-v", "/dev:/host"], ""),
        (&["-v", "/var/run:/host"], ""),
        (&["-v", "/var/lib/docker:/host"], ""),
        (&["-v", "/root:/host"], ""),
        (&["-v", "/boot:/host"], ""),
        (&["-v", "/usr:/host"], ""),
        (&["-v", "/etc/shadow:/host"], ""),
        (&["-v", "/proc/sys/kernel/core_pattern:/host"], ""),
        (&["-v", "/../..//:/host"], ""),
        (&["-v", "/tmp/../etc:/host"], ""),
        (&["--mount", "type=bind,source=/,target=/host"], ""),
    ];
    for (flags, name) in asked {
        if flags[0] == "-v" && !fs::exists(flags[1].split(':').next().unwrap()).unwrap() {
            continue;
        }
        let words: Vec<&str> = ["run", "--rm"].iter().chain(*flags).chain(&["busybox", "true"]).copied().collect();
        let output = engine.run(&words).expect(125).says(&["allow"]);
        assert!(output.stderr.contains(name), "{flags:?}: {}", output.stderr);
    }
    let output = engine.run(&["run", "--rm", "-v", &socket, "busybox", "true"]);
    assert_eq!(output.code, 125, "a socket named docker.sock is given: {}", output.stderr);
    engine.run(&["run", "--rm", "--allow", "host-uts", "--uts", "host", "busybox", "true"]).ok();
    assert!(eventually(5, || engine.left_over().is_empty()), "{:?}", engine.left_over());
}
