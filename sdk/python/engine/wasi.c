/* What wasi-libc wants from WASI and a sandbox does not have: files, arguments,
   an environment. Defined here, none of it is imported. Clocks, randomness,
   output and exit come from the host. */

#include <stdint.h>
#include <string.h>

typedef int32_t i32;
typedef int64_t i64;

enum { OK = 0, BADF = 8, NOSYS = 52, NOTSUP = 58 };

#define WASI(name) __imported_wasi_snapshot_preview1_##name

/* The standard streams are character devices, which Python looks for. */
enum { CHARACTER_DEVICE = 2 };

i32 WASI(fd_fdstat_get)(i32 fd, uint8_t *stat)
{
    if (fd > 2)
        return BADF;
    memset(stat, 0, 24);
    stat[0] = CHARACTER_DEVICE;
    memset(stat + 8, 0xff, 16); /* all rights */
    return OK;
}

i32 WASI(fd_filestat_get)(i32 fd, uint8_t *stat)
{
    if (fd > 2)
        return BADF;
    memset(stat, 0, 64);
    stat[16] = CHARACTER_DEVICE;
    return OK;
}

i32 WASI(args_get)(i32 a, i32 b) { return OK; }
i32 WASI(environ_get)(i32 a, i32 b) { return OK; }
i32 WASI(args_sizes_get)(uint32_t *count, uint32_t *size) { *count = *size = 0; return OK; }
i32 WASI(environ_sizes_get)(uint32_t *count, uint32_t *size) { *count = *size = 0; return OK; }
i32 WASI(clock_res_get)(i32 clock, uint64_t *resolution) { *resolution = 1000000; return OK; }
i32 WASI(poll_oneoff)(i32 a, i32 b, i32 c, i32 d) { return NOSYS; }
i32 WASI(sched_yield)(void) { return OK; }
i32 WASI(fd_advise)(i32 a, i64 b, i64 c, i32 d) { return BADF; }
i32 WASI(fd_allocate)(i32 a, i64 b, i64 c) { return BADF; }
i32 WASI(fd_close)(i32 a) { return BADF; }
i32 WASI(fd_datasync)(i32 a) { return BADF; }
i32 WASI(fd_fdstat_set_flags)(i32 a, i32 b) { return BADF; }
i32 WASI(fd_fdstat_set_rights)(i32 a, i64 b, i64 c) { return BADF; }
i32 WASI(fd_filestat_set_size)(i32 a, i64 b) { return BADF; }
i32 WASI(fd_filestat_set_times)(i32 a, i64 b, i64 c, i32 d) { return BADF; }
i32 WASI(fd_pread)(i32 a, i32 b, i32 c, i64 d, i32 e) { return BADF; }
i32 WASI(fd_prestat_get)(i32 a, i32 b) { return BADF; }
i32 WASI(fd_prestat_dir_name)(i32 a, i32 b, i32 c) { return BADF; }
i32 WASI(fd_pwrite)(i32 a, i32 b, i32 c, i64 d, i32 e) { return BADF; }
i32 WASI(fd_read)(i32 a, i32 b, i32 c, i32 d) { return BADF; }
i32 WASI(fd_readdir)(i32 a, i32 b, i32 c, i64 d, i32 e) { return BADF; }
i32 WASI(fd_renumber)(i32 a, i32 b) { return BADF; }
i32 WASI(fd_seek)(i32 a, i64 b, i32 c, i32 d) { return BADF; }
i32 WASI(fd_sync)(i32 a) { return BADF; }
i32 WASI(fd_tell)(i32 a, i32 b) { return BADF; }
i32 WASI(path_create_directory)(i32 a, i32 b, i32 c) { return BADF; }
i32 WASI(path_filestat_get)(i32 a, i32 b, i32 c, i32 d, i32 e) { return BADF; }
i32 WASI(path_filestat_set_times)(i32 a, i32 b, i32 c, i32 d, i64 e, i64 f, i32 g) { return BADF; }
i32 WASI(path_link)(i32 a, i32 b, i32 c, i32 d, i32 e, i32 f, i32 g) { return BADF; }
i32 WASI(path_open)(i32 a, i32 b, i32 c, i32 d, i32 e, i64 f, i64 g, i32 h, i32 i) { return BADF; }
i32 WASI(path_readlink)(i32 a, i32 b, i32 c, i32 d, i32 e, i32 f) { return BADF; }
i32 WASI(path_remove_directory)(i32 a, i32 b, i32 c) { return BADF; }
i32 WASI(path_rename)(i32 a, i32 b, i32 c, i32 d, i32 e, i32 f) { return BADF; }
i32 WASI(path_symlink)(i32 a, i32 b, i32 c, i32 d, i32 e) { return BADF; }
i32 WASI(path_unlink_file)(i32 a, i32 b, i32 c) { return BADF; }
i32 WASI(sock_accept)(i32 a, i32 b, i32 c) { return NOTSUP; }
i32 WASI(sock_recv)(i32 a, i32 b, i32 c, i32 d, i32 e, i32 f) { return NOTSUP; }
i32 WASI(sock_send)(i32 a, i32 b, i32 c, i32 d, i32 e) { return NOTSUP; }
i32 WASI(sock_shutdown)(i32 a, i32 b) { return NOTSUP; }
