//! Files made from templates: in one piece or not at all, and only when something would change.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::harness::{Scene, step_of};

const CONF: &str = "\
name: conf
params: {port: {type: int, default: 80}, dir: {type: path, required: true}, hosts: {type: list, default: [a, b]}}
steps:
  - id: conf
    render: {template: lib/conf.tera, to: '${{ params.dir }}/配置.conf', mode: '0640', backup: true}
";

fn scene_of(template: &str) -> (Scene, String) {
    let scene = Scene::new();
    scene.file("conf.yaml", CONF);
    scene.file("lib/conf.tera", template);
    let dir = scene.dir();
    (scene, dir)
}

const TEMPLATE: &str = "# 配置 {{ run.name }}\nlisten {{ params.port }};\n{% for host in params.hosts -%}\nserver '{{ host }}' & <x>;\n{% endfor -%}\nend\n";

#[test]
fn a_file_is_written_once_and_again_only_when_it_would_change() {
    let (scene, dir) = scene_of(TEMPLATE);
    let run = |port: &str| {
        let done = scene.expect(0, &["run", "conf.yaml", "-p", &dir, "-p", port]);
        (step_of(&scene.last(), "conf")["outputs"]["changed"].clone(), done.stdout)
    };
    let (changed, said) = run("port=80");
    assert_eq!(changed, true);
    assert!(said.contains("new file, mode 0640") && said.contains("+listen 80;"), "{said}");
    assert_eq!(scene.read("配置.conf"), "# 配置 conf\nlisten 80;\nserver 'a' & <x>;\nserver 'b' & <x>;\nend\n");
    let meta = || fs::metadata(scene.path("配置.conf")).unwrap();
    assert_eq!(meta().mode() & 0o7777, 0o640);
    let before = (meta().ino(), meta().mtime_nsec());

    let (changed, said) = run("port=80");
    assert_eq!(changed, false);
    assert!(said.contains("is as it should be"), "{said}");
    assert_eq!((meta().ino(), meta().mtime_nsec()), before);

    let (changed, said) = run("port=81");
    assert_eq!(changed, true);
    assert!(said.contains("-listen 80;") && said.contains("+listen 81;") && said.contains(" # 配置 conf"), "{said}");
    let backups = kept(&scene);
    assert_eq!(backups.len(), 1, "{backups:?}");
    assert!(scene.read(&backups[0]).contains("listen 80;"));

    // A mode that is wrong is put right, and is no reason for a backup.
    fs::set_permissions(scene.path("配置.conf"), fs::Permissions::from_mode(0o600)).unwrap();
    let (changed, said) = run("port=81");
    assert!(changed == true && said.contains("mode 0600 becomes 0640"), "{said}");
    assert_eq!((meta().mode() & 0o7777, kept(&scene).len()), (0o640, 1));
    assert!(hidden(&scene).is_empty(), "{:?}", hidden(&scene));
}

