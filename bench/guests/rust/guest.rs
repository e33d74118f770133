//! The work of every guest, see bench/internal/workload, in Rust: the document
//! becomes a tree, as with the usual crates. The modules at the end are the
//! shims of the ABIs.

const INPUT: usize = 8192;
const ANSWER: usize = 65536;

#[derive(Clone, Copy, PartialEq)]
enum Op {
    Get,
    Hold,
}

enum Value {
    Other(u32),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

struct Parser<'a> {
    doc: &'a [u8],
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<u8> {
        self.doc.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
            self.at += 1;
        }
    }

    fn word(&mut self, rest: &[u8], v: u32) -> Option<Value> {
        for &c in rest {
            if self.next()? != c {
                return None;
            }
        }
        Some(Value::Other(v))
    }

    fn number(&mut self, mut c: u8) -> Option<Value> {
        let minus = c == b'-';
        if minus {
            c = self.next()?;
        }
        let mut v = 0u32;
        loop {
            if !c.is_ascii_digit() {
                return None;
            }
            v = v.wrapping_mul(10).wrapping_add((c - b'0') as u32);
            match self.peek() {
                Some(d) if d.is_ascii_digit() => {
                    c = d;
                    self.at += 1;
                }
                _ => return Some(Value::Other(if minus { v.wrapping_neg() } else { v })),
            }
        }
    }

    /// Reads a string after its opening quote.
    fn string(&mut self) -> Option<String> {
        let mut s = Vec::new();
        loop {
            match self.next()? {
                b'"' => return String::from_utf8(s).ok(),
                b'\\' => match self.next()? {
                    b'n' => s.push(b'\n'),
                    b't' => s.push(b'\t'),
                    b'r' => s.push(b'\r'),
                    b'b' => s.push(8),
                    b'f' => s.push(12),
                    b'u' => {
                        let mut u = 0;
                        for _ in 0..4 {
                            u = u << 4 | (self.next()? as char).to_digit(16)?;
                        }
                        let mut buf = [0; 4];
                        s.extend_from_slice(char::from_u32(u)?.encode_utf8(&mut buf).as_bytes());
                    }
                    c @ (b'"' | b'\\' | b'/') => s.push(c),
                    _ => return None,
                },
                c => s.push(c),
            }
        }
    }

    fn value(&mut self, depth: u32) -> Option<Value> {
        if depth > 64 {
            return None;
        }
        self.space();
        match self.next()? {
            b'"' => Some(Value::Text(self.string()?)),
            b't' => self.word(b"rue", 1),
            b'f' => self.word(b"alse", 0),
            b'n' => self.word(b"ull", 0),
            b'[' => {
                let mut list = Vec::new();
                self.space();
                if self.peek() == Some(b']') {
                    self.at += 1;
                    return Some(Value::List(list));
                }
                loop {
                    list.push(self.value(depth + 1)?);
                    self.space();
                    match self.next()? {
                        b',' => {}
                        b']' => return Some(Value::List(list)),
                        _ => return None,
                    }
                }
            }
            b'{' => {
                let mut map = Vec::new();
                self.space();
                if self.peek() == Some(b'}') {
                    self.at += 1;
                    return Some(Value::Map(map));
                }
                loop {
                    self.space();
                    if self.next()? != b'"' {
                        return None;
                    }
                    let key = self.string()?;
                    self.space();
                    if self.next()? != b':' {
                        return None;
                    }
                    map.push((key, self.value(depth + 1)?));
                    self.space();
                    match self.next()? {
                        b',' => {}
                        b'}' => return Some(Value::Map(map)),
                        _ => return None,
                    }
                }
            }
            c => self.number(c),
        }
    }
}

fn hash(s: &str) -> u32 {
    s.bytes().fold(2166136261, |h, b| (h ^ b as u32).wrapping_mul(16777619))
}

