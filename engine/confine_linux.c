// Confinement of the engine. It runs as a constructor: before main, before the Go runtime has a second thread, and before a byte of SQL or
// of data was seen. What could be done is left in coldframe_confined; the agent is told and decides.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "confine.h"

int coldframe_confined;

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef THIS_ARCH

// What Go's runtime, glibc's threads and DuckDB over open memory files need, and no more. Files are opened by Landlock's leave, which is
// none, so that only /proc/self/fd/N of a memory file can be. Nothing that makes a process, a socket, or another user's signal is here.
static const int allowed[] = {
	SYS_read, SYS_readv, SYS_write, SYS_writev, SYS_pread64, SYS_preadv, SYS_close, SYS_fstat, SYS_newfstatat, SYS_statx, SYS_lseek,
	SYS_openat, SYS_readlinkat, SYS_faccessat, SYS_fcntl, SYS_fadvise64, SYS_recvmsg, SYS_ppoll, SYS_epoll_create1, SYS_epoll_ctl,
	SYS_epoll_pwait, SYS_eventfd2, SYS_pipe2, SYS_munmap, SYS_mremap, SYS_madvise, SYS_brk, SYS_mincore, SYS_membarrier,
	SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_sigaltstack, SYS_futex, SYS_set_robust_list, SYS_set_tid_address, SYS_rseq,
	SYS_sched_yield, SYS_sched_getaffinity, SYS_getpid, SYS_gettid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getcpu,
	SYS_nanosleep, SYS_clock_nanosleep, SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_getrandom, SYS_getrusage, SYS_getrlimit,
	SYS_sysinfo, SYS_uname, SYS_restart_syscall, SYS_exit, SYS_exit_group,
#ifdef __x86_64__
	SYS_open, SYS_stat, SYS_lstat, SYS_readlink, SYS_access, SYS_poll, SYS_epoll_wait, SYS_time, SYS_arch_prctl,
#endif
};

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define LOAD_AFTER(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field) + 4)
#define EQUAL(v, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (v), (yes), (no))
#define ANY_BIT(v, yes, no) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (v), (yes), (no))
#define ANSWER(a) BPF_STMT(BPF_RET | BPF_K, (a))
#define ALLOW ANSWER(SECCOMP_RET_ALLOW)
#define REFUSE(e) ANSWER(SECCOMP_RET_ERRNO | (e))

static int filter_syscalls(void) {
	struct sock_filter f[64 + 2 * sizeof(allowed) / sizeof(*allowed)];
	const struct sock_filter head[] = {
		LOAD(arch), EQUAL(THIS_ARCH, 1, 0), ANSWER(SECCOMP_RET_KILL_PROCESS),
		LOAD(nr),
		EQUAL(SYS_clone3, 0, 1), REFUSE(ENOSYS), // its flags cannot be read from here: glibc then calls clone
		EQUAL(SYS_clone, 0, 4), LOAD(args[0]), ANY_BIT(CLONE_THREAD, 0, 1), ALLOW, REFUSE(EPERM), // threads, never processes
		EQUAL(SYS_tgkill, 0, 4), LOAD(args[0]), EQUAL((uint32_t)getpid(), 0, 1), ALLOW, REFUSE(EPERM), // signals to ourselves
		EQUAL(SYS_mmap, 1, 0), EQUAL(SYS_mprotect, 0, 4), LOAD(args[2]), ANY_BIT(PROT_EXEC, 1, 0), ALLOW, REFUSE(EPERM), // no new code
		EQUAL(SYS_prlimit64, 0, 6), LOAD(args[2]), EQUAL(0, 0, 3), LOAD_AFTER(args[2]), EQUAL(0, 0, 1), ALLOW, REFUSE(EPERM), // limits are only read
	};
	unsigned n = 0;
	for (unsigned i = 0; i < sizeof(head) / sizeof(*head); i++) f[n++] = head[i];
	for (unsigned i = 0; i < sizeof(allowed) / sizeof(*allowed); i++) {
		f[n++] = (struct sock_filter)EQUAL((uint32_t)allowed[i], 0, 1);
		f[n++] = (struct sock_filter)ALLOW;
	}
	f[n++] = (struct sock_filter)REFUSE(EPERM);
	struct sock_fprog prog = {.len = n, .filter = f};
	return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) == 0;
}

// The ruleset of <linux/landlock.h>, which older systems lack. 444 to 446 are the calls on every architecture.
struct ruleset {
	uint64_t files, net, scoped;
};

static int no_files(void) {
	static const int rights[] = {0, 13, 14, 15, 15, 16}; // of files, by the version of the interface
	long abi = syscall(444, NULL, 0, 1);
	if (abi < 1) return 0;
	struct ruleset r = {.files = (1ULL << rights[abi > 5 ? 5 : abi]) - 1};
	if (abi >= 4) r.net = 3;    // bind and connect of TCP
	if (abi >= 6) r.scoped = 3; // abstract sockets and signals outside
	size_t size = abi >= 6 ? 24 : abi >= 4 ? 16 : 8;
	int fd = syscall(444, &r, size, 0);
	if (fd < 0) return 0;
	int ok = syscall(446, fd, 0) == 0;
	close(fd);
	return ok;
}

static void limit(int what, rlim_t n) {
	struct rlimit r = {n, n};
	setrlimit(what, &r);
}

// drop gives up the capabilities that root has, or that the first process of a user namespace gets, and reports whether none is left: a
// service manager that refuses the call has taken them away before.
static int drop(void) {
	for (int c = 0; c < 64; c++) prctl(PR_CAPBSET_DROP, c, 0, 0, 0);
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2] = {{0}};
	syscall(SYS_capset, &head, caps);
	if (syscall(SYS_capget, &head, caps) != 0) return 0;
	return !(caps[0].effective | caps[0].permitted | caps[0].inheritable | caps[1].effective | caps[1].permitted | caps[1].inheritable);
}

__attribute__((constructor)) static void confine(void) {
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_FSIZE, 0);
	limit(RLIMIT_MEMLOCK, 0);
	limit(RLIMIT_MSGQUEUE, 0);
	prctl(PR_SET_DUMPABLE, 0);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) == 0) coldframe_confined |= CONFINED_NAMESPACES;
	int dropped = drop();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && dropped) coldframe_confined |= CONFINED_PRIVILEGES;
	if (no_files()) coldframe_confined |= CONFINED_FILES;
	if (filter_syscalls()) coldframe_confined |= CONFINED_SYSCALLS;
}

#endif
