//! Steps on other machines: an sshd of this machine is the host.

use std::fs;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use crate::harness::{Scene, is_alive, kill_9, step_of, wait};
use crate::ssh_hosts::{Hosts, attempts, with_command};

/// One step on db1 that counts its starts and its ends in `effects`, and ends when there is a file `go`.
const SLOW: &str = "\
params: {dir: {type: path, required: true}}
steps:
  - id: slow
    host: db1
    cwd: ${{ params.dir }}
    timeout: 1h
    run: |
      echo start >> effects
      echo $$ > pid
      echo it is up
      until test -e go; do sleep 0.05; done
      echo end >> effects
      echo it is done
";

fn slow() -> (Scene, Hosts) {
    let scene = Scene::new();
    scene.file("slow.yaml", SLOW);
    let hosts = Hosts::new(&scene, &["db1"]);
    (scene, hosts)
}

fn pid(scene: &Scene, name: &str) -> u32 {
    wait(name, || scene.read(name).ends_with('\n'));
    scene.read(name).trim().parse().unwrap()
}

#[test]
fn a_step_on_a_host_has_its_values_a_live_log_and_outputs_and_leaves_nothing_there() {
    let scene = Scene::new();
    let hosts = Hosts::new(&scene, &["db1"]);
    scene.file(
        "x.yaml",
        "params: {dir: {type: path, required: true}, who: {type: string, required: true}}
secrets: {TOKEN: {env: RUNWARD_TEST_TOKEN}, CERT: {env: RUNWARD_TEST_CERT}}
steps:
  - id: there
    host: db1
    cwd: ${{ params.dir }}
    env: {A: 'a  b', IFS: x, folder: y}
    secrets: [TOKEN, {file: CERT}]
    run: |
      echo \"hello ${{ params.who }}\"; echo err >&2
      test \"$A$folder$TOKEN$(cat \"$CERT\")\" = 'a  byopen sesamea certificate'
      stat -c %a \"$CERT\" > mode; echo \"$TOKEN\"
      until test -e go; do sleep 0.05; done
      printf 'where=%s\\nnotes<<END\\none\\ntwo\\nEND\\n' \"$PWD\" >> \"$RUNWARD_OUTPUT\"
      test -d \"$RUNWARD_WORKSPACE\"
    outputs: {where: path}
  - id: here
    cmd: [printf, '%s|%s', '${{ steps.there.outputs.where }}', '${{ steps.there.outputs.notes }}']
",
    );
    let who = "O'Neil $(touch pwned) `touch pwned` \"; touch pwned";
    let dir = scene.dir();
    let plan = hosts.expect(&scene, 0, &["plan", "x.yaml", "-p", &dir, "-p", &format!("who={who}")]);
    assert!(plan.contains("on db1 through ssh"), "{plan}");
    let out = fs::File::create(scene.path("started.out")).unwrap();
    let mut command = hosts.runward(&scene);
    command.env("RUNWARD_TEST_TOKEN", "open sesame").env("RUNWARD_TEST_CERT", "a certificate");
    command.args(["run", "x.yaml", "-p", &dir, "-p", &format!("who={who}")]);
    let mut driver = command.stdout(out).spawn().unwrap();
    scene.wait_for("started.out", &format!("hello {who}"));
    scene.wait_for("started.out", "there | err");
    scene.file("go", "");
    assert!(driver.wait().unwrap().success(), "{}", scene.read("started.out"));
    let printed = scene.expect(0, &["logs", "last", "here", "--raw"]).stdout;
    assert_eq!(printed, format!("{}|one\ntwo", scene.path("").display().to_string().trim_end_matches('/')));
    assert_eq!(scene.read("mode"), "400\n");
    assert!(!scene.path("pwned").exists());
    assert!(!scene.read("started.out").contains("sesame") && scene.read("started.out").contains("***"));
    assert!(attempts(&scene, "db1").is_empty(), "the far side forgets what was collected");
}

