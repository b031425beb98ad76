//! How fast output is masked: `cargo run --release -p runward-workers --example mask_cost`.

use std::time::Instant;

use runward_workers::mask::Mask;

/// As the subreaper reads it, in bytes.
const CHUNK: usize = 256 * 1024;

fn main() {
    let lines = b"2026-11-22 02:30:01 INFO some ordinary line of a log with nothing special in it at all 12345\n"
        .repeat(1_000_000);
    let mut noise = 88_172_645_463_325_252_u64;
    let base64: Vec<u8> = (0..90_000_000)
        .map(|_| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[(noise % 64) as usize]
        })
        .collect();
    for count in [1, 20] {
        let secrets: Vec<String> = (0..count).map(|n| format!("s3cr3t/{}-of-the-vault?{n}", n * 7_919)).collect();
        let begun = Instant::now();
        let mask = Mask::of(secrets.iter().map(String::as_bytes)).expect("they are long enough");
        println!("{count} secrets: made ready in {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
        for (what, text) in [("lines", &lines), ("base64", &base64)] {
            let (begun, mut stream, mut out) = (Instant::now(), mask.stream(), 0);
            text.chunks(CHUNK).for_each(|chunk| out += stream.push(chunk).len());
            out += stream.finish().len();
            let mb_per_s = text.len() as f64 / 1e6 / begun.elapsed().as_secs_f64();
            println!("{count} secrets, {what}: {mb_per_s:.0} MB/s ({out} bytes out)");
        }
    }
}
