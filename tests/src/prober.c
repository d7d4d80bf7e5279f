/* Tries system calls for real, and reports what came of each: the tests run it in containers.
 *
 *     prober calls           a line a call: NAME ok, NAME EPERM, NAME SIGSYS
 *     prober fds             the open descriptors
 *     prober ids             real, effective and saved ids, and the groups
 *     prober eat MIB         takes memory, and keeps it
 *     prober bind PORT       listens on 127.0.0.1
 *     prober orphans N       leaves N processes to the init of the PID namespace
 *     prober xattr PATH      the errno of setting trusted.x
 *
 * No call that the kernel would carry out does any harm: arguments are invalid where a success would change something. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

struct call {
    const char *name;
    long number, a, b, c, d, e;
};

#define P(x) ((long)(x))
#define HIGH (1L << 32)

static char text[] = "x";
static int zero[64];
static unsigned long perf[16] = { 1 | (128UL << 32) };

static const struct call calls[] = {
    { "getpid", SYS_getpid },
    { "fchmod", SYS_fchmodat, AT_FDCWD, P("/tmp/probed"), 0600 },
    { "unshare-user", SYS_unshare, CLONE_NEWUSER },
    { "unshare-mount", SYS_unshare, CLONE_NEWNS },
    { "unshare-net", SYS_unshare, CLONE_NEWNET },
    { "clone-user", SYS_clone, CLONE_NEWUSER | SIGCHLD },
    { "clone-mount", SYS_clone, CLONE_NEWNS | SIGCHLD },
    { "clone-pid", SYS_clone, CLONE_NEWPID | SIGCHLD },
    { "clone", SYS_clone, SIGCHLD },
    { "clone3", SYS_clone3, P(zero), 64 },
    { "setns", SYS_setns, -1, 0 },
    { "mount", SYS_mount, P("none"), P("/tmp"), P("tmpfs"), 0, 0 },
    { "umount2", SYS_umount2, P("/tmp"), 0 },
    { "pivot_root", SYS_pivot_root, P("/tmp"), P("/tmp") },
    { "chroot", SYS_chroot, P("/nonexistent") },
    { "fsopen", SYS_fsopen, P("tmpfs"), 0 },
    { "fsconfig", SYS_fsconfig, -1, 0 },
    { "fsmount", SYS_fsmount, -1, 0, 0 },
    { "open_tree", SYS_open_tree, AT_FDCWD, P("/"), 1 },
    { "move_mount", SYS_move_mount, -1, P(""), -1, P(""), 0 },
    { "mount_setattr", SYS_mount_setattr, -1, P(""), 0, 0, 0 },
    { "bpf", SYS_bpf, 0, P(zero), 32 },
    { "perf_event_open", SYS_perf_event_open, P(perf), 0, -1, -1, 0 },
    { "keyctl", SYS_keyctl, 0, -3, 0 },
    { "add_key", SYS_add_key, P("user"), P("k"), P("v"), 1, -3 },
    { "request_key", SYS_request_key, P("user"), P("k"), 0, 0 },
    { "userfaultfd", SYS_userfaultfd, 1 },
    { "io_uring_setup", SYS_io_uring_setup, 1, P(zero) },
    { "io_uring_enter", SYS_io_uring_enter, -1, 0, 0, 0, 0 },
    { "ptrace", SYS_ptrace, 0, 0, 0, 0 },
    { "process_vm_readv", SYS_process_vm_readv, 1, 0, 0, 0, 0 },
    { "process_vm_writev", SYS_process_vm_writev, 1, 0, 0, 0, 0 },
    { "pidfd_getfd", SYS_pidfd_getfd, -1, 0, 0 },
    { "kcmp", SYS_kcmp, 1, 1, 0, 0, 0 },
    { "open_by_handle_at", SYS_open_by_handle_at, -1, 0, 0 },
    { "init_module", SYS_init_module, 0, 0, P(text) },
    { "finit_module", SYS_finit_module, -1, P(text), 0 },
    { "delete_module", SYS_delete_module, P("none"), 0 },
    { "kexec_load", SYS_kexec_load, 0, 0, 0, -1 },
    { "reboot", SYS_reboot, 0, 0, 0 },
    { "swapon", SYS_swapon, P("/nonexistent"), 0 },
    { "swapoff", SYS_swapoff, P("/nonexistent") },
    { "acct", SYS_acct, P("/nonexistent") },
    { "quotactl", SYS_quotactl, 0, 0, 0, 0 },
    { "syslog", SYS_syslog, 10, 0, 0 },
    { "settimeofday", SYS_settimeofday, P(1), 0 },
    { "clock_settime", SYS_clock_settime, 99, 0 },
    { "adjtimex", SYS_adjtimex, P(1) },
    { "sethostname", SYS_sethostname, P(text), -1 },
    { "fanotify_init", SYS_fanotify_init, 0, 0 },
    { "vmsplice", SYS_vmsplice, -1, 0, 0, 0 },
    { "remap_file_pages", SYS_remap_file_pages, 0, 0, 0, 0, 0 },
    { "memfd_secret", 447, 0 },
    { "personality-read-implies-exec", SYS_personality, 0x0400000 },
    { "personality-ask", SYS_personality, 0xffffffff },
    { "unknown-call", 1999 },
    { "socket-unix", SYS_socket, AF_UNIX, SOCK_STREAM, 0 },
    { "socket-inet", SYS_socket, AF_INET, SOCK_STREAM, 0 },
    { "socket-inet6", SYS_socket, AF_INET6, SOCK_DGRAM, 0 },
    { "socket-netlink-route", SYS_socket, AF_NETLINK, SOCK_RAW, 0 },
    { "socket-netlink-audit", SYS_socket, AF_NETLINK, SOCK_RAW, 9 },
    { "socket-netlink-netfilter", SYS_socket, AF_NETLINK, SOCK_RAW, 12 },
    { "socket-netlink-generic", SYS_socket, AF_NETLINK, SOCK_RAW, 16 },
    { "socket-packet", SYS_socket, AF_PACKET, SOCK_RAW, 0 },
    { "socket-inet-raw", SYS_socket, AF_INET, SOCK_RAW, 1 },
    { "socket-inet-packet", SYS_socket, AF_INET, SOCK_PACKET, 0 },
    { "socket-sctp", SYS_socket, AF_INET, SOCK_SEQPACKET, 132 },
    { "socket-mptcp", SYS_socket, AF_INET, SOCK_STREAM, 262 },
    { "socket-key", SYS_socket, 15, SOCK_RAW, 2 },
    { "socket-can", SYS_socket, 29, SOCK_RAW, 1 },
    { "socket-tipc", SYS_socket, 30, SOCK_STREAM, 0 },
    { "socket-bluetooth", SYS_socket, 31, SOCK_RAW, 0 },
    { "socket-rxrpc", SYS_socket, 33, SOCK_DGRAM, 2 },
    { "socket-alg", SYS_socket, 38, SOCK_SEQPACKET, 0 },
    { "socket-vsock", SYS_socket, 40, SOCK_STREAM, 0 },
    { "socket-smc", SYS_socket, 43, SOCK_STREAM, 0 },
    { "socket-xdp", SYS_socket, 44, SOCK_RAW, 0 },
    { "socket-packet-high-bits", SYS_socket, AF_PACKET | HIGH, SOCK_RAW, 0 },
    { "socketpair-tipc", SYS_socketpair, 30, SOCK_STREAM, 0, P(zero) },
    { "ioctl-other", SYS_ioctl, -1, TIOCGWINSZ, 0 },
    { "ioctl-tiocsti", SYS_ioctl, -1, TIOCSTI, P(text) },
    { "ioctl-tiocsti-high-bits", SYS_ioctl, -1, TIOCSTI | HIGH, P(text) },
    { "ioctl-tioclinux", SYS_ioctl, -1, TIOCLINUX, P(text) },
    { "setsockopt-other", SYS_setsockopt, -1, 6, 1, P(zero), 4 },
    { "setsockopt-ulp", SYS_setsockopt, -1, 6, 31, P("tls"), 3 },
    { "setsockopt-ulp-high-bits", SYS_setsockopt, -1, 6 | HIGH, 31 | HIGH, P("tls"), 3 },
#ifdef __x86_64__
    { "iopl", SYS_iopl, 4 },
    { "ioperm", SYS_ioperm, -1, 1, 1 },
    { "modify_ldt", SYS_modify_ldt, 0, P(zero), 0 },
    { "uselib", SYS_uselib, P("/nonexistent") },
    { "ustat", SYS_ustat, 0, 0 },
    { "x32-getpid", 0x40000000 | SYS_getpid },
#endif
};

static void report(const char *name, pid_t child) {
    int status;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status))
        printf("%s SIG%s\n", name, sigabbrev_np(WTERMSIG(status)));
    else if (WEXITSTATUS(status) == 0)
        printf("%s ok\n", name);
    else
        printf("%s %s\n", name, strerrorname_np(WEXITSTATUS(status)));
    fflush(stdout);
}

#ifdef __x86_64__
/* Calls of i386, by the numbers it has for them. What they point to is where 32 bits reach. */
static void try_i386(void) {
    uint32_t *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (low == MAP_FAILED) return perror("mmap");
    const struct {
        const char *name;
        long number, a, b, c;
        uint32_t words[3];
    } calls[] = {
        { "i386-getpid", 20 },
        { "i386-socket-inet", 359, AF_INET, SOCK_STREAM, 0 },
        { "i386-socket-alg", 359, AF_ALG, SOCK_SEQPACKET, 0 },
        { "i386-socketcall-inet", 102, 1, P(low), 0, { AF_INET, SOCK_STREAM, 0 } },
        { "i386-socketcall-alg", 102, 1, P(low), 0, { AF_ALG, SOCK_SEQPACKET, 0 } },
        { "i386-socketcall-shutdown", 102, 13, P(low), 0, { -1, 0 } },
        { "i386-ioctl-tiocsti", 54, -1, TIOCSTI, 0 },
        { "i386-ioctl-other", 54, -1, TCGETS, 0 },
        { "i386-setsockopt-ulp", 366, -1, IPPROTO_TCP, 31 },
        { "i386-shmget", 395, 0, 0, 0 },
        { "i386-ipc-shmget", 117, 23, 0, 0 },
        { "i386-ipc-shmget-version", 117, 23 | 1 << 16, 0, 0 },
    };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        pid_t child = fork();
        if (child < 0) return perror("fork");
        if (child == 0) {
            memcpy(low, calls[i].words, sizeof calls[i].words);
            long result;
            __asm__ volatile("int $0x80"
                             : "=a"(result)
                             : "a"(calls[i].number), "b"(calls[i].a), "c"(calls[i].b), "d"(calls[i].c), "S"(0L)
                             : "memory", "r8", "r9", "r10", "r11");
            _exit((int)result < 0 ? -(int)result : 0);
        }
        report(calls[i].name, child);
    }
}
#endif

