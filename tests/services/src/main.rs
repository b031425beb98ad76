//! `cargo run -p runward-services`: a Postgres and a Redis to try things with, until the end of the input or ctrl-C.

use std::io::{Read, Write};

use runward_services::{Postgres, Redis};

fn main() -> std::io::Result<()> {
    let postgres = Postgres::start();
    let redis = Redis::start();
    println!("export RUNWARD_DATABASE_URL='{}'", postgres.database("runward"));
    println!("export RUNWARD_REDIS_URL='{}'", redis.url());
    let processes = [postgres.process(), redis.process()].map(|process| process.unwrap_or_default());
    println!("# processes {} {}, in {}", processes[0], processes[1], postgres.folder().display());
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
