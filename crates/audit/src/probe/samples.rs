//! What `/proc` showed inside containers: Docker's default and `--privileged` (29, cgroup v2) and casemate's default.
//! Host paths are shortened.

/// `docker run IMAGE cat /proc/self/mountinfo`
pub(super) const DOCKER_MOUNTS: &str = "\
72 48 0:39 / / rw,relatime master:2 - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/A:/var/lib/docker/overlay2/l/B,upperdir=/var/lib/docker/overlay2/3/diff,workdir=/var/lib/docker/overlay2/3/work
73 72 0:42 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
74 72 0:43 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
75 74 0:44 / /dev/pts rw,nosuid,noexec,relatime - devpts devpts rw,gid=5,mode=620,ptmxmode=666
76 72 0:45 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro
77 76 0:30 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate
87 74 0:41 / /dev/mqueue rw,nosuid,nodev,noexec,relatime - mqueue mqueue rw
88 74 0:47 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k
89 72 254:0 /var/lib/docker/containers/1/resolv.conf /etc/resolv.conf rw,relatime - ext4 /dev/vda rw
90 72 254:0 /var/lib/docker/containers/1/hostname /etc/hostname rw,relatime - ext4 /dev/vda rw
91 72 254:0 /var/lib/docker/containers/1/hosts /etc/hosts rw,relatime - ext4 /dev/vda rw
49 73 0:42 /bus /proc/bus ro,nosuid,nodev,noexec,relatime - proc proc rw
50 73 0:42 /fs /proc/fs ro,nosuid,nodev,noexec,relatime - proc proc rw
51 73 0:42 /irq /proc/irq ro,nosuid,nodev,noexec,relatime - proc proc rw
52 73 0:42 /sys /proc/sys ro,nosuid,nodev,noexec,relatime - proc proc rw
53 73 0:48 / /proc/acpi ro,relatime - tmpfs tmpfs ro
57 73 0:43 /null /proc/kcore rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
54 73 0:43 /null /proc/keys rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
55 73 0:43 /null /proc/timer_list rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
56 76 0:49 / /sys/firmware ro,relatime - tmpfs tmpfs ro
";

/// The same with `--privileged`.
pub(super) const PRIVILEGED_MOUNTS: &str = "\
72 48 0:39 / / rw,relatime master:2 - overlay overlay rw,lowerdir=/var/lib/docker/overlay2/l/A:/var/lib/docker/overlay2/l/B,upperdir=/var/lib/docker/overlay2/3/diff,workdir=/var/lib/docker/overlay2/3/work
73 72 0:42 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
74 72 0:43 / /dev rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755
75 74 0:44 / /dev/pts rw,nosuid,noexec,relatime - devpts devpts rw,gid=5,mode=620,ptmxmode=666
76 72 0:45 / /sys rw,nosuid,nodev,noexec,relatime - sysfs sysfs rw
77 76 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate
87 74 0:41 / /dev/mqueue rw,nosuid,nodev,noexec,relatime - mqueue mqueue rw
88 74 0:47 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k
";

