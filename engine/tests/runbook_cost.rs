//! What it costs to read a file grows with its size and with nothing else, whatever is in it.
//!
//! Compared with a part of the same file, and in time on the processor: neither a slow machine nor a busy one matters.

use runward_engine::runbook::{Finding, parse};

use runbook_support::{accepted, complaints, with_steps};

mod runbook_support;

/// Hundredths of a second that this thread has been on a processor.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("Linux with /proc");
    let (_, fields) = stat.rsplit_once(')').expect("the name of the program stands in parentheses");
    fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

/// Four times as much may cost ten times as much and a second, but not the sixteen times of a product.
fn grows_with_its_size(name: &str, read: impl Fn(usize)) {
    let cost = |part| {
        let before = ticks();
        read(part);
        ticks() - before
    };
    let (quarter, whole) = (cost(4), cost(1));
    println!("{name}: {whole} ticks, a quarter of it {quarter}");
    assert!(whole <= 10 * quarter + 100, "{name}: {whole} ticks, a quarter of it {quarter}");
}

#[test]
fn files_that_are_no_runbook_are_refused() {
    let nest = format!("steps: {}", "[".repeat(20_000));
    let mut laughs = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for i in 1..12 {
        laughs += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 10].join(","));
    }
    let big = format!("# {}", "x".repeat(2 << 20));
    let cases: [(&str, &[u8], &str); 9] = [
        ("20,000 brackets", nest.as_bytes(), "this YAML is nested too deeply"),
        ("billion laughs", laughs.as_bytes(), "this YAML is nested too deeply or expands to too much"),
        ("2 MiB", big.as_bytes(), "this file has 2.0 MiB; a runbook has at most 1.0 MiB"),
        ("NUL", b"name: a\0b\n", "a NUL byte cannot stand in a runbook"),
        ("UTF-8", b"name: \xff\n", "byte 6 of this file is not UTF-8"),
        ("empty", b"# nothing\n", "this file holds no runbook"),
        ("list", b"- a\n", "a runbook must be a map, not a list"),
        ("documents", b"steps: [{run: a}]\n---\nb: c\n", "a file holds one runbook"),
        ("tab", b"steps:\n\t- a\n", "this is not YAML: tabs"),
    ];
    for (name, source, wanted) in cases {
        let report = parse(source).unwrap_err();
        assert!(report.findings[0].message.starts_with(wanted), "{name}: {report:?}");
    }
}

#[test]
fn a_chain_of_20_000_steps_costs_twice_one_of_10_000() {
    let chain = |n: usize| {
        let step = |i: usize| format!("- {{id: s{i}, cmd: ['${{{{steps.s{}.status}}}}']}}\n", i - 1);
        let steps: String = (1..n).map(step).collect();
        format!("steps:\n- {{id: s0, cmd: [a]}}\n{steps}")
    };
    grows_with_its_size("chain", |part| {
        let n = 20_000 / part;
        assert_eq!(accepted(&chain(n)).steps.len(), n);
    });
    assert!(complaints(&with_steps(&"- {run: a}\n".repeat(20_001))).contains("this runbook has 20001 steps"));
}

#[test]
fn thousands_of_mistakes_cost_no_more_than_reading_them() {
    let needs: String = (0..10_000).map(|i| format!("- {{id: s{i}, run: a, needs: [t{i}]}}\n")).collect();
    let reads: String = (0..10_000).map(|i| format!("- {{id: s{i}, cmd: ['${{{{params.t{i}}}}}']}}\n")).collect();
    for steps in [needs, reads] {
        let report = parse(with_steps(&steps).as_bytes()).unwrap_err();
        assert_eq!(report.findings.len(), 1_001);
    }
}

/// Each of these once cost seconds and gigabytes.
#[test]
fn hostile_files_within_the_size_limit_cost_what_their_size_says() {
    for (name, file, wanted) in HOSTILE {
        grows_with_its_size(name, |part| {
            let found = match parse(file(part).as_bytes()) {
                Ok(_) => "no findings".to_owned(),
                Err(report) => {
                    assert!(report.findings.len() <= 1_001);
                    let line = |one: &Finding| format!("{} {:?}\n", one.message, one.help);
                    report.findings.iter().map(line).collect()
                }
            };
            assert!(part > 1 || found.contains(wanted), "{name}: {}", found.chars().take(300).collect::<String>());
        });
    }
}

fn many(n: usize, line: impl Fn(usize) -> String) -> String {
    (0..n).map(line).collect()
}

fn undefined(part: usize) -> String {
    with_steps(&format!("- run: |\n{}", many(30_000 / part, |i| format!("   echo ${{{{ params.u{i} }}}}\n"))))
}

/// What it is, the file or one that is so many times smaller, and what is said about the whole one.
type Hostile = (&'static str, fn(usize) -> String, &'static str);

const HOSTILE: [Hostile; 11] = [
    (
        "schedules",
        |part| {
            let required = many(4_000 / part, |i| format!(" p{i}: {{required: true}}\n"));
            let schedules = "  - {cron: '@daily'}\n".repeat(4_000 / part);
            format!("params:\n{required}on:\n schedule:\n{schedules}steps: [{{run: a}}]\n")
        },
        "nothing reads the parameter `p0`",
    ),
    (
        "zones",
        |part| {
            let zones = "  - {cron: '@daily', timezone: Europe/Berlni}\n".repeat(20_000 / part);
            format!("on:\n schedule:\n{zones}steps: [{{run: a}}]\n")
        },
        "did you mean `Europe/Berlin`?",
    ),
    (
        "defaults",
        |part| {
            let variables = many(5_000 / part, |i| format!("  V{i}: a\n"));
            format!("defaults:\n env:\n{variables}steps:\n{}", "- {run: a}\n".repeat(5_000 / part))
        },
        "`defaults` gives 5000 values to each of 5000 steps",
    ),
    (
        "long default",
        |part| {
            let cwd = "x".repeat(500_000 / part);
            format!("defaults:\n cwd: {cwd}\nsteps:\n{}", "- {run: a}\n".repeat(5_000 / part))
        },
        "`defaults` gives 500003 bytes",
    ),
    ("undefined", undefined, "`u0` is not a parameter"),
    (
        "unknown",
        |part| format!("params:\n{}{}", many(10_000 / part, |i| format!(" p{i}: {{}}\n")), undefined(part)),
        "`u0` is not a parameter",
    ),
    (
        "variables",
        |part| {
            let own = many(20_000 / part, |i| format!("   V{i}: a\n"));
            let read = many(20_000 / part, |i| format!("   - ${{{{env.V{i}}}}}\n"));
            with_steps(&format!("- env:\n{own}  cmd:\n{read}"))
        },
        "no findings",
    ),
    (
        "secrets",
        |part| {
            let secrets = many(20_000 / part, |i| format!(" s{i}: {{env: a}}\n"));
            let received = many(20_000 / part, |i| format!("   - s{i}\n"));
            format!("secrets:\n{secrets}steps:\n- run: a\n  secrets:\n{received}")
        },
        "no findings",
    ),
    ("brackets", |part| "[],".repeat(349_000 / part), "this is not YAML"),
    (
        "lists",
        |part| format!("files: [{}]\nsteps: [{{run: a}}]\n", "[],".repeat(349_000 / part)),
        "an item of `files` must be",
    ),
    ("strangers", |part| many(60_000 / part, |i| format!("rux{i}: a\n")), "`rux0` is not a key"),
];
