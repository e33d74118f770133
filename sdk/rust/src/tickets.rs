//! Many ops in flight on one thread: futures submit, and the executor sleeps in
//! the host's wait for all of them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::error::{Error, OpError, Result};
use crate::host::Host;
use crate::json::{FromJson, ToJson};
use crate::types_gen::ErrorDocument;
use crate::Code;

/// Marks an errno in the low half of what wait returns.
const WAIT_ERROR: i64 = 1 << 31;

/// The buffer into which the host writes answers; larger ones are fetched with
/// take.
const OWN_SIZE: usize = 32 << 10;

/// Keeps the calls of one task.
pub(crate) struct Desk {
    host: Box<dyn Host>,
    own: RefCell<Vec<u8>>,
    open: RefCell<BTreeMap<i64, Slot>>,
    queue: RefCell<VecDeque<(u64, Waker)>>,       // who waits until a ticket is free
    timers: RefCell<BTreeMap<(u64, u64), Waker>>, // by when, and id
    ids: Cell<u64>,
}

/// An open ticket.
struct Slot {
    op: &'static str,
    state: SlotState,
}

enum SlotState {
    Waits(Waker),
    Done(Result<String>),
    GivenUp,
}

impl Desk {
    pub(crate) fn new(host: Box<dyn Host>) -> Rc<Desk> {
        Rc::new(Desk {
            host,
            own: RefCell::new(vec![0; OWN_SIZE]),
            open: RefCell::default(),
            queue: RefCell::default(),
            timers: RefCell::default(),
            ids: Cell::new(0),
        })
    }

    pub(crate) fn host(&self) -> &dyn Host {
        &*self.host
    }

    fn id(&self) -> u64 {
        self.ids.set(self.ids.get() + 1);
        self.ids.get()
    }

    /// Does an op that the host answers at once.
    pub(crate) fn do_now<A: FromJson>(&self, op: &'static str, req: &dyn ToJson) -> Result<A> {
        answer(op, self.call(op, &req.to_json()))
    }

    /// Makes the future of an op.
    pub(crate) fn begin<A: FromJson>(self: &Rc<Self>, op: &'static str, req: &dyn ToJson) -> Call<A> {
        Call { desk: self.clone(), op, state: CallState::New(req.to_json()), answer: PhantomData }
    }

    fn call(&self, op: &str, req: &str) -> Result<String> {
        let mut own = self.own.borrow_mut();
        let n = self.host.call(op, req, &mut own);
        self.fetch(op, n, &mut own)
    }

    /// Gets the answer of length n, or the error document of −errno n.
    fn fetch(&self, op: &str, n: i64, own: &mut [u8]) -> Result<String> {
        if n >= 0 && n as usize <= own.len() {
            return Ok(text(own[..n as usize].to_vec()));
        }
        let kept = self.take(n.max(0) as usize, own);
        if n >= 0 {
            return kept.map_err(|code| Error::Op(refusal(op, code, "the answer could not be fetched")));
        }
        let mut e = refusal(op, Code::of(-n), "");
        if let Ok(Ok(doc)) = kept.map(|doc| parse::<ErrorDocument>(&doc)) {
            e.message = doc.message;
            e.status = doc.status.unwrap_or(0);
            e.request_id = doc.request_id.unwrap_or_default();
        }
        Err(Error::Op(e))
    }

    /// Fetches what the host keeps, of about this size.
    fn take(&self, size: usize, own: &mut [u8]) -> Result<String, Code> {
        let n = if size <= own.len() { self.host.take(own) } else { size as i64 };
        if n < 0 {
            return Err(Code::of(-n));
        }
        if n as usize <= own.len() {
            return Ok(text(own[..n as usize].to_vec()));
        }
        let mut large = vec![0; n as usize];
        let m = self.host.take(&mut large);
        if m < 0 || m > n {
            return Err(Code::of(-m));
        }
        large.truncate(m as usize);
        Ok(text(large))
    }

    /// Opens a ticket; None when the task has as many as it may and one of them
    /// has to end first.
    fn submit(&self, op: &'static str, req: &str, waker: &Waker) -> Option<Result<i64>> {
        let ticket = self.host.submit(op, req);
        if ticket > 0 {
            self.open.borrow_mut().insert(ticket, Slot { op, state: SlotState::Waits(waker.clone()) });
            return Some(Ok(ticket));
        }
        let code = Code::of(-ticket);
        if code == Code::Quota && !self.open.borrow().is_empty() {
            return None;
        }
        let message = match code {
            Code::Invalid => "the host does not know the op or does not take the request",
            Code::Quota => "the task may have no more calls open",
            Code::TooLarge => "the request is larger than the task's limit",
            _ => "",
        };
        self.wake_queued();
        Some(Err(Error::Op(refusal(op, code, message))))
    }