#[test]
fn a_rolling_run_over_three_hosts_stops_after_the_one_that_fails_and_takes_back_what_was_done() {
    let scene = Scene::new();
    let hosts = Hosts::new(&scene, &["db1", "db2", "db3"]);
    scene.file(
        "roll.yaml",
        "params: {dir: {type: path, required: true}, nodes: {type: list, default: [db1, db2, db3]}}
steps:
  - id: upgrade
    for-each: ${{ params.nodes }}
    max-parallel: 1
    stop-after-failures: 1
    host: ${{ item }}
    cwd: ${{ params.dir }}
    check: 'echo \"check $RUNWARD_OUTPUT\" >> effects; exit 1'
    run: |
      echo \"upgrade $RUNWARD_OUTPUT\" >> effects
      test \"${{ item }}\" != db2
    undo: 'echo \"undo $RUNWARD_OUTPUT\" >> effects'
",
    );
    let told = hosts.expect(&scene, 6, &["run", "roll.yaml", "-p", &scene.dir()]);
    let effects = scene.read("effects");
    let done: Vec<String> = effects
        .lines()
        .map(|line| {
            let (what, output) = line.split_once(' ').unwrap();
            format!("{what} {}", output.split("/far/").nth(1).unwrap().split('/').next().unwrap())
        })
        .collect();
    assert_eq!(done, ["check db1", "upgrade db1", "check db2", "upgrade db2", "undo db1"], "{told}");
    assert_eq!(step_of(&scene.last(), "upgrade[2]")["status"], "skipped", "{told}");
    println!("3 hosts, of which the second fails: {}", done.join(", "));
}

#[test]
fn the_effect_on_the_host_stands_once_when_the_driver_is_killed_in_the_middle() {
    let (scene, hosts) = slow();
    let mut driver = hosts.start(&scene, &["run", "slow.yaml", "-p", &scene.dir()]);
    scene.wait_for("started.out", "it is up");
    kill_9(&mut driver);
    scene.file("go", "");
    hosts.expect(&scene, 0, &["resume", "last"]);
    assert_eq!(scene.read("effects"), "start\nend\n");
    let log = scene.expect(0, &["logs", "last", "--raw"]).stdout;
    assert_eq!(log, "it is up\nit is done\n");
    println!("a driver killed in the middle: {} start on the host", scene.read("effects").matches("start").count());
}

#[test]
fn a_connection_that_breaks_is_taken_up_again_at_the_byte_that_was_seen_last() {
    let (scene, hosts) = slow();
    let mut driver = hosts.start(&scene, &["run", "slow.yaml", "-p", &scene.dir()]);
    scene.wait_for("started.out", "it is up");
    hosts.close("db1");
    scene.wait_for("started.out", "is tried again");
    scene.file("go", "");
    wait("the end there", || scene.read("effects") == "start\nend\n");
    hosts.open("db1");
    assert!(driver.wait().unwrap().success(), "{}", scene.read("started.out"));
    let log = scene.expect(0, &["logs", "last", "--raw"]).stdout;
    let own: Vec<&str> = log.lines().filter(|line| !line.starts_with("runward: ")).collect();
    assert_eq!(own, ["it is up", "it is done"], "{log}");
    assert!(attempts(&scene, "db1").is_empty());
}

#[test]
fn a_log_of_many_short_lines_is_whole_though_the_connection_breaks_in_the_middle() {
    let scene = Scene::new();
    let hosts = Hosts::new(&scene, &["db1"]);
    let lines =
        "for n in $(seq 2000); do (echo \"line $n\"); test $n != 1000 || until test -e go; do sleep 0.05; done; done";
    scene.file("slow.yaml", SLOW.replace("echo it is up", lines));
    let mut driver = hosts.start(&scene, &["run", "slow.yaml", "-p", &scene.dir()]);
    scene.wait_for("started.out", "line 1000");
    hosts.close("db1");
    scene.wait_for("started.out", "is tried again");
    scene.file("go", "");
    hosts.open("db1");
    assert!(driver.wait().unwrap().success(), "{}", scene.read("started.out"));
    let log = scene.expect(0, &["logs", "last", "--raw"]).stdout;
    let own: Vec<&str> = log.lines().filter(|line| !line.starts_with("runward: ")).collect();
    let expected: Vec<String> = (1..=2000).map(|n| format!("line {n}")).chain(["it is done".to_owned()]).collect();
    assert_eq!(own, expected);
}

#[test]
fn what_cannot_be_reached_until_its_time_is_over_is_lost_and_the_host_ends_it_by_itself() {
    let (scene, hosts) = slow();
    scene.file("slow.yaml", SLOW.replace("timeout: 1h", "timeout: 30s\n    grace: 0s"));
    let mut driver = hosts.start(&scene, &["run", "slow.yaml", "-p", &scene.dir()]);
    scene.wait_for("started.out", "it is up");
    hosts.close("db1");
    assert_eq!(driver.wait().unwrap().code(), Some(8), "{}", scene.read("started.out"));
    let step = step_of(&scene.last(), "slow");
    assert_eq!(step["status"], "lost", "{step}");
    let error = step["error"].as_str().unwrap();
    assert!(error.contains("db1 could not be reached any more") && error.contains("/end"), "{error}");
    assert!(!is_alive(pid(&scene, "pid")));
    assert_eq!(scene.read("effects"), "start\n");
}

