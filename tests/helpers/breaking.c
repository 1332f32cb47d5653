/* Between a program and the C library: breaks the program off, or lets a call fail, at one chosen call on files below a folder.

   It is told what to do, and tells what it saw, in a page that all processes of a run share: the file that BREAKING names,
   laid out as `struct page`, which tests/helpers/breaking.py fills in and reads. Symbols are those of glibc on a 64-bit system. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ROWS = 40, NAME = 16, PATH = 4096 };
enum { FAIL_ONCE, FAIL_ON, KILL_ONE, KILL_ALL };

struct page {
    char root[PATH];  /* calls on files below it count */
    char broken[PATH];  /* the file of the call that was broken */
    int32_t chosen;  /* row of the kind of call to break, -1 for none */
    int32_t place;  /* which of its calls: 1 is the first */
    int32_t manner;
    int32_t error;
    struct row { char name[NAME]; int32_t seen; } rows[ROWS];
};

static struct page *page;

__attribute__((constructor)) static void attach(void)
{
    const char *name = getenv("BREAKING");
    long number = name ? syscall(SYS_openat, AT_FDCWD, name, O_RDWR | O_CLOEXEC) : -1;
    if (number < 0)
        return;
    void *found = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, (int)number, 0);
    syscall(SYS_close, number);
    if (found != MAP_FAILED)
        page = found;
}

/* The name of an open file. */
static int name_of(int number, char *name)
{
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", number);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, name, PATH - 1);
    if (length < 0)
        return 0;
    name[length] = 0;
    return 1;
}

/* The whole name of a file that is called by one relative to a folder. */
static int name_in(int folder, const char *called, char *name)
{
    size_t length = 0;
    if (called == NULL)
        return name_of(folder, name);
    if (called[0] != '/') {
        if (folder == AT_FDCWD ? syscall(SYS_getcwd, name, PATH) < 0 : !name_of(folder, name))
            return 0;
        length = strlen(name);
        name[length++] = '/';
    }
    if (length + strlen(called) >= PATH)
        return 0;
    strcpy(name + length, called);
    return 1;
}

/* Count a call on a file; nonzero says that it is to fail, with `errno` set. */
static int broken(const char *call, const char *name)
{
    size_t length = strlen(page->root);
    if (strncmp(name, page->root, length) || (name[length] && name[length] != '/'))
        return 0;
    for (int at = 0; at < ROWS && page->rows[at].name[0]; at++) {
        if (strcmp(page->rows[at].name, call))
            continue;
        int32_t now = __atomic_add_fetch(&page->rows[at].seen, 1, __ATOMIC_SEQ_CST);
        if (at != page->chosen || now < page->place || (now > page->place && page->manner != FAIL_ON))
            return 0;
        if (now == page->place)
            strcpy(page->broken, name);
        if (page->manner == KILL_ONE || page->manner == KILL_ALL) {
            syscall(SYS_kill, page->manner == KILL_ALL ? 0 : syscall(SYS_getpid), SIGKILL);
            for (;;)
                pause();
        }
        errno = page->error;
        return 1;
    }
    return 0;
}

static int breaks(const char *call, int folder, const char *called)
{
    char name[PATH];
    int before = errno;
    if (page == NULL || !name_in(folder, called, name))
        return 0;
    errno = before;
    return broken(call, name);
}

#define NEXT(symbol) ((__typeof__(&symbol))dlsym(RTLD_NEXT, #symbol))

/* A function as it is called: the kind that it counts as, which file it is about (a folder's number and a name in it, or a
   number alone), what it gives back when it fails. */
#define CALL(kind, result, symbol, takes, passes, folder, called, failed) \
    result symbol takes \
    { \
        static __typeof__(&symbol) next; \
        if (next == NULL) \
            next = NEXT(symbol); \
        if (breaks(kind, folder, called)) \
            return failed; \
        return next passes; \
    }
#define NUMBER(kind, result, symbol, takes, passes) CALL(kind, result, symbol, takes, passes, number, NULL, -1)
#define PLAIN(kind, result, symbol, takes, passes) CALL(kind, result, symbol, takes, passes, AT_FDCWD, name, -1)
#define INSIDE(kind, result, symbol, takes, passes) CALL(kind, result, symbol, takes, passes, folder, name, -1)