/// The same in casemate's default.
pub(super) const CASEMATE_MOUNTS: &str = "\
43 89 0:32 / /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime - cgroup cgroup rw,memory
44 89 0:29 / /sys/fs/cgroup/cpu ro,nosuid,nodev,noexec,relatime - cgroup cgroup rw,cpu
45 89 0:36 / /sys/fs/cgroup/pids ro,nosuid,nodev,noexec,relatime - cgroup cgroup rw,pids
46 82 254:0 /run/casemate/shared/hosts /etc/hosts ro,nosuid,nodev,noexec,relatime,idmapped - ext4 /dev/vda rw
47 82 254:0 /run/casemate/1/hostname /etc/hostname ro,nosuid,nodev,noexec,relatime,idmapped - ext4 /dev/vda rw
48 82 254:0 /run/casemate/shared/resolv.conf /etc/resolv.conf ro,nosuid,nodev,noexec,relatime,idmapped - ext4 /dev/vda rw
49 84 0:6 /null /dev/null rw,relatime - devtmpfs devtmpfs rw,size=12334524k,mode=755
50 84 0:6 /zero /dev/zero rw,relatime - devtmpfs devtmpfs rw,size=12334524k,mode=755
51 84 0:6 /full /dev/full rw,relatime - devtmpfs devtmpfs rw,size=12334524k,mode=755
52 84 0:6 /random /dev/random rw,relatime - devtmpfs devtmpfs rw,size=12334524k,mode=755
53 84 0:6 /urandom /dev/urandom rw,relatime - devtmpfs devtmpfs rw,size=12334524k,mode=755
54 84 0:6 /tty /dev/tty rw,relatime - devtmpfs devtmpfs rw,size=12334524k,mode=755
82 55 0:40 / / ro,nosuid,nodev,relatime - overlay none ro,lowerdir+=/,lowerdir+=/,redirect_dir=on
83 82 0:43 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
84 82 0:44 / /dev rw,nosuid,noexec - tmpfs tmpfs rw,size=1024k,mode=755,uid=1952120832,gid=1952120832
85 84 0:45 / /dev/pts rw,nosuid,noexec,relatime - devpts devpts rw,gid=1952120837,mode=620,ptmxmode=666
86 84 0:46 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k,uid=1952120832,gid=1952120832
87 84 0:39 / /dev/mqueue rw,nosuid,nodev,noexec,relatime - mqueue mqueue rw
88 82 0:47 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs rw
89 88 0:48 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - tmpfs none rw,size=64k,mode=755,uid=1952120832,gid=1952120832
90 82 0:49 / /tmp rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,size=262144k,nr_inodes=65536,uid=1952120832,gid=1952120832
91 82 0:50 / /run rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,size=65536k,nr_inodes=65536,mode=755,uid=1952120832,gid=1952120832
92 82 0:51 / /var/tmp rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,size=262144k,nr_inodes=65536,uid=1952120832,gid=1952120832
78 83 0:43 /bus /proc/bus ro,nosuid,nodev,noexec,relatime - proc proc rw
79 83 0:43 /fs /proc/fs ro,nosuid,nodev,noexec,relatime - proc proc rw
93 83 0:43 /irq /proc/irq ro,nosuid,nodev,noexec,relatime - proc proc rw
94 83 0:43 /sys /proc/sys ro,nosuid,nodev,noexec,relatime - proc proc rw
95 83 0:52 / /proc/acpi ro,nosuid,nodev,noexec,relatime - tmpfs none rw,size=4k,nr_inodes=2,uid=1952120832,gid=1952120832
96 83 0:6 /null /proc/interrupts rw,relatime - devtmpfs devtmpfs rw,size=12334524k,mode=755
97 83 0:6 /null /proc/kallsyms rw,relatime - devtmpfs devtmpfs rw,size=12334524k,mode=755
98 83 0:6 /null /proc/keys rw,relatime - devtmpfs devtmpfs rw,size=12334524k,mode=755
99 83 0:6 /null /proc/kmsg rw,relatime - devtmpfs devtmpfs rw,size=12334524k,mode=755
100 83 0:6 /null /proc/kpagecgroup rw,relatime - devtmpfs devtmpfs rw,size=12334524k,mode=755
101 83 0:6 /null /proc/kpagecount rw,relatime - devtmpfs devtmpfs rw,size=12334524k,mode=755
102 83 0:6 /null /proc/kpageflags rw,relatime - devtmpfs devtmpfs rw,size=12334524k,mode=755
103 83 0:6 /null /proc/timer_list rw,relatime - devtmpfs devtmpfs rw,size=12334524k,mode=755
104 88 0:52 / /sys/dev/block ro,nosuid,nodev,noexec,relatime - tmpfs none rw,size=4k,nr_inodes=2,uid=1952120832,gid=1952120832
105 88 0:52 / /sys/firmware ro,nosuid,nodev,noexec,relatime - tmpfs none rw,size=4k,nr_inodes=2,uid=1952120832,gid=1952120832
106 88 0:52 / /sys/fs/bpf ro,nosuid,nodev,noexec,relatime - tmpfs none rw,size=4k,nr_inodes=2,uid=1952120832,gid=1952120832
107 88 0:52 / /sys/fs/pstore ro,nosuid,nodev,noexec,relatime - tmpfs none rw,size=4k,nr_inodes=2,uid=1952120832,gid=1952120832
108 88 0:52 / /sys/kernel/debug ro,nosuid,nodev,noexec,relatime - tmpfs none rw,size=4k,nr_inodes=2,uid=1952120832,gid=1952120832
109 88 0:52 / /sys/kernel/security ro,nosuid,nodev,noexec,relatime - tmpfs none rw,size=4k,nr_inodes=2,uid=1952120832,gid=1952120832
110 88 0:52 / /sys/kernel/tracing ro,nosuid,nodev,noexec,relatime - tmpfs none rw,size=4k,nr_inodes=2,uid=1952120832,gid=1952120832
";