    fn wake_queued(&self) {
        let first = self.queue.borrow_mut().pop_front();
        if let Some((_, waker)) = first {
            waker.wake();
        }
    }

    /// Gives up a ticket. The host delivers it all the same.
    fn give_up(&self, ticket: i64) {
        let waits = match self.open.borrow_mut().get_mut(&ticket) {
            Some(slot) if matches!(slot.state, SlotState::Waits(_)) => {
                slot.state = SlotState::GivenUp;
                true
            }
            _ => false,
        };
        if waits {
            // The ticket is open, so this cannot be refused; were it, the ticket
            // would end in its own time.
            let _ = self.call("task.cancel", &format!("{{\"ticket\":{}}}", ticket));
        } else {
            self.open.borrow_mut().remove(&ticket);
        }
    }

    fn deliver(&self, ticket: i64, result: Result<String>) {
        let waker = {
            let mut open = self.open.borrow_mut();
            match open.get_mut(&ticket) {
                None => None,
                Some(Slot { state: SlotState::GivenUp, .. }) => {
                    open.remove(&ticket);
                    None
                }
                Some(slot) => match std::mem::replace(&mut slot.state, SlotState::Done(result)) {
                    SlotState::Waits(waker) => Some(waker),
                    _ => None,
                },
            }
        };
        if let Some(w) = waker {
            w.wake();
        }
        self.wake_queued();
    }

    /// Tickets that the host will still deliver.
    fn outstanding(&self, given_up: bool) -> bool {
        self.open.borrow().values().any(|s| match s.state {
            SlotState::Waits(_) => !given_up,
            SlotState::GivenUp => true,
            SlotState::Done(_) => false,
        })
    }

    /// Wakes the timers that are due, and says when the next one is.
    fn fire(&self) -> (bool, Option<u64>) {
        let now = if self.timers.borrow().is_empty() { return (false, None) } else { self.host.now() };
        let mut fired = false;
        loop {
            let first = self.timers.borrow().keys().next().copied();
            match first {
                Some(key) if key.0 <= now => {
                    let waker = self.timers.borrow_mut().remove(&key);
                    if let Some(w) = waker {
                        w.wake();
                    }
                    fired = true;
                }
                next => return (fired, next.map(|key| key.0 - now)),
            }
        }
    }

    /// Sleeps until something happened; false when nothing ever will.
    fn sleep(&self) -> bool {
        let (fired, next) = self.fire();
        if fired {
            return true;
        }
        const SECOND: u64 = 1_000_000_000;
        // Rounded up; an hour is enough, timers look again.
        let ms = next.map(|ns| (ns.min(3600 * SECOND) + 999_999) / 1_000_000);
        if self.outstanding(false) {
            self.wait(ms.map_or(-1, |ms| ms as i32));
            return true;
        }
        match ms {
            None => false,
            Some(ms) => self.call("task.sleep", &format!("{{\"ms\":{}}}", ms)).is_ok(),
        }
    }

    /// Waits for one ticket.
    fn wait(&self, timeout_ms: i32) {
        let mut own = self.own.borrow_mut();
        let r = self.host.wait(timeout_ms, &mut own);
        if r < 0 {
            drop(own);
            if Code::of(-r) != Code::Timeout {
                self.abort(Code::of(-r));
            }
            return;
        }
        let (ticket, low) = (r >> 32, r & 0xffff_ffff);
        let n = if low & WAIT_ERROR != 0 { -(low & !WAIT_ERROR) } else { low };
        let op = self.open.borrow().get(&ticket).map_or("", |s| s.op);
        let result = self.fetch(op, n, &mut own);
        drop(own);
        self.deliver(ticket, result);
    }

