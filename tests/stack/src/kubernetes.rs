//! A Kubernetes of one node, in the namespaces of a [`Docker`] of its own: it is gone with it. Its programs are built once, and kept
//! below `target/`.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Docker, repository};

/// A node that has not come up by then never will.
const PATIENCE: Duration = Duration::from_secs(180);

pub struct Kubernetes {
    pub docker: Docker,
    /// Dropped after what ends it.
    node: Node,
    programs: PathBuf,
}

struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.wait(); // it was waited for before: there is nothing left to do
    }
}

impl Kubernetes {
    /// Nothing is in it, and its node is ready.
    pub fn start() -> Kubernetes {
        let tools = repository().join("tests/stack/kubernetes");
        let built = Command::new("bash").arg(tools.join("build.sh")).stderr(Stdio::inherit()).output().expect("bash");
        assert!(built.status.success(), "the programs of Kubernetes cannot be built");
        let programs = PathBuf::from(String::from_utf8_lossy(&built.stdout).trim());
        let runtime = format!("quiet={}", tools.join("runc.py").display());
        let docker = Docker::with(&["--add-runtime", &runtime, "--default-runtime", "quiet"]);
        std::fs::create_dir(docker.folder().join("kubernetes")).expect("the folder is ours");
        let log = std::fs::File::create(docker.folder().join("kubernetes/log")).expect("the folder is ours");
        let mut node = docker.within(&["bash"]);
        node.arg(tools.join("node.sh")).args([&programs, docker.folder()]);
        node.stdin(Stdio::null()).stderr(log.try_clone().expect("the same file")).stdout(log);
        let node = Node(node.spawn().expect("nsenter can be started"));
        let mut kubernetes = Kubernetes { docker, node, programs };
        let asked = Instant::now();
        while !kubernetes.is_up() {
            let ended = kubernetes.node.0.try_wait().expect("it is a child of this process").is_some();
            let up = !ended && asked.elapsed() < PATIENCE;
            assert!(up, "the node did not come up: {}", kubernetes.log("log") + &kubernetes.log("kubelet.log"));
            std::thread::sleep(Duration::from_millis(200));
        }
        kubernetes
    }

    fn is_up(&self) -> bool {
        self.kubeconfig().exists()
            && self.client(&["wait", "node/node", "--for=condition=Ready", "--timeout=1s"]).output().is_ok_and(|done| done.status.success())
            // Pods want the account that is made for them.
            && self.client(&["get", "serviceaccount", "default"]).output().is_ok_and(|done| done.status.success())
    }

    fn log(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.docker.folder().join("kubernetes").join(name)).unwrap_or_default();
        text.lines().rev().take(20).map(|line| format!("{line}\n")).collect()
    }

    /// Holds in the network of its Docker.
    pub fn kubeconfig(&self) -> PathBuf {
        self.docker.folder().join("kubernetes/kubeconfig")
    }

    /// The folder with `kubectl`.
    pub fn programs(&self) -> &std::path::Path {
        &self.programs
    }

    /// `kubectl` with these words, not yet started.
    pub fn client(&self, words: &[&str]) -> Command {
        let kubectl = self.programs.join("kubectl").display().to_string();
        let mut command = self.docker.inside(&[&[kubectl.as_str()], words].concat());
        command.env("KUBECONFIG", self.kubeconfig());
        command
    }

    /// What `kubectl` says to these words, which have to do.
    pub fn say(&self, words: &[&str]) -> String {
        let done = self.client(words).stdin(Stdio::null()).output().expect("kubectl can be started");
        assert!(done.status.success(), "kubectl {words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).trim_end().to_owned()
    }
}
