//! What lies ready at the same time goes to the server together.
//!
//! Whoever wants something lays it down here and waits for a turn. Who has the turn takes along everything that lies here:
//! where many runs move at once they share the trip and the statement, and one alone goes at once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit, oneshot};
use tokio::time::sleep;

/// One is on its way, so that the next one gathers. One that takes longer keeps nobody waiting: others go beside it.
const TURN: Duration = Duration::from_millis(50);
const BESIDE_MAX: usize = 2;

pub(super) struct Turns<T, A> {
    table: Mutex<Table<T, A>>,
    next: Semaphore,
    beside: Semaphore,
}

struct Table<T, A> {
    lying: Vec<Lying<T, A>>,
    /// How many were ever laid down.
    count: u64,
}

/// Something that somebody waits for.
pub(super) struct Lying<T, A> {
    number: u64,
    pub(super) one: T,
    answer: oneshot::Sender<A>,
}

impl<T, A> Lying<T, A> {
    /// Whoever laid it down may be gone.
    pub(super) fn tell(self, answer: A) -> T {
        let _ = self.answer.send(answer);
        self.one
    }
}

impl<T, A> Turns<T, A> {
    pub(super) fn new() -> Turns<T, A> {
        let table = Mutex::new(Table { lying: Vec::new(), count: 0 });
        Turns { table, next: Semaphore::new(1), beside: Semaphore::new(BESIDE_MAX) }
    }

    fn table(&self) -> MutexGuard<'_, Table<T, A>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What became of it. `go` takes what lies here to the server ([`Turns::take`]); `None` where it did, and told nothing.
    pub(super) async fn lay<G: Future<Output = ()>>(&self, one: T, go: impl Fn() -> G) -> Option<A> {
        let (sender, mut answer) = oneshot::channel();
        let number = self.put(one, sender);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer.ok(),
                turn = self.turn() => {
                    if !self.lies(number) {
                        drop(turn); // it is on its way
                        return answer.await.ok();
                    }
                    go().await;
                }
            }
        }
    }

    /// The number under which it lies.
    fn put(&self, one: T, answer: oneshot::Sender<A>) -> u64 {
        let mut table = self.table();
        table.count += 1;
        let number = table.count;
        table.lying.push(Lying { number, one, answer });
        number
    }

    /// Whether nobody has taken it along.
    fn lies(&self, number: u64) -> bool {
        self.table().lying.iter().any(|lying| lying.number == number)
    }

    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        let beside = async {
            sleep(TURN).await;
            self.beside.acquire().await
        };
        let turn = tokio::select! {
            biased;
            turn = self.next.acquire() => turn,
            turn = beside => turn,
        };
        turn.ok()
    }

    /// What `goes` now, the oldest first. What nobody waits for any more does not go.
    pub(super) fn take(&self, mut goes: impl FnMut(&T) -> bool) -> Vec<Lying<T, A>> {
        let mut table = self.table();
        table.lying.retain(|lying| !lying.answer.is_closed());
        table.lying.extract_if(.., |lying| goes(&lying.one)).collect()
    }
}
