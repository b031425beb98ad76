//! A service, and runward itself, in a real Kubernetes of one node.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use runward_library::Kubernetes;
use serde_json::{Value, json};

use crate::harness::{Scene, finish, processes, repository, wait};
use crate::operator::{Operator, Run};
use crate::own;

/// Where the pods reach what listens in the network of their node.
const NODE: &str = "10.0.2.100";
/// Found nowhere but where secrets belong.
const PASSWORD: &str = "canary-4e1f0c6a97";

struct Cluster {
    kubernetes: Kubernetes,
    operator: Operator,
}

impl Cluster {
    /// With a Postgres and a Redis beside it.
    fn new() -> Cluster {
        let kubernetes = Kubernetes::start();
        let docker = &kubernetes.docker;
        for (name, image) in [("postgres", "postgres:15"), ("redis", "redis:7-alpine")] {
            let run = format!(
                "run --detach --name {name} --network host --env POSTGRES_USER --env POSTGRES_PASSWORD {image}"
            );
            let mut run = docker.client(&words(&run));
            let done = finish(run.env("POSTGRES_USER", "app").env("POSTGRES_PASSWORD", PASSWORD));
            assert_eq!(done.code, 0, "{}", done.stderr);
        }
        let ask = "exec postgres psql --no-password --host 127.0.0.1 --user app --list";
        wait("Postgres to answer", || docker.ask(&words(ask)).1.contains("no password"));
        let mut operator = Operator::new();
        operator.within = docker.network();
        let path = format!("{}:{}", kubernetes.programs().display(), std::env::var("PATH").unwrap());
        let database = database("postgresql+psycopg", "app");
        *operator.env.borrow_mut() = vec![("PATH".to_owned(), path), ("DATABASE_URL".to_owned(), database)];
        Cluster { kubernetes, operator }
    }

    /// The demo service as an image.
    fn image(&self, version: &str) {
        let source = repository().join("tests/stack/service").display().to_string();
        let build = format!("build --quiet --network host --build-arg VERSION={version} --tag demo-api:{version}");
        self.kubernetes.docker.say(&[&words(&build)[..], &[&source]].concat());
    }

    /// Runs `deploy_k8s` with an image and settings besides those that it needs.
    fn deploy(&self, code: i32, image: &str, settings: Value, more: &[(&str, &str)]) -> Run {
        let mut all = json!({"REDIS_SOCKET": "/run/redis/redis.sock"});
        all.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        let (kubeconfig, settings) = (self.kubernetes.kubeconfig().display().to_string(), all.to_string());
        let own =
            [("image", image), ("settings", &settings), ("kubeconfig", &kubeconfig), ("redis_image", "redis:7-alpine")];
        self.operator.expect(code, "deploy_k8s", &[&own[..], more].concat())
    }

    /// Something of the namespace `app`, as the API server has it.
    fn object(&self, name: &str) -> Value {
        serde_json::from_str(&self.kubernetes.say(&["-n", "app", "get", name, "-o", "json"])).unwrap()
    }

    /// What one of the service's processes sees.
    fn inside(&self, script: &str) -> String {
        let exec = words("-n app exec deploy/app -c app -- sh -c");
        self.kubernetes.say(&[&exec[..], &[script]].concat())
    }

    /// The service gets the address that the load balancer of a cloud would give it.
    fn balance(&self, address: &str) {
        let config = fs::read_to_string(self.kubernetes.kubeconfig()).unwrap();
        let between =
            |begin: &str, end: &str| config.split_once(begin).unwrap().1.split_once(end).unwrap().0.trim().to_owned();
        let (authority, token) = (between("certificate-authority: ", "}"), between("token: ", "}"));
        let headers = format!("Authorization: Bearer {token}\nContent-Type: application/merge-patch+json\n");
        let headers = self.operator.scene.file("headers", headers).display().to_string();
        let patch = json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}).to_string();
        let url = "https://127.0.0.1:6443/api/v1/namespaces/app/services/app/status";
        let patch = ["--header", &format!("@{headers}"), "--data", &patch, "--cacert", &authority, url];
        let curl = words("curl --silent --fail --request PATCH");
        let done = finish(&mut self.kubernetes.docker.inside(&[&curl[..], &patch].concat()));
        assert_eq!(done.code, 0, "{}{}", done.stdout, done.stderr);
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