fn sum(v: &Value) -> u32 {
    match v {
        Value::Other(n) => *n,
        Value::Text(s) => hash(s),
        Value::List(l) => l.iter().fold(0, |t, v| t.wrapping_add(sum(v))),
        Value::Map(m) => m.iter().fold(0, |t, (k, v)| t.wrapping_add(hash(k)).wrapping_add(sum(v))),
    }
}

struct Asked {
    mode: u32,
    n: u32,
    size: u32,
}

fn parse(doc: &[u8]) -> Option<Asked> {
    let mut p = Parser { doc, at: 0 };
    let v = p.value(0)?;
    p.space();
    if p.at != doc.len() {
        return None;
    }
    let get = |name: &str| match &v {
        Value::Map(m) => m.iter().find(|(k, _)| k == name).and_then(|(_, v)| match v {
            Value::Other(n) => Some(*n),
            _ => None,
        }),
        _ => None,
    };
    let want = get("want")?;
    if sum(&v).wrapping_sub(want) != want {
        return None;
    }
    Some(Asked { mode: get("mode")?, n: get("n")?, size: get("size")? })
}

static mut COUNTER: u32 = 0;

fn count() {
    unsafe {
        let p = std::ptr::addr_of_mut!(COUNTER);
        p.write_volatile(p.read_volatile().wrapping_add(1));
    }
}

#[inline(never)]
fn tree(n: u32) {
    count();
    if n == 0 {
        return;
    }
    tree(n - 1);
    tree(n - 1);
    count();
}

/// Does what the input asks for: 0 when all was right.
fn work(doc: &[u8]) -> i32 {
    match try_work(doc) {
        Some(()) => 0,
        None => 1,
    }
}

static mut ANSWERS: [u8; ANSWER] = [0; ANSWER];

fn try_work(doc: &[u8]) -> Option<()> {
    let req = b"{\"name\":\"host_name\"}";
    // A guest has one thread.
    let answer = unsafe { &mut *std::ptr::addr_of_mut!(ANSWERS) };
    let asked = parse(doc)?;
    match asked.mode {
        1 | 4 => {
            for _ in 0..asked.n {
                if shim::host(Op::Get, req, answer)? != asked.size as usize {
                    return None;
                }
            }
            if asked.mode == 4 {
                shim::host(Op::Hold, req, answer)?;
            }
        }
        2 => {
            for _ in 0..asked.n {
                parse(doc)?;
            }
        }
        3 => loop {
            count();
        },
        5 => tree(asked.n),
        _ => return None,
    }
    Some(())
}

static mut INPUTS: [u8; INPUT] = [0; INPUT];

/// For Wasakari, and for the bare runtimes, which are given the same import.
#[cfg(abi = "wasakari")]
mod shim {
    use super::*;

    #[link(wasm_import_module = "wasakari_v1")]
    extern "C" {
        fn call(op: *const u8, op_len: usize, req: *const u8, req_len: usize, out: *mut u8, cap: usize) -> i64;
    }

    fn ask(op: &str, req: &[u8], out: &mut [u8]) -> Option<usize> {
        let n = unsafe { call(op.as_ptr(), op.len(), req.as_ptr(), req.len(), out.as_mut_ptr(), out.len()) };
        usize::try_from(n).ok().filter(|&n| n <= out.len())
    }

    pub(crate) fn host(op: Op, req: &[u8], out: &mut [u8]) -> Option<usize> {
        ask(if op == Op::Get { "kv.get" } else { "nova.server_get" }, req, out)
    }

    #[no_mangle]
    pub extern "C" fn run() -> i32 {
        let input = unsafe { &mut *std::ptr::addr_of_mut!(INPUTS) };
        match ask("task.input", b"{}", input) {
            Some(n) => work(&input[..n]),
            None => 1,
        }
    }
}

/// For Extism: every byte between guest and host goes through the kernel's
/// memory, eight at a time, as in Extism's own kits.
#[cfg(abi = "extism")]
mod shim {
    use super::*;

