//! How long a hint takes from the push to the worker while nothing else happens: in process, and through a Redis of its own
//! or the one that is named. To be run in release on a quiet machine: `hint_latency [REDIS_URL]`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use runward_services::Redis;
use runward_workers::queue::in_process::InProcess;
use runward_workers::queue::redis::{Address, Pace, RedisQueue};
use runward_workers::queue::{Hint, Offer, Queue, Slots};
use tokio::sync::{mpsc, watch};

const HINTS: u64 = 500;
const BETWEEN: Duration = Duration::from_millis(25);

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        report("in process", measure(Arc::new(InProcess::default())).await);
        let named = std::env::args().nth(1);
        let own = named.is_none().then(Redis::start);
        let url = named.or(own.as_ref().map(Redis::url)).expect("one of them");
        let address = Address::parse(&url).unwrap_or_else(|error| panic!("{error}"));
        let prefix = format!("hint-latency-{}", std::process::id());
        let queue = RedisQueue::new(address, &prefix, Pace::default()).expect("a prefix");
        report("redis", measure(Arc::new(queue)).await);
    });
}

async fn measure(queue: Arc<impl Queue + 'static>) -> Vec<Duration> {
    let (tell, mut taken) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(false);
    let offer = Offer {
        labels: vec!["linux".to_owned()],
        slots: Slots::new(16.try_into().expect("not zero")),
        take: Arc::new(move |hint, _slot| {
            tell.send((hint.dispatch, Instant::now())).expect("this program listens");
            Box::pin(async {})
        }),
    };
    let worker = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.run_worker(offer, stopped).await }
    });
    let mut latencies = Vec::new();
    for dispatch in 0..=HINTS {
        let hint = Hint { run: "0199a1b2-c3d4-7000-8000-000000000000".into(), label: "linux".to_owned(), dispatch };
        let since = Instant::now();
        queue.push_hints(&[hint]).await.unwrap_or_else(|error| panic!("{error}"));
        let (number, at) = taken.recv().await.expect("the worker lives");
        assert_eq!(number, dispatch);
        if dispatch > 0 {
            latencies.push(at - since); // the first one waits for the worker to register
        }
        tokio::time::sleep(BETWEEN).await;
    }
    stop.send(true).expect("the worker listens");
    worker.await.expect("it stops");
    latencies
}

fn report(what: &str, mut latencies: Vec<Duration>) {
    latencies.sort_unstable();
    let at = |share: usize| latencies[(latencies.len() - 1) * share / 100];
    println!("{what}: p50 {:?}, p99 {:?}, max {:?} of {} hints", at(50), at(99), at(100), latencies.len());
}