    /// Ends all calls when wait itself is refused: the task is being stopped, or
    /// the host lost the tickets.
    fn abort(&self, code: Code) {
        let all: Vec<(i64, &'static str)> = self.open.borrow().iter().map(|(t, s)| (*t, s.op)).collect();
        for (ticket, op) in all {
            self.deliver(ticket, Err(Error::Op(refusal(op, code, "the host stopped waiting"))));
        }
    }
}

fn text(b: Vec<u8>) -> String {
    match String::from_utf8(b) {
        Ok(s) => s,
        Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
    }
}

fn refusal(op: &str, code: Code, message: &str) -> OpError {
    OpError { op: op.to_string(), ..OpError::new(code, message) }
}

fn parse<A: FromJson>(doc: &str) -> Result<A, crate::json::JsonError> {
    A::from_json(crate::json::Value::parse(doc)?)
}

fn answer<A: FromJson>(op: &str, result: Result<String>) -> Result<A> {
    parse(&result?).map_err(|e| Error::Failed(format!("{}: answer: {}", op, e)))
}

/// The future of an op. It begins when it is first polled; one that is dropped
/// before it is done is given up: a read ends, a change goes on.
#[must_use = "an op begins when its future is awaited"]
pub struct Call<A> {
    desk: Rc<Desk>,
    op: &'static str,
    state: CallState,
    answer: PhantomData<fn() -> A>,
}

enum CallState {
    New(String),
    Queued(u64, String),
    Open(i64),
    Over,
}

impl<A: FromJson> Future for Call<A> {
    type Output = Result<A>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<A>> {
        let desk = self.desk.clone();
        match std::mem::replace(&mut self.state, CallState::Over) {
            CallState::New(req) => self.submit(req, cx),
            CallState::Queued(id, req) => {
                let mut queue = desk.queue.borrow_mut();
                if let Some(place) = queue.iter_mut().find(|(q, _)| *q == id) {
                    place.1 = cx.waker().clone(); // not yet its turn
                    drop(queue);
                    self.state = CallState::Queued(id, req);
                    return Poll::Pending;
                }
                drop(queue);
                self.submit(req, cx)
            }
            CallState::Open(ticket) => {
                let mut open = desk.open.borrow_mut();
                match open.remove(&ticket) {
                    Some(Slot { state: SlotState::Done(result), .. }) => Poll::Ready(answer(self.op, result)),
                    Some(_) => {
                        open.insert(ticket, Slot { op: self.op, state: SlotState::Waits(cx.waker().clone()) });
                        self.state = CallState::Open(ticket);
                        Poll::Pending
                    }
                    None => Poll::Ready(Err(Error::Op(refusal(self.op, Code::Canceled, "the ticket is lost")))),
                }
            }
            CallState::Over => panic!("{}: polled after it was done", self.op),
        }
    }
}

impl<A: FromJson> Call<A> {
    fn submit(&mut self, req: String, cx: &mut Context<'_>) -> Poll<Result<A>> {
        match self.desk.submit(self.op, &req, cx.waker()) {
            Some(Ok(ticket)) => {
                self.state = CallState::Open(ticket);
                Poll::Pending
            }
            Some(Err(e)) => Poll::Ready(Err(e)),
            None => {
                let id = self.desk.id();
                self.desk.queue.borrow_mut().push_back((id, cx.waker().clone()));
                self.state = CallState::Queued(id, req);
                Poll::Pending
            }
        }
    }
}

impl<A> Drop for Call<A> {
    fn drop(&mut self) {
        match self.state {
            CallState::Open(ticket) => self.desk.give_up(ticket),
            CallState::Queued(id, _) => {
                let mut queue = self.desk.queue.borrow_mut();
                let before = queue.len();
                queue.retain(|(q, _)| *q != id);
                if queue.len() == before {
                    drop(queue);
                    self.desk.wake_queued(); // it was this one's turn already
                }
            }
            _ => {}
        }
    }
}

/// The future of [`Task::sleep`](crate::Task::sleep).
#[must_use = "it sleeps when it is awaited"]
pub struct Sleep {
    desk: Rc<Desk>,
    duration: Duration,
    at: Option<(u64, u64)>,
}

impl Sleep {
    pub(crate) fn new(desk: &Rc<Desk>, duration: Duration) -> Sleep {
        Sleep { desk: desk.clone(), duration, at: None }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.duration == Duration::ZERO {
            return Poll::Ready(());
        }
        let now = self.desk.host.now();
        let at = match self.at {
            Some(at) if at.0 <= now => return Poll::Ready(()),
            Some(at) => at,
            None => {
                let ns = self.duration.as_nanos().min(u128::from(u64::MAX - now)) as u64;
                (now + ns, self.desk.id())
            }
        };
        self.at = Some(at);
        self.desk.timers.borrow_mut().insert(at, cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(at) = self.at {
            self.desk.timers.borrow_mut().remove(&at);
        }
    }
}

/// The future of [`Task::timeout`](crate::Task::timeout).
#[must_use = "it begins when it is awaited"]
pub struct Timeout<F> {
    pub(crate) sleep: Sleep,
    pub(crate) future: Option<Pin<Box<F>>>,
}

impl<T, F: Future<Output = Result<T>>> Future for Timeout<F> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let future = match &mut self.future {
            Some(f) => f.as_mut(),
            None => panic!("polled after it was done"),
        };
        let result = match future.poll(cx) {
            Poll::Ready(r) => r,
            Poll::Pending => match Pin::new(&mut self.sleep).poll(cx) {
                Poll::Ready(()) => Err(Error::TimedOut),
                Poll::Pending => return Poll::Pending,
            },
        };
        self.future = None; // gives up what it was waiting for
        Poll::Ready(result)
    }
}