static int try_calls(void) {
    close(open("/tmp/probed", O_CREAT | O_WRONLY, 0600));
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        const struct call *call = &calls[i];
        pid_t child = fork();
        if (child < 0) return perror("fork"), 1;
        if (child == 0) {
            errno = 0;
            long result = syscall(call->number, call->a, call->b, call->c, call->d, call->e);
            /* The other side of a clone that was carried out ends here too. */
            _exit(result == -1 ? errno : 0);
        }
        report(call->name, child);
    }
#ifdef __x86_64__
    try_i386();
#endif
    return 0;
}

static int fds(void) {
    for (int fd = 0; fd < 65536; fd++)
        if (fcntl(fd, F_GETFD) != -1) printf("%d ", fd);
    printf("\n");
    return 0;
}

static int ids(void) {
    uid_t r, e, s;
    getresuid(&r, &e, &s);
    printf("uid %u %u %u ", r, e, s);
    getresgid(&r, &e, &s);
    printf("gid %u %u %u groups", r, e, s);
    gid_t groups[64];
    int count = getgroups(64, groups);
    for (int i = 0; i < count; i++) printf(" %u", groups[i]);
    printf("\n");
    return 0;
}

static int eat(long mib) {
    for (long i = 0; i < mib; i++) {
        char *memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) return perror("mmap"), 1;
        memset(memory, 1, 1 << 20);
    }
    printf("took %ld MiB\n", mib);
    return 0;
}

static int listen_on(int port) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 1)) return perror("bind"), 1;
    printf("listening on %d\n", port);
    return 0;
}

static int orphans(int count) {
    for (int i = 0; i < count; i++) {
        pid_t child = fork();
        if (child == 0) {
            if (fork() == 0) {
                usleep(50000);
                _exit(0);
            }
            _exit(0);
        }
        waitpid(child, NULL, 0);
    }
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    long number = argc > 2 ? atol(argv[2]) : 0;
    if (!strcmp(what, "calls")) return try_calls();
    if (!strcmp(what, "fds")) return fds();
    if (!strcmp(what, "ids")) return ids();
    if (!strcmp(what, "eat")) return eat(number);
    if (!strcmp(what, "bind")) return listen_on(number);
    if (!strcmp(what, "orphans")) return orphans(number);
    if (!strcmp(what, "xattr") && argc > 2) {
        if (setxattr(argv[2], "trusted.x", "1", 1, 0)) return perror("setxattr"), 1;
        return 0;
    }
    fprintf(stderr, "prober: calls, fds, ids, eat MIB, bind PORT, orphans N or xattr PATH\n");
    return 2;
}
