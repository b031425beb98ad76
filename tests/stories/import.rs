//! A crontab is left behind: what its lines did, runbooks do.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::harness::{Done, Scene, finish};

const CRONTAB: &str = "\
# m h  dom mon dow   command
SHELL=/bin/bash
MAILTO=\"ops@example.com\"

# Nightly backup
30 2 * * *\t/usr/local/bin/backup.sh  --all \"$HOME\" ${{ not.ours }}
@hourly cd /tmp && ./sweep.sh 'a b' \"c\" $'\\t' \\\\
*/5 9-17 * * Mon-Fri mail -s hi ops%Good morning%100\\% sure
@reboot start
0 25 * * * never
";

#[test]
fn every_line_becomes_a_runbook_or_is_named_with_the_reason() {
    let scene = Scene::new();
    scene.file("tab", CRONTAB);
    let done = scene.expect(1, &["import", "crontab", "tab"]);
    for (path, due) in [
        ("runbooks/backup.yaml", "line 6, at 02:30 every day"),
        ("runbooks/sweep.yaml", "line 7, every hour"),
        ("runbooks/mail.yaml", "line 8, every 5 minutes of every hour from 9 to 17, Monday to Friday"),
    ] {
        assert!(done.stdout.contains(&format!("wrote {path}: {due}\n")), "{}", done.stdout);
        let checked = scene.expect(0, &["validate", path]);
        assert!(!checked.stderr.contains("warning"), "{}", checked.stderr);
        scene.expect(0, &["fmt", "--check", path]);
    }
    for said in ["line 9 is left out: `@reboot`", "line 10 is left out: hour `25`", "line 3: cron mails"] {
        assert!(done.stderr.contains(said), "{}", done.stderr);
    }
    let backup = scene.read("runbooks/backup.yaml");
    assert!(backup.contains("description: 'Nightly backup'") && backup.contains("ops@example.com"), "{backup}");
    let again = scene.expect(1, &["import", "crontab", "tab"]);
    assert_eq!(again.stdout.matches("unchanged runbooks/").count(), 3, "{}", again.stdout);
}