/// Does futures side by side, and gives what they give in their order.
///
/// Each is only polled when something happened for it, so a thousand are fine.
/// More calls than the task may have tickets wait for one another.
pub fn parallel<I>(futures: I) -> Parallel<I::Item>
where
    I: IntoIterator,
    I::Item: Future,
{
    let branches: Vec<_> = futures.into_iter().map(|f| Branch::Runs(Box::pin(f))).collect();
    let woken = Arc::new(Woken { ready: Mutex::new((0..branches.len()).collect()), parent: Mutex::new(None) });
    Parallel { left: branches.len(), branches, woken }
}

/// The future of [`parallel`].
#[must_use = "it begins when it is awaited"]
pub struct Parallel<F: Future> {
    branches: Vec<Branch<F>>,
    left: usize,
    woken: Arc<Woken>,
}

enum Branch<F: Future> {
    Runs(Pin<Box<F>>),
    Done(F::Output),
    Told,
}

/// Which branches can go on.
struct Woken {
    ready: Mutex<Vec<usize>>,
    parent: Mutex<Option<Waker>>,
}

struct BranchWaker {
    index: usize,
    woken: Arc<Woken>,
}

impl Wake for BranchWaker {
    fn wake(self: Arc<Self>) {
        lock(&self.woken.ready).push(self.index);
        let parent = lock(&self.woken.parent).take();
        if let Some(p) = parent {
            p.wake();
        }
    }
}

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(|e| e.into_inner())
}

// Its futures are pinned in boxes.
impl<F: Future> Unpin for Parallel<F> {}

impl<F: Future> Future for Parallel<F> {
    type Output = Vec<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<F::Output>> {
        let this = &mut *self;
        *lock(&this.woken.parent) = Some(cx.waker().clone());
        loop {
            let ready = std::mem::take(&mut *lock(&this.woken.ready));
            if ready.is_empty() {
                break;
            }
            for index in ready {
                let branch = &mut this.branches[index];
                if let Branch::Runs(f) = branch {
                    let waker = Waker::from(Arc::new(BranchWaker { index, woken: this.woken.clone() }));
                    if let Poll::Ready(v) = f.as_mut().poll(&mut Context::from_waker(&waker)) {
                        *branch = Branch::Done(v);
                        this.left -= 1;
                    }
                }
            }
        }
        if this.left > 0 {
            return Poll::Pending;
        }
        let outputs = this.branches.iter_mut().map(|b| match std::mem::replace(b, Branch::Told) {
            Branch::Done(v) => v,
            _ => panic!("polled after it was done"),
        });
        Poll::Ready(outputs.collect())
    }
}

/// Whether the task itself can go on.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a task to its end.
pub(crate) fn block_on(desk: &Desk, mut future: Pin<Box<dyn Future<Output = Result> + '_>>) -> Result {
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(flag.clone());
    let result = loop {
        if flag.0.swap(false, Ordering::Relaxed) {
            if let Poll::Ready(r) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                break r;
            }
        } else if !desk.sleep() {
            break Err(Error::Failed("the task waits for something that is no op of the host".to_string()));
        }
    };
    drop(future);
    // Tickets that were given up are delivered all the same. Others that are
    // open are a mistake of the task, which the host tells.
    while desk.outstanding(true) {
        desk.wait(-1);
    }
    result
}
