// The specification that a bundle of the checks starts from, and the words that change it. For mujs (ECMAScript 5).
var config = {
    ociVersion: "1.0.2",
    root: { path: "/tests/rootfs", readonly: true },
    hostname: "inside",
    process: {
        args: ["sleep", "1000"],
        cwd: "/",
        env: ["PATH=/bin"],
        user: { uid: 0, gid: 0 },
        noNewPrivileges: true,
        capabilities: {}
    },
    mounts: [
        { destination: "/proc", type: "proc", source: "proc" },
        { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755", "size=65536k"] },
        { destination: "/dev/pts", type: "devpts", source: "devpts", options: ["newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
        { destination: "/dev/shm", type: "tmpfs", source: "shm", options: ["nosuid", "noexec", "nodev", "mode=1777"] },
        { destination: "/tmp", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=1777"] },
        { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
        { destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup", options: ["nosuid", "noexec", "nodev", "relatime", "ro"] }
    ],
    linux: {
        namespaces: [],
        resources: { devices: [{ allow: false, access: "rwm" }] }
    }
};
var process = config.process, linux = config.linux, resources = linux.resources;

function args() { process.args = Array.prototype.slice.call(arguments); }
function give(target, values) { for (var key in values) target[key] = values[key]; }
function capabilities(names) {
    ["bounding", "effective", "permitted"].forEach(function (set) { process.capabilities[set] = names; });
}
function unshare(type) { linux.namespaces.push({ type: type }); }
function share(type) { linux.namespaces = linux.namespaces.filter(function (one) { return one.type != type; }); }
function mount(destination) { return config.mounts.filter(function (one) { return one.destination == destination; })[0]; }
// A user namespace; control groups that may be written; device files for the serial ports 0 and 1.
function map() {
    unshare("user");
    linux.uidMappings = linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
}
function writable() { mount("/sys/fs/cgroup").options = ["nosuid", "noexec", "nodev"]; }
function lines() {
    linux.devices = [
        { path: "/dev/line", type: "c", major: 4, minor: 64, fileMode: 438 },
        { path: "/dev/other", type: "c", major: 4, minor: 65, fileMode: 438 }
    ];
}
function profile(name) { process.apparmorProfile = name; }

["pid", "network", "ipc", "uts", "mount", "cgroup"].forEach(unshare);
capabilities(["CAP_CHOWN", "CAP_KILL", "CAP_MKNOD"]);
