//! A worker in a process of its own that prints the number of each hint it takes, and ends with whoever started it.

use std::io::Read;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use runward_workers::queue::redis::{Address, Pace, RedisQueue};
use runward_workers::queue::{Offer, Queue, Slots};
use tokio::sync::watch;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, prefix, label, slots, does] = &arguments[..] else { panic!("URL PREFIX LABEL SLOTS take|hang") };
    let pace = Pace { beat: Duration::from_millis(300), silent: Duration::from_secs(4), ..Pace::default() };
    let queue = RedisQueue::new(Address::parse(url).expect("an address"), prefix, pace).expect("a prefix");
    let slots: NonZeroUsize = slots.parse().expect("a number of slots");
    let hangs = does == "hang";
    let offer = Offer {
        labels: vec![label.clone()],
        slots: Slots::new(slots),
        take: Arc::new(move |hint, slot| {
            println!("{}", hint.dispatch);
            Box::pin(async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                drop(slot);
            })
        }),
    };
    std::thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    let (_never, stop) = watch::channel(false);
    queue.run_worker(offer, stop).await;
}
