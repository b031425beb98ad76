//! A real nginx: rendered, checked, taken over, and asked until the new configuration answers.

use std::fs;
use std::net::TcpListener;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Done, Scene, finish, is_alive, repository, step_of, wait};

struct Nginx {
    scene: Scene,
    port: String,
}

impl Nginx {
    fn new() -> Nginx {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Nginx { scene: Scene::new(), port: format!("port={port}") }
    }

    fn run(&self, runbook: &str, more: &[&str]) -> Done {
        let folder = format!("folder={}", self.scene.path("edge").display());
        let mut command = self.scene.runward();
        command.current_dir(repository()).args(["run", runbook, "-p", &folder, "-p", &self.port]).args(more);
        finish(&mut command)
    }

    fn pid(&self) -> Option<u32> {
        self.scene.read("edge/nginx.pid").trim().parse().ok()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if let Some(pid) = self.pid() {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGTERM);
            wait("nginx to be gone", || !is_alive(pid));
        }
    }
}

#[test]
fn a_configuration_is_rendered_checked_taken_over_and_asked_until_it_answers() {
    let nginx = Nginx::new();
    let runbook = "runbooks/render_nginx.yaml";
    let first = nginx.run(runbook, &[]);
    assert_eq!(first.code, 0, "{}{}", first.stdout, first.stderr);
    assert!(first.stdout.contains("take_over | started"), "{}", first.stdout);
    let pid = nginx.pid().expect("nginx writes its pid");

    let second = nginx.run(runbook, &["-p", "release=2"]);
    assert_eq!(second.code, 0, "{}{}", second.stdout, second.stderr);
    assert!(
        second.stdout.contains("\"release\": \"2\"") && second.stdout.contains("take_over | reloaded"),
        "{}",
        second.stdout
    );
    assert_eq!(step_of(&nginx.scene.last(), "ready")["outputs"]["json"]["release"], "2");

    let third = nginx.run(runbook, &["-p", "release=2"]);
    assert_eq!(third.code, 0, "{}{}", third.stdout, third.stderr);
    assert_eq!(step_of(&nginx.scene.last(), "conf")["outputs"]["changed"], false);
    assert!(third.stdout.contains("take_over | nothing to do"), "{}", third.stdout);
    assert_eq!(nginx.pid(), Some(pid), "the same nginx through all of it");
    let kept = fs::read_dir(nginx.scene.path("edge")).unwrap().flatten();
    assert_eq!(kept.filter(|entry| entry.file_name().to_string_lossy().contains(".bak-")).count(), 1);
}

#[test]
fn a_configuration_that_nginx_refuses_never_gets_its_name() {
    let nginx = Nginx::new();
    let copied = finish(Command::new("cp").arg("-r").arg(repository().join("runbooks")).arg(nginx.scene.path("")));
    assert_eq!(copied.code, 0, "{}", copied.stderr);
    let runbook = nginx.scene.path("runbooks/render_nginx.yaml").display().to_string();
    assert_eq!(nginx.run(&runbook, &[]).code, 0);
    let before = nginx.scene.read("edge/nginx.conf");
    let template = nginx.scene.read("runbooks/lib/nginx.conf.tera");
    nginx.scene.file("runbooks/lib/nginx.conf.tera", template.replace("listen ", "lisen "));
    let broken = nginx.run(&runbook, &["-p", "release=2"]);
    assert_eq!(broken.code, 1);
    assert!(broken.stdout.contains("unknown directive \"lisen\""), "{}", broken.stdout);
    assert_eq!(nginx.scene.read("edge/nginx.conf"), before);
    assert!(is_alive(nginx.pid().unwrap()));
}
