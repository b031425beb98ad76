//! runward itself in containers: the image and the cluster of `deploy/container`.

use std::fs;
use std::process::{Command, Stdio};

use runward_library::Docker;

use crate::harness::{Done, Scene, finish, repository, wait};

struct Cluster {
    docker: Docker,
    scene: Scene,
}

/// The image as its file says, but for the program, which is the one that was built here.
pub fn image(docker: &Docker, scene: &Scene, tag: &str) {
    let file = fs::read_to_string(repository().join("deploy/container/Containerfile")).unwrap();
    let (_, image) = file.split_once("\n\nFROM ").expect("its second stage");
    let built = format!("FROM scratch AS build\nCOPY runward /src/target/release/runward\n\nFROM {image}");
    let context = scene.file("image/Containerfile", built).parent().unwrap().display().to_string();
    fs::copy(env!("CARGO_BIN_EXE_runward"), scene.path("image/runward")).unwrap();
    let file = format!("{context}/Containerfile");
    docker.say(&["build", "--quiet", "--network", "host", "--file", &file, "--tag", tag, &context]);
}

impl Cluster {
    fn compose(&self, words: &[&str]) -> Command {
        let file = self.scene.path("compose.yaml");
        let mut compose = Command::new("docker-compose");
        compose.args(["--project-name", "cluster", "--file"]).arg(file).args(words);
        compose.env("DOCKER_HOST", self.docker.host()).env("POSTGRES_PASSWORD", "secret").stdin(Stdio::null());
        compose
    }

    fn done(&self, words: &[&str]) -> Done {
        let done = finish(&mut self.compose(words));
        assert_eq!(done.code, 0, "{words:?}: {}{}", done.stdout, done.stderr);
        done
    }

    /// Runs the runbook `hello`; `then` is done while its second step runs.
    fn hello(&self, then: impl FnOnce()) -> (i32, String) {
        let out = self.scene.path("out");
        let file = fs::File::create(&out).unwrap();
        let mut run = self.compose(&["exec", "-T", "server", "runward", "run", "hello"]);
        let mut run = run.stderr(file.try_clone().unwrap()).stdout(file).spawn().expect("docker-compose");
        let said = || fs::read_to_string(&out).unwrap();
        wait("the second step to run", || said().contains("it has begun") || run.try_wait().unwrap().is_some());
        then();
        (run.wait().unwrap().code().unwrap(), said())
    }
}

#[test]
#[ignore = "minutes: ./test.sh long"]
fn a_cluster_in_containers_ends_its_steps_when_it_is_stopped_and_says_what_is_lost_when_it_is_killed() {
    let cluster = Cluster { docker: Docker::start(), scene: Scene::new() };
    image(&cluster.docker, &cluster.scene, "runward");
    let hello =
        "steps:\n  - {id: who, run: id -u}\n  - {id: long, run: echo it has begun; sleep 5; echo it has ended}\n";
    cluster.scene.file("runbooks/hello.yaml", hello);
    let compose = fs::read_to_string(repository().join("deploy/container/compose.yaml")).unwrap();
    // The images that are here.
    let compose = compose.replace("postgres:17-bookworm", "postgres:15").replace("redis:7-bookworm", "redis:7-alpine");
    cluster.scene.file("compose.yaml", compose);
    cluster.done(&["up", "-d"]);
    wait("the server to be ready", || cluster.docker.get("http://127.0.0.1:7640/readyz").0 == 200);
    wait("Redis to be reached", || {
        cluster.docker.get("http://127.0.0.1:7640/readyz").1.contains("\"redis\":{\"away\":null}")
    });

    let (code, said) = cluster.hello(|| ());
    assert!(code == 0 && said.contains("who | 7640") && said.contains("it has ended"), "{code} {said}");

    // Whoever is stopped takes nothing new, and ends what it has begun.
    let (code, said) = cluster.hello(|| drop(cluster.done(&["stop", "worker"])));
    assert!(code == 0 && said.contains("it has ended"), "{code} {said}");

    // Whoever is killed takes its steps along: that is said, and nothing is started twice.
    cluster.done(&["start", "worker"]);
    let (code, said) = cluster.hello(|| {
        cluster.docker.say(&["kill", "cluster_worker_1", "cluster_worker_2"]);
        cluster.done(&["start", "worker"]);
    });
    assert!(code == 8 && said.contains("long lost"), "{code} {said}");
}