#[test]
fn cancel_and_timeout_leave_no_process_there_whatever_it_did_to_hide() {
    for (keys, stop, code) in [("timeout: 1h", Some(&["cancel", "last"][..]), 4), ("timeout: 20s", None, 1)] {
        let scene = Scene::new();
        let hosts = Hosts::new(&scene, &["db1"]);
        scene.file(
            "hide.yaml",
            format!(
                "params: {{dir: {{type: path, required: true}}}}
steps:
  - id: hide
    host: db1
    cwd: ${{{{ params.dir }}}}
    grace: 1s
    {keys}
    run: |
      setsid sh -c 'trap \"\" TERM HUP; echo $$ > one; while :; do sleep 0.1; done' &
      (setsid sh -c 'setsid sh -c \"echo \\$\\$ > two; exec sleep 3600\" & wait' &) &
      trap '' TERM
      until test -s one -a -s two; do sleep 0.05; done
      echo $$ > three
      while :; do sleep 0.1; done
"
            ),
        );
        let mut driver = hosts.start(&scene, &["run", "hide.yaml", "-p", &scene.dir()]);
        let hidden = ["one", "two", "three"].map(|name| pid(&scene, name));
        assert!(hidden.iter().all(|pid| stop.is_none() || is_alive(*pid)));
        if let Some(args) = stop {
            hosts.expect(&scene, 0, args);
        }
        assert_eq!(driver.wait().unwrap().code(), Some(code), "{}", scene.read("started.out"));
        for pid in hidden {
            assert!(!is_alive(pid), "{keys}: {pid} lives: {}", scene.read("started.out"));
        }
        println!("{}: 0 of {} hidden processes are left", stop.map_or("timeout", |args| args[0]), hidden.len());
        let folder = scene.path("far/db1").display().to_string();
        wait("the runner to be gone", || with_command(&folder).is_empty());
    }
}

#[test]
fn a_cancel_reaches_a_host_to_which_the_connection_has_just_broken() {
    let (scene, hosts) = slow();
    let mut driver = hosts.start(&scene, &["run", "slow.yaml", "-p", &scene.dir()]);
    scene.wait_for("started.out", "it is up");
    hosts.close("db1");
    scene.wait_for("started.out", "is tried again");
    hosts.expect(&scene, 0, &["cancel", "last"]);
    hosts.open("db1");
    assert_eq!(driver.wait().unwrap().code(), Some(4), "{}", scene.read("started.out"));
    assert!(!is_alive(pid(&scene, "pid")));
}

#[test]
fn two_attempts_of_a_step_never_run_there_at_once() {
    let (scene, hosts) = slow();
    let mut driver = hosts.start(&scene, &["run", "slow.yaml", "-p", &scene.dir()]);
    scene.wait_for("started.out", "it is up");
    let state = scene.path("state").display().to_string();
    let speaker = with_command(&format!("__ssh {state}"));
    kill(Pid::from_raw(speaker[0] as i32), Signal::SIGKILL).unwrap();
    assert_eq!(driver.wait().unwrap().code(), Some(8), "{}", scene.read("started.out"));
    assert_eq!(step_of(&scene.last(), "slow")["status"], "lost");
    let told = hosts.expect(&scene, 1, &["resume", "last"]);
    assert!(told.contains("an earlier attempt of this step still runs on db1"), "{told}");
    scene.file("go", "");
    wait("its end there", || scene.read("effects") == "start\nend\n" && !is_alive(pid(&scene, "pid")));
    wait("the runner's end", || attempts(&scene, "db1").iter().all(|folder| folder.join("end").exists()));
    hosts.expect(&scene, 0, &["resume", "last"]);
    assert_eq!(scene.read("effects"), "start\nend\nstart\nend\n");
}

#[test]
fn a_host_whose_key_is_not_known_is_never_trusted_and_the_command_to_look_at_it_is_said() {
    let (scene, hosts) = slow();
    scene.file("known_hosts", "");
    let told = hosts.expect(&scene, 1, &["run", "slow.yaml", "-p", &scene.dir()]);
    assert!(told.contains("StrictHostKeyChecking=ask -- db1 true"), "{told}");
    assert_eq!((scene.read("effects"), scene.read("known_hosts")), (String::new(), String::new()));
    assert_eq!(step_of(&scene.last(), "slow")["status"], "failed");
}

