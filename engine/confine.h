// What the constructor of confine_linux.c could do.
enum {
	CONFINED_PRIVILEGES = 1, // no new privileges, no capabilities
	CONFINED_FILES = 2,      // Landlock: no file can be opened by its name
	CONFINED_SYSCALLS = 4,   // seccomp: no sockets, processes or executable memory
	CONFINED_NAMESPACES = 8, // a network namespace of its own, with nothing in it
};

extern int coldframe_confined;
