// DuckDB asks whether files of the system are there, those of its cgroup for one, and falls over when they are but cannot be opened: Landlock
// refuses to open, not to look. So it sees nothing but what it may open. This takes the place of the C library's function.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int access(const char *path, int mode) {
	static const char files[] = "/proc/self/fd/";
	if (strncmp(path, files, sizeof(files) - 1) == 0) return (int)syscall(SYS_faccessat, AT_FDCWD, path, mode);
	errno = ENOENT;
	return -1;
}