#[test]
fn nothing_is_overwritten_and_a_rehearsal_writes_nothing() {
    let scene = Scene::new();
    scene.file("tab", "1 1 * * * first\n2 2 * * * second\n");
    let shown = scene.expect(0, &["import", "crontab", "tab", "--dry-run"]);
    assert!(
        shown.stdout.contains("# file: runbooks/second.yaml") && !scene.path("runbooks").exists(),
        "{}",
        shown.stdout
    );
    scene.file("runbooks/second.yaml", "mine");
    let refused = scene.expect(2, &["import", "crontab", "tab"]);
    assert!(refused.stderr.contains("runbooks/second.yaml exists already"), "{}", refused.stderr);
    assert!(!scene.path("runbooks/first.yaml").exists() && scene.read("runbooks/second.yaml") == "mine");
    scene.expect(0, &["import", "crontab", "tab", "--out", "other"]);
    let json = scene.expect(0, &["import", "crontab", "tab", "--out", "other", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["runbooks"][1]["file"], "other/second.yaml");
    assert_eq!(json["runbooks"][1]["written"], false);
}

/// The commands below write what they got to a file; the same lines went through a real `sh -c` before they were written here.
#[test]
fn a_command_gets_what_cron_gave_it() {
    let scene = Scene::new();
    let home = scene.path("home");
    fs::create_dir_all(&home).unwrap();
    let out = |name: &str| scene.path(name).display().to_string();
    let crontab = format!(
        "HOME={}\nGREETING = \" two  words \"\nPATH=/usr/bin:/bin\n\
         * * * * * printf '<\\%s>' \"a  b\" 'c'\"'\"'d' $GREETING '${{{{ x }}}}' \"\\$\" $(echo q) `echo r` > {}\n\
         * * * * * cat > {}; exit 7%one%100\\% sure, a\\b%%last\n\
         * * * * * pwd > {}; env | grep -c '^MAILTO=' >> {}; false; echo on >> {}\n\
         SHELL=/bin/bash\n\
         * * * * * shopt -q expand_aliases; echo $'\\x41' ${{BASH_VERSION:+bash}} $0 > {}\n",
        home.display(),
        out("words"),
        out("input"),
        out("place"),
        out("place"),
        out("place"),
        out("bash"),
    );
    scene.file("tab", crontab);
    scene.expect(0, &["import", "crontab", "tab"]);
    for (name, code) in [("printf", 0), ("cat", 1), ("pwd", 0), ("shopt", 0)] {
        // When it runs has nothing to do with what it runs.
        let text = scene.read(&format!("runbooks/{name}.yaml"));
        let (before, after) = text.split_once("on:\n").unwrap();
        scene.file(&format!("{name}.yaml"), format!("{before}{}", &after[after.find("steps:").unwrap()..]));
        scene.expect(code, &["run", &format!("{name}.yaml")]);
    }
    assert_eq!(scene.read("words"), "<a  b><c'd><two><words><${{ x }}><$><q><r>");
    assert_eq!(scene.read("input"), "one\n100% sure, a\\b\n\nlast\n");
    assert_eq!(scene.read("place"), format!("{}\n0\non\n", home.display()));
    assert_eq!(scene.read("bash"), "A bash /bin/bash\n");
}

#[test]
fn of_a_crontab_of_the_system_the_lines_of_one_user_are_taken() {
    let scene = Scene::new();
    scene.file("tab", "17 * * * * nobody cd / && sweep\n25 6 * * * daemon rotate\n");
    let mine = scene.expect(1, &["import", "crontab", "tab", "--system", "--out", "mine"]);
    assert!(mine.stderr.contains("line 1 is left out: it is run by nobody"), "{}", mine.stderr);
    assert!(!scene.path("mine").exists());
    let theirs = scene.expect(0, &["import", "crontab", "tab", "--system", "--user", "nobody"]);
    assert!(
        theirs.stdout.contains("wrote runbooks/sweep.yaml: line 1, at minute 17 of every hour"),
        "{}",
        theirs.stdout
    );
    assert!(theirs.stderr.contains("line 2 is left out: it is run by daemon"), "{}", theirs.stderr);
    let slip = scene.expect(2, &["import", "crontab", "tab", "--user", "nobody"]);
    assert!(slip.stderr.contains("say `--system` too"), "{}", slip.stderr);
}

#[test]
fn a_crontab_comes_from_a_file_a_pipe_or_cron_itself() {
    let scene = Scene::new();
    let empty = scene.expect(2, &["import", "crontab", "/dev/null"]);
    assert!(empty.stderr.contains("there is no job in /dev/null"), "{}", empty.stderr);
    let nowhere = scene.expect(2, &["import", "crontab", "nowhere"]);
    assert!(nowhere.stderr.contains("nowhere cannot be read"), "{}", nowhere.stderr);
    let piped = piped(&scene, b"5 4 * * * piped\n\xff * * * * x\n");
    assert_eq!(piped.code, 1);
    assert!(
        piped.stdout.contains("wrote runbooks/piped.yaml") && piped.stderr.contains("line 2 is left out"),
        "{}",
        piped.stderr
    );
    let without = finish(scene.runward().args(["import", "crontab"]).env("PATH", scene.path("nothing")));
    assert!(without.code == 2 && without.stderr.contains("crontab -l | runward import"), "{}", without.stderr);
    let fake = scene.file("bin/crontab", "#!/bin/sh\n[ \"$1\" = -l ] && echo '0 3 * * 0 installed'\n");
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    let listed = finish(scene.runward().args(["import", "crontab"]).env("PATH", scene.path("bin")));
    assert!(listed.stdout.contains("wrote runbooks/installed.yaml: line 1, at 03:00 on Sunday"), "{}", listed.stderr);
}

fn piped(scene: &Scene, crontab: &[u8]) -> Done {
    let mut command = scene.runward();
    command.args(["import", "crontab", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(crontab).unwrap();
    let output = child.wait_with_output().unwrap();
    Done {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        stdout_bytes: output.stdout,
    }
}