#[test]
fn a_host_that_nobody_can_reach_fails_the_step_in_the_words_of_ssh_and_may_be_tried_again() {
    let (scene, hosts) = slow();
    scene.file("slow.yaml", SLOW.replace("timeout: 1h", "retry: {attempts: 2, delay: 0s}"));
    hosts.close("db1");
    let told = hosts.expect(&scene, 1, &["run", "slow.yaml", "-p", &scene.dir()]);
    assert!(told.contains("ssh db1: "), "{told}");
    assert_eq!(step_of(&scene.last(), "slow")["status"], "failed");
    let events = scene.expect(0, &["show", "last", "--events"]).stdout;
    assert_eq!(events.matches("attempt_claimed").count(), 2, "{events}");
    hosts.open("db1");
    scene.file("go", "");
    hosts.expect(&scene, 0, &["resume", "last"]);
    assert_eq!(scene.read("effects"), "start\nend\n");
}

#[test]
fn what_the_host_lacks_is_named() {
    let scene = Scene::new();
    let hosts = Hosts::new(&scene, &["db1"]);
    for (text, error) in [
        ("shell: no-such-shell\n    run: x", "db1: it has no program no-such-shell"),
        ("cwd: /no/such/folder\n    run: x", "db1: the folder /no/such/folder (`cwd`)"),
        ("cmd: [no-such-program]", "db1: it has no program no-such-program"),
        ("run: exit 9", "exit code 9"),
        ("run: 'true'\n    outputs: {x: int}", "`x` is declared"),
        ("run: 'mkfifo \"$RUNWARD_OUTPUT\"'", "no longer a regular file"),
    ] {
        scene.file("x.yaml", format!("steps:\n  - id: a\n    host: db1\n    {text}\n"));
        let told = hosts.expect(&scene, 1, &["run", "x.yaml"]);
        assert!(told.contains(error), "{text}: {told}");
    }
    let folder = scene.path("far/db1").display().to_string();
    wait("all of the far side to be gone", || with_command(&folder).is_empty());
}

#[test]
fn what_means_nothing_on_a_host_is_refused_with_what_to_do() {
    let scene = Scene::new();
    for (text, error) in [
        ("steps:\n  - {host: db1, http: {url: 'https://x/'}}", "`host` means nothing for a step of the kind `http`"),
        ("steps:\n  - {host: db1, render: {template: x, to: y}}", "let a `cmd` step copy it"),
        ("steps:\n  - {host: '-oProxyCommand=x', run: x}", "begins with `-`"),
        ("steps:\n  - {host: 'a b', run: x}", "this is no host for ssh"),
        ("steps:\n  - {host: db1, run: x, lease: strict, retry: {attempts: 2}}", "cannot be kept on another machine"),
        ("steps:\n  - {host: db1, run: x, env: {UID: 1}}", "the shell there sets `UID` itself"),
        ("files: ['*.txt']\nsteps:\n  - {host: db1, run: x}", "are not copied to the host"),
        (
            "params: {p: {type: string, sensitive: true, required: true}}\nsteps:\n  - {host: '${{ params.p }}', run: x}",
            "`host` of step `step_1` reads something sensitive",
        ),
    ] {
        scene.file("x.yaml", text);
        let told = scene.expect(2, &["validate", "x.yaml"]).stderr;
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ").replace(" │ ", " ");
        assert!(told.contains(error), "{text}: {told}");
    }
}

#[test]
fn a_value_is_a_host_or_nothing_happens() {
    let scene = Scene::new();
    let hosts = Hosts::new(&scene, &["db1"]);
    scene.file(
        "ssh_config",
        format!("Match exec \"touch {}/%n\"\n{}", scene.path("").display(), scene.read("ssh_config")),
    );
    scene.file(
        "x.yaml",
        "params: {h: {type: string, required: true}}\nsteps:\n  - {host: '${{ params.h }}', run: 'true'}\n",
    );
    for bad in [
        "-oProxyCommand=touch pwned",
        "db1 touch pwned",
        "$(touch pwned)",
        "db1;touch pwned",
        "`touch pwned`",
        "",
        "a\nb",
    ] {
        let told = hosts.expect(&scene, 1, &["run", "x.yaml", "-p", &format!("h={bad}")]);
        assert!(told.contains("is no host for ssh"), "{bad}: {told}");
    }
    assert!(!scene.path("pwned").exists());
}

