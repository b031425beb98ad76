//! What a shell and a reader of manuals get: completion, man pages, the reference of the command line.

use std::fs;
use std::process::Command;

use crate::harness::{Scene, finish, repository};

const BOOK: &str = "\
params:
  environment: {type: string, enum: [staging, prod], required: true, description: where}
  dry: {type: bool, default: false}
  hosts: {type: list, default: [a, b]}
steps:
  - id: first
    run: echo ${{ params.environment }} ${{ params.dry }}
  - id: each
    for-each: ${{ params.hosts }}
    run: echo ${{ item }}
";

/// What a real bash would offer after these words; `|` where it cuts them.
fn offered(scene: &Scene, words: &[&str]) -> Vec<String> {
    let script = "source <(runward completions bash); COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); \
                  complete -p runward > /dev/null && _runward && printf '%s\\n' \"${COMPREPLY[@]}\"";
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_runward")).parent().unwrap();
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.args(["-euc", script, "bash"]).args(words).current_dir(scene.path("")).env("PATH", path);
    command.env("RUNWARD_STATE", scene.path("state"));
    let done = finish(&mut command);
    assert_eq!(done.stderr, "", "{words:?}");
    done.stdout.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_runbooks_parameters_runs_and_steps() {
    let scene = Scene::new();
    scene.file("runbooks/deploy/网站.yaml", BOOK);
    scene.file("runbooks/broken.yaml", "steps: [");
    scene.file("data.txt", "");
    assert_eq!(offered(&scene, &["runward", "aud"]), ["audit"]);
    assert!(offered(&scene, &["runward", ""]).iter().all(|word| !word.starts_with('_')), "nothing that is internal");
    assert_eq!(offered(&scene, &["runward", "run", "dep"]), ["deploy/网站"]);
    assert!(!offered(&scene, &["runward", "run", ""]).contains(&"data.txt".to_owned()), "only runbooks and folders");
    let run = ["runward", "run", "deploy/网站", "-p"];
    let with = |more: &[&str]| offered(&scene, &[&run[..], more].concat());
    assert_eq!(with(&["en"]), ["environment="]);
    assert_eq!(with(&["environment", "=", "pr"]), ["prod"], "bash cuts words at `=`");
    assert_eq!(
        with(&["environment", "="]),
        ["environment=staging", "environment=prod"].map(|both| both.split('=').nth(1).unwrap())
    );
    assert_eq!(with(&["environment", "=", "prod", "-p", "d"]), ["dry="]);
    assert!(!with(&["environment", "=", "prod", "-p", ""]).contains(&"environment=".to_owned()), "it is given");
    assert_eq!(offered(&scene, &["runward", "run", "broken", "-p", ""]), [] as [&str; 0]);

    assert!(offered(&scene, &["runward", "show", "l"]).is_empty());
    assert!(!scene.path("state").exists(), "looking makes no ledger");
    scene.expect(0, &["run", "deploy/网站", "-p", "environment=prod"]);
    let id = scene.last()["run"]["id"].as_str().unwrap().to_owned();
    let end = id.rsplit('-').next().unwrap();
    assert_eq!(offered(&scene, &["runward", "show", &end[..5]]), [end]);
    assert_eq!(offered(&scene, &["runward", "show", "la"]), ["last"]);
    assert_eq!(offered(&scene, &["runward", "logs", "last", "ea"]), ["each", "each[0]", "each[1]"]);
}

#[test]
fn every_shell_has_a_script_and_an_unknown_one_is_an_error() {
    let scene = Scene::new();
    for shell in ["bash", "zsh", "fish", "elvish"] {
        assert!(scene.expect(0, &["completions", shell]).stdout.contains("runward"), "{shell}");
    }
    scene.expect(2, &["completions", "tcsh"]);
}

#[test]
fn every_command_has_a_manual_page_that_renders_without_a_warning() {
    let scene = Scene::new();
    scene.expect(0, &["man", "--out", "pages"]);
    let mut seen = 0;
    for entry in fs::read_dir(scene.path("pages")).unwrap() {
        let path = entry.unwrap().path();
        let done = finish(Command::new("groff").args(["-man", "-Tutf8", "-ww", "-rLL=78n", "-P-cbou"]).arg(&path));
        assert_eq!((done.code, done.stderr.as_str()), (0, ""), "{}", path.display());
        let text = &done.stdout;
        for part in ["NAME", "SYNOPSIS", "EXIT STATUS", "ENVIRONMENT", "RUNWARD_STATE"] {
            assert!(text.contains(part), "{part} in {}:\n{text}", path.display());
        }
        seen += 1;
    }
    assert!(seen > 15, "{seen}");
    assert!(scene.expect(0, &["man", "audit", "verify"]).stdout.contains(".TH RUNWARD-AUDIT-VERIFY 1"));
    scene.expect(2, &["man", "nonsense"]);
}

/// The help of a command and of everything below it, as a page.
fn reference(scene: &Scene, path: &[&str], page: &mut String) {
    let args: Vec<&str> = path.iter().copied().chain(["--help"]).collect();
    let help = scene.expect(0, &args).stdout;
    let title = ["runward"].iter().chain(path).copied().collect::<Vec<_>>().join(" ");
    *page +=
        &format!("\n## {title}\n\n```text\n{}\n```\n", help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"));
    let Some((_, commands)) = help.split_once("Commands:\n") else { return };
    let names = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    for name in names.filter(|name| !name.is_empty() && *name != "help") {
        reference(scene, &[path, &[name]].concat(), page);
    }
}

#[test]
fn the_reference_of_the_command_line_is_what_the_program_says() {
    const WRITE: &str =
        "RUNWARD_WRITE_DOCS=1 cargo nextest run -p runward -E 'test(the_reference_of_the_command_line)'";
    let mut page = String::from(
        "# Command line\n\nThis is what `runward COMMAND --help` says, for every command. Written by a test.\n",
    );
    reference(&Scene::new(), &[], &mut page);
    let path = repository().join("docs/reference/cli.md");
    if std::env::var_os("RUNWARD_WRITE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let differs = page.lines().zip(written.lines().chain(std::iter::repeat(""))).find(|(now, then)| now != then);
    assert!(
        page == written,
        "docs/reference/cli.md is not what the program says, first here: {differs:?}\nwrite it again with:\n  {WRITE}"
    );
}