NUMBER("read", ssize_t, read, (int number, void *data, size_t size), (number, data, size))
NUMBER("read", ssize_t, readv, (int number, const struct iovec *parts, int count), (number, parts, count))
NUMBER("read", ssize_t, pread64, (int number, void *data, size_t size, off64_t at), (number, data, size, at))
NUMBER("write", ssize_t, write, (int number, const void *data, size_t size), (number, data, size))
NUMBER("write", ssize_t, writev, (int number, const struct iovec *parts, int count), (number, parts, count))
NUMBER("write", ssize_t, pwrite64, (int number, const void *data, size_t size, off64_t at), (number, data, size, at))
NUMBER("copy", ssize_t, sendfile64, (int number, int from, off64_t *at, size_t size), (number, from, at, size))
CALL("copy", ssize_t, copy_file_range, (int from, off64_t *start, int number, off64_t *at, size_t size, unsigned flags),
     (from, start, number, at, size, flags), number, NULL, -1)
NUMBER("fsync", int, fsync, (int number), (number))
NUMBER("fsync", int, fdatasync, (int number), (number))
NUMBER("syncfs", int, syncfs, (int number), (number))
NUMBER("truncate", int, ftruncate64, (int number, off64_t size), (number, size))
CALL("allocate", int, posix_fallocate64, (int number, off64_t at, off64_t size), (number, at, size), number, NULL, errno)
CALL("advise", int, posix_fadvise64, (int number, off64_t at, off64_t size, int advice), (number, at, size, advice), number,
     NULL, errno)
NUMBER("seek", off64_t, lseek64, (int number, off64_t by, int from), (number, by, from))
NUMBER("lock", int, flock, (int number, int operation), (number, operation))
NUMBER("mode", int, fchmod, (int number, mode_t mode), (number, mode))
NUMBER("times", int, futimens, (int number, const struct timespec times[2]), (number, times))
NUMBER("stat", int, fstat64, (int number, struct stat64 *status), (number, status))
PLAIN("stat", int, stat64, (const char *name, struct stat64 *status), (name, status))
PLAIN("stat", int, lstat64, (const char *name, struct stat64 *status), (name, status))
INSIDE("stat", int, fstatat64, (int folder, const char *name, struct stat64 *status, int flags), (folder, name, status, flags))
PLAIN("link to", ssize_t, readlink, (const char *name, char *data, size_t size), (name, data, size))
PLAIN("unlink", int, unlink, (const char *name), (name))
INSIDE("unlink", int, unlinkat, (int folder, const char *name, int flags), (folder, name, flags))
PLAIN("mkdir", int, mkdir, (const char *name, mode_t mode), (name, mode))
INSIDE("mkdir", int, mkdirat, (int folder, const char *name, mode_t mode), (folder, name, mode))
PLAIN("rename", int, rename, (const char *name, const char *to), (name, to))
INSIDE("rename", int, renameat, (int folder, const char *name, int other, const char *to), (folder, name, other, to))
INSIDE("rename", int, renameat2, (int folder, const char *name, int other, const char *to, unsigned flags),
       (folder, name, other, to, flags))
PLAIN("link", int, link, (const char *name, const char *to), (name, to))
INSIDE("link", int, linkat, (int folder, const char *name, int other, const char *to, int flags),
       (folder, name, other, to, flags))
CALL("list", DIR *, opendir, (const char *name), (name), AT_FDCWD, name, NULL)
CALL("list", DIR *, fdopendir, (int number), (number), number, NULL, NULL)

/* Linux closes a file also where it says that this failed. */
int close(int number)
{
    if (!breaks("close", number, NULL))
        return (int)syscall(SYS_close, number);
    int error = errno;
    syscall(SYS_close, number);
    errno = error;
    return -1;
}

int fcntl64(int number, int command, ...)
{
    static __typeof__(&fcntl64) next;
    if (next == NULL)
        next = NEXT(fcntl64);
    va_list more;
    va_start(more, command);
    void *argument = va_arg(more, void *);
    va_end(more);
    if ((command == F_DUPFD || command == F_DUPFD_CLOEXEC) && breaks("dup", number, NULL))
        return -1;
    return next(number, command, argument);
}

static int opened(int folder, const char *name, int flags, mode_t mode)
{
    if (breaks(flags & O_CREAT ? "create" : "open", folder, name))
        return -1;
    return (int)syscall(SYS_openat, folder, name, flags, mode);
}

#define OPENS(symbol, takes, folder) \
    int symbol takes \
    { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; \
        va_end(more); \
        return opened(folder, name, flags, mode); \
    }

OPENS(open, (const char *name, int flags, ...), AT_FDCWD)
OPENS(open64, (const char *name, int flags, ...), AT_FDCWD)
OPENS(openat, (int folder, const char *name, int flags, ...), folder)
OPENS(openat64, (int folder, const char *name, int flags, ...), folder)