/// Values that mean something to somebody on the way, and random ones.
fn hostile(count: usize) -> Vec<String> {
    let canary = "touch pwned";
    let shapes = [
        "$(@)",
        "`@`",
        "'; @; '",
        "\"; @; \"",
        "; @",
        "\n@\n",
        "| @",
        "& @",
        "${IFS}@",
        "$'\\n@'",
        "\\\n@",
        "\\0101@",
        "%s%n",
        "-e @",
        "--",
        "-",
        "",
        " ",
        "  a  b  ",
        "\t",
        "\n",
        "\n\n",
        "trailing\n",
        "trailing\n\n\n",
        "\r\n",
        "*",
        "~root",
        "{a,b}",
        "\\",
        "\\\\",
        "\\0",
        "\\c",
        "%b",
        "%",
        "go",
        "env A b",
        "ä€𝄞",
        "\u{1}\u{2}\u{7f}\u{81}\u{88}",
        "\u{202e}",
        "#",
        "!!",
        "=x",
        "a=b",
        "$((1+1))",
        "()",
        "() { :; }; @",
        "<(@)",
        ">pwned",
        "runward far 1",
        ".",
        "EOF",
        "\u{1b}]0;x\u{7}",
    ];
    let alphabet: Vec<char> =
        "abc$`'\"\\;&|<>(){}[]*?!#~=% \t\n\r\u{1}\u{7f}\u{80}\u{ff}é€𝄞-0123456789".chars().collect();
    let mut seed = 42u64;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    let mut values: Vec<String> = shapes.iter().map(|shape| shape.replace('@', canary)).collect();
    while values.len() < count {
        let text: String = (0..random(16)).map(|_| alphabet[random(alphabet.len())]).collect();
        values.push(if random(4) == 0 { text + shapes[random(shapes.len())] } else { text }.replace('@', canary));
    }
    values
}

#[test]
fn twelve_thousand_hostile_values_arrive_byte_for_byte_and_none_of_them_runs() {
    let scene = Scene::new();
    let hosts = Hosts::new(&scene, &["db1"]);
    let values = hostile(12_000);
    // As arguments of a program, and in a script in every kind of quotes.
    let value = |n: usize| format!("${{{{ params.v{}[{}] }}}}", n / 500, n % 500);
    let arguments: String = (0..11_000).map(|n| format!("      - {}\n", value(n))).collect();
    let bare: String = (11_000..11_400).map(|n| format!("      put {}\n", value(n))).collect();
    let double: String = (11_400..11_700).map(|n| format!("      put \"{}\"\n", value(n))).collect();
    let single: String = (11_700..12_000).map(|n| format!("      put '{}'\n", value(n))).collect();
    let lists: String = (0..24).map(|n| format!(", v{n}: {{type: list, required: true}}")).collect();
    let print = scene.file("print", "#!/bin/sh\nfor a; do printf '%s\\0' \"$a\"; done > arguments\n");
    scene.file(
        "x.yaml",
        format!(
            "params: {{dir: {{type: path, required: true}}{lists}}}
defaults: {{host: db1, cwd: '${{{{ params.dir }}}}', timeout: 2h}}
steps:
  - id: arguments
    cmd:
      - sh
      - {}
{arguments}  - id: script
    run: |
      put() {{ printf '%s\\0' \"$1\"; }} >> script
{bare}{double}{single}",
            print.display()
        ),
    );
    // YAML has no control characters, but it has words for them.
    let escaped = |c: char| if c.is_control() { format!("\\u{:04x}", c as u32) } else { c.to_string() };
    let text = values.chunks(500).enumerate().map(|(n, list)| (format!("v{n}"), json!(list)));
    let text = serde_json::Value::Object(text.collect()).to_string();
    scene.file("p.yaml", text.chars().map(escaped).collect::<String>());
    hosts.expect(&scene, 0, &["run", "x.yaml", "-p", &scene.dir(), "--params-file", "p.yaml"]);
    let arrived = fs::read(scene.path("arguments")).unwrap();
    let arrived = [arrived, fs::read(scene.path("script")).unwrap()].concat();
    let mut arrived = arrived.split(|byte| *byte == 0);
    for (n, value) in values.iter().enumerate() {
        assert_eq!(arrived.next().map(String::from_utf8_lossy).as_deref(), Some(value.as_str()), "value {n}");
    }
    assert!(!scene.path("pwned").exists());
    println!("{} values, each byte for byte, on a host", values.len());
}
