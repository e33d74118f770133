//! The host's functions as sdk/ABI.md describes them.

/// What the host offers. Off wasm it is a fake.
pub(crate) trait Host {
    fn call(&self, op: &str, req: &str, out: &mut [u8]) -> i64;
    fn take(&self, out: &mut [u8]) -> i64;
    fn submit(&self, op: &str, req: &str) -> i64;
    fn wait(&self, timeout_ms: i32, out: &mut [u8]) -> i64;
    fn log(&self, level: i32, msg: &str);
    fn progress(&self, permille: i32, msg: &str);
    /// A clock that does not go back, in nanoseconds.
    fn now(&self) -> u64;
}

/// All imports of a guest.
#[cfg(target_arch = "wasm32")]
pub(crate) mod wasm {
    // The functions of the host read and write what they are pointed at, during
    // the call, and keep no pointer.
    #[link(wasm_import_module = "wasakari_v1")]
    extern "C" {
        fn call(op: *const u8, op_len: usize, req: *const u8, req_len: usize, out: *mut u8, out_cap: usize) -> i64;
        fn take(out: *mut u8, out_cap: usize) -> i64;
        fn submit(op: *const u8, op_len: usize, req: *const u8, req_len: usize) -> i64;
        fn wait(timeout_ms: i32, out: *mut u8, out_cap: usize) -> i64;
        fn log(level: i32, msg: *const u8, len: usize);
        fn progress(permille: i32, msg: *const u8, len: usize);
    }

    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    extern "C" {
        fn clock_time_get(id: i32, precision: i64, time: *mut u64) -> i32;
        fn fd_write(fd: i32, iovs: *const Iovec, count: i32, written: *mut usize) -> i32;
    }

    #[repr(C)]
    struct Iovec {
        data: *const u8,
        len: usize,
    }

    /// Writes to standard error, which the host logs, and shows when a guest
    /// breaks down.
    pub(crate) fn stderr(text: &str) {
        let iov = Iovec { data: text.as_ptr(), len: text.len() };
        let mut written = 0;
        unsafe { fd_write(2, &iov, 1, &mut written) };
    }

    pub(crate) struct Imports;

    impl super::Host for Imports {
        fn call(&self, op: &str, req: &str, out: &mut [u8]) -> i64 {
            unsafe { call(op.as_ptr(), op.len(), req.as_ptr(), req.len(), out.as_mut_ptr(), out.len()) }
        }

        fn take(&self, out: &mut [u8]) -> i64 {
            unsafe { take(out.as_mut_ptr(), out.len()) }
        }

        fn submit(&self, op: &str, req: &str) -> i64 {
            unsafe { submit(op.as_ptr(), op.len(), req.as_ptr(), req.len()) }
        }

        fn wait(&self, timeout_ms: i32, out: &mut [u8]) -> i64 {
            unsafe { wait(timeout_ms, out.as_mut_ptr(), out.len()) }
        }

        fn log(&self, level: i32, msg: &str) {
            unsafe { log(level, msg.as_ptr(), msg.len()) }
        }

        fn progress(&self, permille: i32, msg: &str) {
            unsafe { progress(permille, msg.as_ptr(), msg.len()) }
        }

        fn now(&self) -> u64 {
            const MONOTONIC: i32 = 1;
            let mut t = 0;
            unsafe { clock_time_get(MONOTONIC, 1, &mut t) };
            t
        }
    }
}