fn database(scheme: &str, name: &str) -> String {
    format!("{scheme}://app:{PASSWORD}@{NODE}:5432/{name}")
}

/// Somebody who asks the service all the time: for its version, for what is in its cache and for what is in its tables.
struct Client<'a> {
    cluster: &'a Cluster,
    child: Child,
}

impl Client<'_> {
    fn start<'a>(cluster: &'a Cluster, url: &str) -> Client<'a> {
        let out = fs::File::create(cluster.operator.scene.path("asked")).unwrap();
        let ask = "while [ ! -e \"$1/enough\" ]; do for path in health summary stats; do
            curl --silent --max-time 20 --write-out ' %{http_code}\\n' \"$2/$path\" || true; done; done";
        let folder = cluster.operator.scene.path("").display().to_string();
        let mut command = cluster.kubernetes.docker.inside(&["sh", "-c", ask, "client", &folder, url]);
        Client { cluster, child: command.stdin(Stdio::null()).stdout(out).spawn().unwrap() }
    }

    /// The versions that answered, the oldest first; every request was answered well.
    fn end(mut self) -> Vec<String> {
        fs::write(self.cluster.operator.scene.path("enough"), "").unwrap();
        self.child.wait().unwrap();
        fs::remove_file(self.cluster.operator.scene.path("enough")).unwrap();
        let asked = self.cluster.operator.scene.read("asked");
        let failed: Vec<&str> = asked.lines().filter(|line| !line.ends_with(" 200")).collect();
        assert!(failed.is_empty(), "{} of {} failed: {failed:?}", failed.len(), asked.lines().count());
        assert!(asked.lines().count() > 100, "{asked}");
        let mut versions: Vec<String> = Vec::new();
        for line in asked.lines() {
            if let Some((_, rest)) = line.split_once("\"version\":\"") {
                let version = rest.split('"').next().unwrap().to_owned();
                if !versions.contains(&version) {
                    versions.push(version);
                }
            }
        }
        versions
    }
}

/// Does something; the command lines of `kubectl` that there were meanwhile.
fn watched<T>(work: impl FnOnce() -> T) -> (T, BTreeSet<String>) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let seen = scope.spawn(|| {
            let mut seen = BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                let lines = processes().into_iter().filter_map(|pid| fs::read(format!("/proc/{pid}/cmdline")).ok());
                let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
                seen.extend(lines.filter(|line| line.contains("kubectl")));
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            seen
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        (result, seen.join().unwrap())
    })
}