fn names(scene: &Scene) -> Vec<String> {
    fs::read_dir(scene.path("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn kept(scene: &Scene) -> Vec<String> {
    names(scene).into_iter().filter(|name| name.contains(".bak-")).collect()
}

/// What a write leaves behind when it goes wrong.
fn hidden(scene: &Scene) -> Vec<String> {
    names(scene).into_iter().filter(|name| name.contains(".runward-")).collect()
}

#[test]
fn what_is_wrong_in_a_template_is_reported_at_its_line_in_the_template() {
    for (template, place, why) in [
        ("a\nb {{ params.prot }}\n", "lib/conf.tera:2:6", "did you mean `port`"),
        ("{{ params.port\n", "lib/conf.tera:1:", ""),
        ("a\n\n{% if params.port %}x\n", "lib/conf.tera:", ""),
        ("备份 {{ params.port | uper }}", "lib/conf.tera:1:21", "did you mean `upper`"),
        ("x\n{{ prams.port }}", "lib/conf.tera:2:4", "`prams` is not a name"),
        ("{{ steps.later.outputs.x }}", "lib/conf.tera:1:4", "no step has the id `later`"),
        ("{{ item }}", "lib/conf.tera:1:4", "no `for-each`"),
        ("{{ env.HOME }}", "lib/conf.tera:1:4", "not declared in the `env`"),
        ("{% include \"other\" %}", "lib/conf.tera:1:", "other"),
    ] {
        let (scene, dir) = scene_of(template);
        let done = scene.expect(2, &["run", "conf.yaml", "-p", &dir]);
        assert!(done.stderr.contains(place) && done.stderr.contains(why), "{template:?}:\n{}", done.stderr);
        assert_eq!(scene.expect(2, &["validate", "conf.yaml"]).stderr, done.stderr);
        assert_eq!(scene.runs_recorded(), 0);
    }
    let (scene, dir) = scene_of("{{ params.port }}");
    scene.file("conf.yaml", format!("{CONF}  - run: echo ${{{{ steps.conf.outputs.chnaged }}}}\n"));
    let done = scene.expect(2, &["run", "conf.yaml", "-p", &dir]);
    assert!(done.stderr.contains("did you mean `changed`"), "{}", done.stderr);
    let (scene, dir) = scene_of("listen {{ params.port }} in {{ params.dir }};\n");
    let done = scene.expect(2, &["run", "conf.yaml", "-p", &dir]);
    assert!(done.stderr.contains("nothing reads the parameter `hosts`"), "{}", done.stderr);
    fs::remove_file(scene.path("lib/conf.tera")).unwrap();
    let done = scene.expect(2, &["run", "conf.yaml", "-p", &dir]);
    assert!(done.stderr.contains("conf.yaml:5:") && done.stderr.contains("does not exist"), "{}", done.stderr);
}

#[test]
fn a_value_that_is_missing_when_the_step_is_due_points_at_the_line_that_wants_it() {
    let scene = Scene::new();
    scene.file("a.tera", "one\ntwo {{ steps.first.outputs.version }}\n");
    scene.file("x.yaml", "steps:\n  - {id: first, run: 'true'}\n  - {id: conf, render: {template: a.tera, to: out}}\n");
    scene.expect(1, &["run", "x.yaml"]);
    let step = step_of(&scene.last(), "conf");
    let error = step["error"].as_str().unwrap();
    assert!(error.starts_with("a.tera: line 2, column 28: ") && error.contains("`version` is not defined"), "{error}");
    assert_eq!(step["attempts"], 0);
}

#[test]
fn a_run_renders_the_template_it_was_started_with() {
    let scene = Scene::new();
    scene.file("a.tera", "old {{ steps.first.outputs.v }}\n");
    scene.file(
        "x.yaml",
        "params: {dir: {type: path, required: true}}
files: [a.tera]
steps:
  - id: first
    run: |
      echo v=1 >> \"$RUNWARD_OUTPUT\"
      echo 'changed by a step' > a.tera
  - {id: gate, run: 'test -e ${{ params.dir }}/open'}
  - {id: conf, render: {template: a.tera, to: '${{ params.dir }}/out'}}
",
    );
    scene.expect(1, &["run", "x.yaml", "-p", &scene.dir()]);
    scene.file("a.tera", "new\n");
    scene.file("open", "");
    scene.expect(0, &["resume", "last"]);
    assert_eq!(scene.read("out"), "old 1\n");
}

#[test]
fn a_sensitive_value_is_in_the_file_and_in_no_log() {
    let scene = Scene::new();
    scene.file("env.tera", "USER={{ params.user }}\nPASSWORD={{ env.PW }}\n");
    scene.file(
        "x.yaml",
        "params: {user: {default: app}, pw: {sensitive: true, required: true}, dir: {type: path, required: true}}
steps:
  - id: dotenv
    env: {PW: '${{ params.pw }}'}
    render: {template: env.tera, to: '${{ params.dir }}/.env', mode: '600'}
",
    );
    scene.file(".env", "PASSWORD=formerly\n");
    let params = ["x.yaml", "-p", &scene.dir(), "-p", "pw=open sesame"];
    let plan = scene.expect(0, &[&["plan"], &params[..]].concat());
    let check = scene.expect(0, &[&["run", "--check"], &params[..]].concat());
    let run = scene.expect(0, &[&["run"], &params[..]].concat());
    let logs = scene.expect(0, &["logs", "last", "--raw"]);
    assert_eq!(scene.read(".env"), "USER=app\nPASSWORD=open sesame\n");
    for done in [plan, check, run, logs] {
        assert!(!done.stdout.contains("sesame") && !done.stdout.contains("formerly"), "{}", done.stdout);
        assert!(done.stdout.contains("the difference is not shown"), "{}", done.stdout);
    }
}

#[test]
fn plan_and_check_show_what_would_change_and_change_nothing() {
    let (scene, dir) = scene_of(TEMPLATE);
    scene.file("lib/late.tera", "{{ steps.conf.outputs.changed }}\n");
    scene.file(
        "conf.yaml",
        format!(
            "{CONF}  - id: late\n    render: {{template: lib/late.tera, to: '${{{{ params.dir }}}}/late'}}\n  - id: each\n    \
             for-each: ${{{{ params.hosts }}}}\n    render: {{template: lib/item.tera, to: '${{{{ params.dir }}}}/${{{{ item }}}}'}}\n  \
             - id: never\n    if: params.port == 1\n    render: {{template: lib/item.tera, to: /nowhere/x}}\n    for-each: [x]\n  - run: touch pwned\n"
        ),
    );
    scene.file("lib/item.tera", "{{ index }} {{ item }}\n");
    scene.file("配置.conf", "listen 79;\n");
    scene.file("b", "1 b\n");
    for command in [&["plan"][..], &["run", "--check"]] {
        let done = scene.expect(0, &[command, &["conf.yaml", "-p", &dir]].concat());
        for wanted in [
            "-listen 79;",
            "+listen 80;",
            "is not known before the run: it reads `steps.conf.outputs.changed`",
            "+0 a",
            "/b is as it should be",
            "skipped by its `if`",
        ] {
            assert!(done.stdout.contains(wanted), "{wanted}:\n{}", done.stdout);
        }
    }
    let json = scene.json(&["run", "--check", "conf.yaml", "-p", &dir]);
    assert_eq!(json["files"][1]["change"], "not_known", "{json}");
    assert_eq!(json["files"][0]["change"], "changes", "{json}");
    assert_eq!(scene.read("配置.conf"), "listen 79;\n");
    assert!(!scene.path("a").exists() && !scene.path("pwned").exists());
    assert_eq!(scene.runs_recorded(), 0);
}

#[test]
fn a_link_stays_a_link_and_what_it_points_to_is_replaced() {
    let (scene, dir) = scene_of("{{ params.port }} {{ params.hosts | length }}\n");
    fs::create_dir(scene.path("available")).unwrap();
    scene.file("available/site", "old\n");
    symlink("available/site", scene.path("配置.conf")).unwrap();
    scene.expect(0, &["run", "conf.yaml", "-p", &dir]);
    assert!(fs::symlink_metadata(scene.path("配置.conf")).unwrap().is_symlink());
    assert_eq!(scene.read("available/site"), "80 2\n");
}

#[test]
fn a_file_that_cannot_be_written_says_why_and_is_as_it_was() {
    let (scene, _) = scene_of("{{ params.port }} {{ params.hosts | length }}\n");
    let run = |dir: &str| {
        scene.expect(1, &["run", "conf.yaml", "-p", &format!("dir={dir}")]);
        step_of(&scene.last(), "conf")["error"].as_str().unwrap().to_owned()
    };
    let nowhere = scene.path("no/where").display().to_string();
    assert!(run(&nowhere).contains("there is no folder"), "{}", run(&nowhere));
    fs::create_dir_all(scene.path("folder/配置.conf")).unwrap();
    assert!(run(&scene.path("folder").display().to_string()).contains("not a regular file"));
    fs::create_dir(scene.path("circle")).unwrap();
    symlink("配置.conf", scene.path("circle/配置.conf")).unwrap();
    assert!(run(&scene.path("circle").display().to_string()).contains("leads back to itself"));
    scene.file("conf.yaml", CONF.replace("mode: '0640'", "owner: nobody_of_this_name"));
    scene.file("配置.conf", "old\n");
    assert!(run(&scene.path("").display().to_string()).contains("there is no user `nobody_of_this_name`"));
    assert_eq!(scene.read("配置.conf"), "old\n");
    assert!(kept(&scene).is_empty() && hidden(&scene).is_empty());
}

#[test]
fn a_value_in_the_path_names_a_file_below_what_the_runbook_says() {
    let scene = Scene::new();
    scene.file("app.tera", "new\n");
    scene.file("conf/app/.keep", "");
    scene.file("secret", "old\n");
    scene.file(
        "x.yaml",
        "params: {dir: {type: path, required: true}, name: {required: true}}
steps:
  - id: conf
    render: {template: app.tera, to: '${{ params.dir }}/conf/${{ params.name }}/app.conf'}
  - id: there
    cwd: ${{ params.dir }}/${{ params.name }}
    run: pwd
",
    );
    for (name, why) in [("../..", "makes a `..`"), ("", "is empty")] {
        let name = format!("name={name}");
        let params = ["x.yaml", "-p", &scene.dir(), "-p", &name];
        let plan = scene.expect(0, &[&["plan"], &params[..]].concat());
        let done = scene.expect(1, &[&["run"], &params[..]].concat());
        for shown in [plan.stdout, done.stdout] {
            assert!(shown.contains(why) && shown.contains("the path would name something else"), "{shown}");
        }
        assert!(!scene.path("app.conf").exists() && !scene.path("conf/app.conf").exists());
    }
    scene.file("app/.keep", "");
    scene.expect(0, &["run", "x.yaml", "-p", &scene.dir(), "-p", "name=app"]);
    assert_eq!(scene.read("conf/app/app.conf"), "new\n");
}

#[test]
fn a_path_that_would_show_a_sensitive_value_is_refused() {
    let scene = Scene::new();
    scene.file("app.tera", "new\n");
    scene.file(
        "x.yaml",
        "params: {pin: {sensitive: true, required: true}}
steps:
  - id: conf
    env: {PIN: '${{ params.pin }}'}
    render: {template: app.tera, to: '/tmp/${{ env.PIN }}.conf'}
  - {id: there, cwd: '/tmp/${{ params.pin }}', run: pwd}
",
    );
    let done = scene.expect(2, &["validate", "x.yaml"]);
    for words in ["`render.to` of step `conf` reads something sensitive", "`cwd` of step `there`"] {
        assert!(done.stderr.contains(words), "{}", done.stderr);
    }
}

#[test]
fn a_huge_old_file_and_a_long_name_are_replaced_like_any_other() {
    let scene = Scene::new();
    scene.file("app.tera", "new\n");
    let name = "n".repeat(250);
    let huge = std::fs::File::create(scene.path(&name)).unwrap();
    huge.set_len(1 << 36).unwrap(); // without a byte on the disk
    scene.file(
        "x.yaml",
        "params: {file: {type: path, required: true}}\nsteps: [{render: {template: app.tera, to: '${{ params.file }}'}}]\n",
    );
    let file = format!("file={name}");
    let plan = scene.expect(0, &["plan", "x.yaml", "-p", &file]);
    assert!(plan.stdout.contains(": the difference is not shown"), "{}", plan.stdout);
    scene.expect(0, &["run", "x.yaml", "-p", &file]);
    assert_eq!(scene.read(&name), "new\n");
}