/// `docker run IMAGE cat /proc/self/status`, the lines that matter.
pub(super) const DOCKER_STATUS: &str = "\
Name:	cat
Umask:	0022
State:	R (running)
Pid:	1
Uid:	0	0	0	0
Gid:	0	0	0	0
Groups:	 
NStgid:	1
NSpid:	1
CapInh:	0000000000000000
CapPrm:	00000000a80425fb
CapEff:	00000000a80425fb
CapBnd:	00000000a80425fb
CapAmb:	0000000000000000
NoNewPrivs:	0
Seccomp:	2
Seccomp_filters:	1
";

/// The same with `--privileged`.
pub(super) const PRIVILEGED_STATUS: &str = "\
Name:	cat
Umask:	0022
State:	R (running)
Pid:	1
Uid:	0	0	0	0
Gid:	0	0	0	0
Groups:	 
NStgid:	1
NSpid:	1
CapInh:	0000000000000000
CapPrm:	000001ffffffffff
CapEff:	000001ffffffffff
CapBnd:	000001ffffffffff
CapAmb:	0000000000000000
NoNewPrivs:	0
Seccomp:	0
Seccomp_filters:	0
";

/// The same in casemate's default.
pub(super) const CASEMATE_STATUS: &str = "\
Name:	cat
Umask:	0022
State:	R (running)
Pid:	1
Uid:	0	0	0	0
Gid:	0	0	0	0
Groups:	 
NStgid:	1
NSpid:	1
CapInh:	0000000000000000
CapPrm:	0000000000000000
CapEff:	0000000000000000
CapBnd:	0000000000000000
CapAmb:	0000000000000000
NoNewPrivs:	1
Seccomp:	2
Seccomp_filters:	1
";

/// `/proc/net/dev` on Docker's bridge.
pub(super) const NET_DEV: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  eth0:    1086      13    0    0    0     0          0         0      126       3    0    0    0     0       0          0
";

/// `/proc/net/fib_trie` on Docker's bridge, shortened.
pub(super) const FIB_TRIE: &str = "\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
Local:
  +-- 0.0.0.0/0 2 0 2
     +-- 127.0.0.0/31 1 0 0
        |-- 127.0.0.1
           /32 host LOCAL
     +-- 172.17.0.0/30 2 0 2
        |-- 172.17.0.2
           /32 host LOCAL
     |-- 172.17.255.255
        /32 link BROADCAST
";

/// `/proc/net/route` on Docker's bridge.
pub(super) const ROUTE: &str = "\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	010011AC	0003	0	0	0	00000000	0	0	0
eth0	000011AC	00000000	0001	0	0	0	0000FFFF	0	0	0
";