#[test]
#[ignore = "minutes: ./test.sh long"]
fn a_release_rolls_out_while_clients_are_served_and_one_that_does_not_work_is_taken_back() {
    let cluster = Cluster::new();
    let kubernetes = &cluster.kubernetes;
    for version in ["1.0.0", "1.1.0"] {
        cluster.image(version);
    }
    // As much as the guide keeps for each, on a machine that has it four times.
    let cores: u32 =
        kubernetes.say(&["get", "node", "node", "-o", "jsonpath={.status.allocatable.cpu}"]).parse().unwrap();
    let cpu = format!("{}m", (cores * 200).min(1000));
    let own = [("cpu_request", cpu.as_str())];

    let (first, commands) = watched(|| cluster.deploy(0, "demo-api:1.0.0", json!({"LOG_LEVEL": "DEBUG"}), &own));
    assert_eq!(
        kubernetes.docker.say(&[
            "exec",
            "postgres",
            "psql",
            "-U",
            "app",
            "-Atc",
            "select version_num from alembic_version"
        ]),
        "0004"
    );

    let deployment = cluster.object("deployment/app");
    let (container, settings) =
        (&deployment["spec"]["template"]["spec"]["containers"][0], first.output("settings", "name"));
    assert_eq!(container["envFrom"][0]["configMapRef"]["name"].as_str(), Some(settings.as_str()));
    let data = &cluster.object(&format!("configmap/{settings}"))["data"];
    assert_eq!(*data, json!({"LOG_LEVEL": "DEBUG", "REDIS_SOCKET": "/run/redis/redis.sock"}));
    assert_eq!(cluster.inside("echo $LOG_LEVEL"), "DEBUG");
    cluster.operator.saw("S4-12", &first, "settings");

    // The process has the secret; no command line, nothing of the ledger and no output ever had it.
    assert_eq!(cluster.inside("echo $DATABASE_URL"), database("postgresql+psycopg", "app"));
    assert_eq!(cluster.object("secret/app")["type"].as_str(), Some("Opaque"));
    assert!(commands.iter().any(|line| line.contains("create secret generic app --from-file=")), "{commands:#?}");
    assert!(!commands.iter().any(|line| line.contains(PASSWORD)), "{commands:#?}");
    let state = cluster.operator.scene.path("state").display().to_string();
    let found = finish(Command::new("grep").args(["-rlF", PASSWORD, &state]));
    assert_eq!((found.code, found.stdout.as_str()), (1, ""));
    assert!(!first.text.contains(PASSWORD) && !first.show.to_string().contains(PASSWORD));
    cluster.operator.saw("S4-13", &first, "secret");

    assert_eq!(deployment["spec"]["replicas"], 3);
    assert_eq!(deployment["status"]["readyReplicas"], 3);
    let millis = |value: &Value| match value.as_str().unwrap().strip_suffix('m') {
        Some(millis) => millis.to_owned(),
        None => format!("{}000", value.as_str().unwrap()),
    };
    let (requests, limits) = (&container["resources"]["requests"], &container["resources"]["limits"]);
    assert_eq!((format!("{}m", millis(&requests["cpu"])), requests["memory"].as_str()), (cpu.clone(), Some("2Gi")));
    assert_eq!((millis(&limits["cpu"]), limits["memory"].as_str()), ("2000".to_owned(), Some("4Gi")));
    let limit = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2> /dev/null || cat /sys/fs/cgroup/memory.max";
    let limit = cluster.inside(limit);
    assert_eq!(limit, (4_u64 << 30).to_string(), "the kernel holds it to that");
    cluster.operator.saw("S4-14", &first, "apply");

    // From outside it is at port 80 of the address that it was given.
    let service = cluster.object("service/app");
    assert_eq!(service["spec"]["type"], "LoadBalancer");
    cluster.balance("192.0.2.80");
    let url = "http://192.0.2.80";
    let version = || kubernetes.docker.get(&format!("{url}/health")).1;
    wait("the address to lead there", || version().contains("\"version\":\"1.0.0\""));
    cluster.operator.saw("S4-15", &first, "apply");

    // The next release takes over, and nobody is turned away.
    let client = Client::start(&cluster, url);
    let second = cluster.deploy(0, "demo-api:1.1.0", json!({"LOG_LEVEL": "INFO"}), &own);
    wait("the last of the old ones to go", || {
        kubernetes.say(&["-n", "app", "get", "pods", "-l", "app=app", "-o", "name"]).lines().count() == 3
    });
    assert_eq!(client.end(), ["1.0.0", "1.1.0"]);
    assert_eq!(cluster.inside("echo $LOG_LEVEL"), "INFO");
    cluster.operator.saw("S2-20", &second, "ready");

    // One with settings that do not work is taken back, settings and all; the old one serves all the while.
    let client = Client::start(&cluster, url);
    let broken = [("healthy_seconds", "20"), own[0]];
    let third = cluster.deploy(6, "demo-api:1.0.0", json!({"LOG_LEVEL": "INFO", "REDIS_SOCKET": "/none"}), &broken);
    assert_eq!(client.end(), ["1.1.0"]);
    assert!(third.text.contains("demo-api:1.0.0 did not become ready within 20 s"), "{}", third.text);
    let container = &cluster.object("deployment/app")["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "demo-api:1.1.0");
    assert_eq!(
        container["envFrom"][0]["configMapRef"]["name"].as_str(),
        Some(second.output("settings", "name").as_str())
    );
    cluster.operator.saw("S2-21", &third, "before");
}

#[test]
#[ignore = "minutes: ./test.sh long"]
fn runward_in_kubernetes_starts_no_step_twice_while_its_workers_are_replaced() {
    let cluster = Cluster::new();
    let (kubernetes, scene) = (&cluster.kubernetes, &cluster.operator.scene);
    own::image(&kubernetes.docker, scene, "runward:0.1.0");
    kubernetes.docker.say(&["exec", "postgres", "createdb", "-U", "app", "runward"]);
    let (postgres, redis) = (database("postgres", "runward"), format!("redis://{NODE}:6379"));
    let secret = format!("RUNWARD_DATABASE_URL={postgres}\nRUNWARD_REDIS_URL={redis}\n");
    let secret = format!("--from-env-file={}", scene.file("secret", secret).display());
    kubernetes.say(&["create", "secret", "generic", "runward", &secret]);
    kubernetes.say(&["apply", "-f", &volumes(scene)]);
    // As it is in the repository, but for the version of the disruption budget: this Kubernetes is older than its name.
    let manifest = fs::read_to_string(repository().join("deploy/kubernetes/runward.yaml")).unwrap();
    let manifest = manifest.replace("policy/v1\n", "policy/v1beta1\n");
    kubernetes.say(&["apply", "-f", &scene.file("runward.yaml", manifest).display().to_string()]);
    let rolled_out = |what: &str| drop(kubernetes.say(&["rollout", "status", what, "--timeout=240s"]));
    rolled_out("deployment/runward-server");
    rolled_out("statefulset/runward-worker");

    // Longer than it takes to replace them all.
    let items: Vec<u32> = (1..=30).collect();
    let step = "run: |\n      echo \"${{ item }}\" >> /var/lib/runward/began\n      sleep 4\n";
    let fan = format!("steps:\n  - id: each\n    for-each: {items:?}\n    max-parallel: 3\n    {step}");
    let fan = scene.file("fan.yaml", fan).display().to_string();
    let began = || -> Vec<u32> {
        let lines = (1..=3).map(|number| scene.read(&format!("volumes/{number}/began"))).collect::<String>();
        let mut began: Vec<u32> = lines.lines().map(|line| line.parse().unwrap()).collect();
        began.sort_unstable();
        began
    };
    let mut run = kubernetes.docker.inside(&[env!("CARGO_BIN_EXE_runward"), "run", &fan]);
    run.env("RUNWARD_STATE", scene.path("state"))
        .env("RUNWARD_DATABASE_URL", &postgres)
        .env("RUNWARD_REDIS_URL", &redis);
    let out = fs::File::create(scene.path("out")).unwrap();
    let mut run = run.stdin(Stdio::null()).stderr(out.try_clone().unwrap()).stdout(out).spawn().unwrap();
    wait("the first steps to run", || began().len() >= 3 || run.try_wait().unwrap().is_some());
    let pods = || kubernetes.say(&["get", "pods", "-l", "part=worker", "-o", "jsonpath={.items[*].metadata.uid}"]);
    let before = pods();
    kubernetes.say(&["rollout", "restart", "statefulset/runward-worker"]);
    let code = run.wait().unwrap().code();
    assert_eq!(code, Some(0), "{}", scene.read("out"));
    assert_eq!(began(), items, "each of them once");
    assert!(pods() != before, "they were replaced meanwhile");
    rolled_out("statefulset/runward-worker");
    let after = pods();
    assert!(before.split_whitespace().all(|pod| !after.contains(pod)), "all of them were replaced: {before} {after}");
}

/// A volume for each worker, in a folder of the scene: there is no cloud that makes them.
fn volumes(scene: &Scene) -> String {
    let mut volumes = Vec::new();
    for number in 1..=3 {
        let path = scene.path(&format!("volumes/{number}"));
        fs::create_dir_all(&path).unwrap();
        std::os::unix::fs::chown(&path, Some(7640), Some(7640)).unwrap();
        let spec =
            json!({"capacity": {"storage": "10Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": path}});
        volumes.push(json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": format!("state-{number}")}, "spec": spec}));
    }
    let list = json!({"apiVersion": "v1", "kind": "List", "items": volumes});
    scene.file("volumes.yaml", list.to_string()).display().to_string()
}