    #[link(wasm_import_module = "extism:host/env")]
    extern "C" {
        fn input_length() -> u64;
        fn input_load_u64(at: u64) -> u64;
        fn input_load_u8(at: u64) -> u8;
        fn alloc(n: u64) -> u64;
        fn free(at: u64);
        fn length(at: u64) -> u64;
        fn load_u64(at: u64) -> u64;
        fn load_u8(at: u64) -> u8;
        fn store_u64(at: u64, v: u64);
        fn store_u8(at: u64, v: u8);
    }

    #[link(wasm_import_module = "extism:host/user")]
    extern "C" {
        fn kv_get(req: u64) -> u64;
        fn nova_server_get(req: u64) -> u64;
    }

    fn copy_in(out: &mut [u8], word: unsafe extern "C" fn(u64) -> u64, byte: unsafe extern "C" fn(u64) -> u8, at: u64) {
        let whole = out.len() / 8 * 8;
        for (i, c) in out[..whole].chunks_exact_mut(8).enumerate() {
            c.copy_from_slice(&unsafe { word(at + i as u64 * 8) }.to_le_bytes());
        }
        for (i, c) in out[whole..].iter_mut().enumerate() {
            *c = unsafe { byte(at + (whole + i) as u64) };
        }
    }

    pub(crate) fn host(op: Op, req: &[u8], out: &mut [u8]) -> Option<usize> {
        unsafe {
            let at = alloc(req.len() as u64);
            let words = req.chunks_exact(8);
            let rest = words.remainder();
            let whole = req.len() - rest.len();
            for (i, c) in words.enumerate() {
                store_u64(at + i as u64 * 8, u64::from_le_bytes(c.try_into().ok()?));
            }
            for (i, &c) in rest.iter().enumerate() {
                store_u8(at + (whole + i) as u64, c);
            }
            let answer = if op == Op::Get { kv_get(at) } else { nova_server_get(at) };
            free(at);
            if answer == 0 {
                return Some(0);
            }
            let n = length(answer) as usize;
            copy_in(out.get_mut(..n)?, load_u64, load_u8, answer);
            free(answer);
            Some(n)
        }
    }

    #[no_mangle]
    pub extern "C" fn run() -> i32 {
        let input = unsafe { &mut *std::ptr::addr_of_mut!(INPUTS) };
        let n = unsafe { input_length() } as usize;
        match input.get_mut(..n) {
            Some(doc) => {
                copy_in(doc, input_load_u64, input_load_u8, 0);
                work(doc)
            }
            None => 1,
        }
    }
}

/// For waPC.
#[cfg(abi = "wapc")]
mod shim {
    use super::*;

    #[link(wasm_import_module = "wapc")]
    extern "C" {
        fn __guest_request(op: *mut u8, payload: *mut u8);
        fn __host_call(
            binding: *const u8, binding_len: usize, ns: *const u8, ns_len: usize,
            op: *const u8, op_len: usize, payload: *const u8, payload_len: usize,
        ) -> i32;
        fn __host_response_len() -> usize;
        fn __host_response(out: *mut u8);
    }

    pub(crate) fn host(op: Op, req: &[u8], out: &mut [u8]) -> Option<usize> {
        let name = if op == Op::Get { "kv.get" } else { "nova.server_get" };
        unsafe {
            if __host_call(name.as_ptr(), 0, name.as_ptr(), 0, name.as_ptr(), name.len(), req.as_ptr(), req.len()) == 0 {
                return None;
            }
            let n = __host_response_len();
            if n > out.len() {
                return None;
            }
            __host_response(out.as_mut_ptr());
            Some(n)
        }
    }

    /// Returns 1 when it went well.
    #[no_mangle]
    pub extern "C" fn __guest_call(op_len: usize, payload_len: usize) -> i32 {
        let input = unsafe { &mut *std::ptr::addr_of_mut!(INPUTS) };
        let mut op = [0; 16];
        if op_len > op.len() || payload_len > input.len() {
            return 0;
        }
        unsafe { __guest_request(op.as_mut_ptr(), input.as_mut_ptr()) };
        (work(&input[..payload_len]) == 0) as i32
    }
}
