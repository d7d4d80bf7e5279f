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
120 99 0:61 / / ro,nodev,relatime,idmapped - overlay overlay ro,lowerdir+=/a,lowerdir+=/b
121 120 0:62 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
122 120 0:63 / /dev ro,nosuid,noexec - tmpfs tmpfs rw,size=64k,mode=755
123 122 0:6 /null /dev/null rw,nosuid,noexec - devtmpfs devtmpfs rw,size=12334524k
124 122 0:6 /zero /dev/zero rw,nosuid,noexec - devtmpfs devtmpfs rw,size=12334524k
125 122 0:64 / /dev/pts rw,nosuid,noexec,relatime - devpts devpts rw,gid=5,mode=620,ptmxmode=666
126 122 0:65 / /dev/shm rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,size=65536k
127 122 0:66 / /dev/mqueue rw,nosuid,nodev,noexec,relatime - mqueue mqueue rw
128 120 0:67 / /sys ro,nosuid,nodev,noexec,relatime - sysfs sysfs ro
129 120 0:68 / /tmp rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,size=65536k,mode=1777
130 120 0:69 / /run rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,size=65536k,mode=755
131 120 0:70 / /var/tmp rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,size=65536k,mode=1777
132 121 0:62 /sys /proc/sys ro,nosuid,nodev,noexec,relatime - proc proc rw
133 121 0:71 / /proc/acpi ro,nosuid,nodev,noexec,relatime - tmpfs tmpfs ro
134 121 0:6 /null /proc/kcore ro,nosuid,noexec - devtmpfs devtmpfs rw
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
