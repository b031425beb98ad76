//! Images, and a service in containers, under a real Docker.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use runward_library::Docker;

use crate::harness::{finish, repository, wait};
use crate::operator::{Operator, Run};

/// A Docker and somebody who runs runbooks in its network.
struct Yard {
    docker: Docker,
    operator: Operator,
}

impl Yard {
    fn new() -> Yard {
        let docker = Docker::start();
        let mut operator = Operator::new();
        operator.within = docker.network();
        Yard { docker, operator }
    }

    fn run(&self, code: i32, runbook: &str, params: &[(&str, &str)]) -> Run {
        let host = self.docker.host();
        let params: Vec<(&str, &str)> = [("docker", host.as_str())].iter().chain(params).copied().collect();
        self.operator.expect(code, runbook, &params)
    }

    fn saw(&self, rows: &str, run: &Run, steps: &str) {
        steps.split_whitespace().for_each(|step| self.operator.saw(rows, run, step));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.operator.scene.path(name)
    }

    /// A folder with this Dockerfile.
    fn source(&self, name: &str, dockerfile: &str) -> String {
        self.operator.scene.file(&format!("{name}/Dockerfile"), dockerfile);
        self.path(name).display().to_string()
    }

    /// An image made by hand.
    fn image(&self, name: &str, dockerfile: &str) {
        let source = self.source(&name.replace(':', "-"), dockerfile);
        self.docker.say(&["build", "--quiet", "--tag", name, &source]);
    }

    fn sql(&self, sql: &str) -> String {
        self.docker.say(&["exec", "app_db_1", "psql", "-U", "app", "-d", "app", "-Atc", sql])
    }
}

/// A folder of `tests/stack`, copied.
fn copy(name: &str, to: &std::path::Path) {
    let done =
        finish(std::process::Command::new("cp").arg("-r").arg(repository().join("tests/stack").join(name)).arg(to));
    assert_eq!(done.code, 0, "{}", done.stderr);
}

#[test]
#[ignore = "minutes: ./test.sh long"]
fn a_service_lives_in_containers_and_a_version_that_is_not_well_is_taken_back() {
    let yard = Yard::new();
    let docker = &yard.docker;
    let (source, root) = (yard.path("app.git"), yard.path("app").display().to_string());
    copy("service", &source);
    let git = ["-c", "user.name=release", "-c", "user.email=release@localhost"];
    for words in [&["init", "--quiet"][..], &["add", "--all"], &["commit", "--quiet", "-m", "1.0.0"], &["tag", "1.0.0"]]
    {
        let done = finish(std::process::Command::new("git").current_dir(&source).args(git).args(words));
        assert_eq!(done.code, 0, "{}", done.stderr);
    }
    let (source, repository) = (source.display().to_string(), format!("file://{}", source.display()));

    // The image is made in stages: the compiler was there, something was compiled by it, and it stayed behind.
    let tasks = "env,DATABASE_URL=postgresql+psycopg://nobody@localhost/none,REDIS_SOCKET=/none,python,-X,dev,-c,import app.tasks; print(__import__('sys').flags)";
    let image = [("source", source.as_str()), ("image", "demo-api"), ("updates", "false"), ("absent", "gcc,g++")];
    let built = yard.run(0, "build_images", &[&image[..], &[("version", "1.0.0"), ("try", tasks)]].concat());
    let inside =
        |words: &[&str]| docker.ask(&[&["run", "--rm", "--network", "none", "demo-api:1.0.0"], words].concat());
    let compiled = "import markupsafe._speedups, sys; print(sys.version_info[:2])";
    assert_eq!(inside(&["python", "-c", compiled]), (0, "(3, 11)\n".to_owned()));
    assert_eq!(inside(&["id", "-u"]).1, "10001\n");
    assert!(inside(&["psql", "--version"]).1.starts_with("psql (PostgreSQL) 15"));
    assert!(
        inside(&[
            "sh",
            "-c",
            "command -v gcc || command -v g++ || find / -name '*.whl' -path '*pip*cache*' 2> /dev/null"
        ])
        .1
        .is_empty()
    );
    assert_eq!(
        docker.say(&["image", "inspect", "--format", "{{json .Config.ExposedPorts}}", "demo-api:1.0.0"]),
        r#"{"8000/tcp":{}}"#
    );
    yard.saw("S0-11 S2-02 S2-16 S4-10", &built, "build");
    let tried = yard.operator.scene.run(&["logs", "key:build_images-1", "try"]).stdout;
    assert!(tried.contains("dev_mode=True"), "{tried}");
    yard.saw("S0-16", &built, "try");

    let deploy = |code: i32, version: &str| {
        let place = [("root", root.as_str()), ("repository", &repository), ("url", "http://127.0.0.1:8000")];
        yard.run(code, "deploy_compose", &[&place[..], &[("version", version), ("healthy_seconds", "300")]].concat())
    };
    let version = || docker.get("http://127.0.0.1:8000/health").1;
    let first = deploy(0, "1.0.0");
    assert!(version().contains("\"version\":\"1.0.0\""), "{}", version());
    assert_eq!(docker.get("http://127.0.0.1:80/ready").0, 200);
    for port in [5432, 6379] {
        assert_eq!(docker.get(&format!("http://127.0.0.1:{port}/")).0, 0, "nobody outside reaches the data");
    }
    wait("the clock and the worker to work", || yard.sql("select count(*) from items where name = 'heartbeat'") != "0");
    yard.saw("S1-09", &first, "data up");
    yard.saw("S2-05 S3-05", &first, "settings up");
    assert!(yard.path("app/.git").exists() && yard.path("app/.env").exists());
    yard.saw("S2-05", &first, "fetch answers");
    let log = yard.operator.scene.run(&["logs", "key:deploy_compose-2", "look"]);
    assert!(log.stdout.contains("Up (healthy)") && log.stdout.contains("app_1"), "{}{}", log.stdout, log.stderr);
    yard.saw("S3-05 S4-11", &first, "look");

    confined(&yard);
    yard.saw("S2-39", &first, "confined");

    // What runs is no longer what its name means: nobody could go back to it.
    docker.say(&["tag", "demo-api:1.0.0", "kept:1"]);
    yard.image("demo-api:1.0.0", "FROM kept:1\nRUN true\n");
    let unknown = deploy(1, "1.0.0");
    assert!(unknown.text.contains("which demo-api:1.0.0 is not any more: docker tag sha256:"), "{}", unknown.text);
    docker.say(&["tag", "kept:1", "demo-api:1.0.0"]);
    docker.say(&["rmi", "kept:1"]);
    assert!(version().contains("\"version\":\"1.0.0\""), "{}", version());

    // Whoever dies comes back.
    docker.ask(&["exec", "app_app_1", "sh", "-c", "kill -9 -1"]);
    let looks = || docker.say(&["inspect", "--format", "{{.RestartCount}} {{.State.Health.Status}}", "app_app_1"]);
    wait("it to come back", || looks() == "1 healthy");
    yard.saw("S4-11", &first, "up");

    // A version that crashes is taken back, and so is one that may do more than it needs. That the cache was started anew some time
    // before hinders neither the deployment nor the way back.
    docker.ask(&["exec", "app_redis_1", "redis-cli", "shutdown"]);
    let looks = || docker.say(&["inspect", "--format", "{{.RestartCount}} {{.State.Health.Status}}", "app_redis_1"]);
    wait("the cache to come back", || looks() == "1 healthy");
    yard.image("demo-api:1.1.0", "FROM demo-api:1.0.0\nRUN true\nCMD [\"false\"]\n");
    // Nor does it matter what somebody wrote into .env: what runs is gone back to.
    let settings = fs::read_to_string(yard.path("app/.env")).unwrap();
    fs::write(yard.path("app/.env"), settings.replace("VERSION=1.0.0\n", "VERSION=0.9.0\n")).unwrap();
    let crashed = deploy(6, "1.1.0");
    assert_eq!((crashed.status("data"), crashed.status("healthy")), ("succeeded".to_owned(), "failed".to_owned()));
    assert!(version().contains("\"version\":\"1.0.0\""), "{}", version());
    assert!(fs::read_to_string(yard.path("app/.env")).unwrap().contains("VERSION=1.0.0\n"));

    // What has to last outlives its containers.
    docker.say(&[
        "run",
        "--rm",
        "--user",
        "0",
        "--volume",
        "app_content:/content",
        "demo-api:1.0.0",
        "sh",
        "-c",
        "echo kept > /content/it",
    ]);
    yard.sql("insert into items (name) values ('kept')");
    docker.say(&["exec", "app_redis_1", "redis-cli", "set", "kept", "yes"]);
    let logged = || {
        docker.say(&["run", "--rm", "--volume", "app_logs:/logs", "demo-api:1.0.0", "head", "-n", "1", "/logs/app.log"])
    };
    let line = logged();
    let containers = docker.say(&["ps", "--all", "--quiet"]);
    docker.say(&[&["rm", "--force"][..], &containers.split_whitespace().collect::<Vec<_>>()].concat());
    let settings = fs::read_to_string(yard.path("app/.env")).unwrap();

    // A compose file that confines nobody is refused. There is no version to go back to: only the data stays up.
    let compose = fs::read_to_string(yard.path("app/compose.yaml")).unwrap();
    fs::write(yard.path("app/compose.yaml"), compose.replacen("  read_only: true\n", "", 1)).unwrap();
    let loose = deploy(6, "1.0.0");
    assert!(loose.text.contains("app is not confined: compose.yaml has to say read_only"), "{}", loose.text);
    let mut names: Vec<String> = docker.say(&["ps", "--format", "{{.Names}}"]).lines().map(str::to_owned).collect();
    names.sort();
    assert_eq!(names, ["app_db_1", "app_redis_1"]);
    yard.saw("S2-39", &loose, "confined");

    fs::write(yard.path("app/compose.yaml"), compose).unwrap();
    let again = deploy(0, "1.0.0");
    assert_eq!(yard.sql("select count(*) from items where name = 'kept'"), "1");
    assert_eq!(docker.say(&["exec", "app_redis_1", "redis-cli", "get", "kept"]), "yes");
    assert_eq!(docker.get("http://127.0.0.1:8000/static/it"), (200, "kept\n".to_owned()));
    assert_eq!(logged(), line);
    assert_eq!(fs::read_to_string(yard.path("app/.env")).unwrap(), settings);
    yard.saw("S2-04", &again, "data");

    front_end(&yard);
}

/// Each limit bites.
fn confined(yard: &Yard) {
    let exec = |words: &[&str]| yard.docker.ask(&[&["exec"], words].concat());
    let (code, _) = exec(&["app_beat_1", "python", "-c", "b'x' * 700_000_000"]);
    assert_eq!(code, 137, "killed: it may use 512 MiB");
    let fork = "import os\nfor _ in range(200): os.fork() or __import__('time').sleep(2) or os._exit(0)";
    let (_, said) = exec(&["app_beat_1", "python", "-c", fork]);
    assert!(said.contains("Resource temporarily unavailable"), "{said}");
    let (_, said) = exec(&["app_app_1", "touch", "/srv/it"]);
    assert!(said.contains("Read-only file system"), "{said}");
    let (_, said) = exec(&["--user", "0", "app_app_1", "chown", "1", "/tmp"]);
    assert!(said.contains("Operation not permitted"), "{said}");
    // A server on this machine, which is outside of all that: nginx reaches it, and nobody behind nginx.
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let reach = format!("exec 3<> /dev/tcp/10.0.2.2/{} && echo reached", server.local_addr().unwrap().port());
    assert_eq!(exec(&["app_nginx_1", "timeout", "10", "bash", "-c", &reach]).1, "reached\n");
    let (code, said) = exec(&["app_app_1", "timeout", "10", "bash", "-c", &reach]);
    assert!(code != 0 && !said.contains("reached\n"), "{said}");
}

/// The front end is built in one image and served by another, and calls the API.
fn front_end(yard: &Yard) {
    let source = yard.path("web");
    copy("web", &source);
    let source = source.display().to_string();
    let args = r#"{"NEXT_PUBLIC_API_URL": "http://nginx"}"#;
    let web = [("source", source.as_str()), ("image", "demo-web"), ("updates", "false"), ("absent", "vite,esbuild")];
    let built = yard.run(0, "build_images", &[&web[..], &[("version", "1.0.0"), ("build_args", args)]].concat());
    let docker = &yard.docker;
    let run = [
        "run",
        "--detach",
        "--read-only",
        "--tmpfs",
        "/tmp",
        "--network",
        "app_outer",
        "--publish",
        "127.0.0.1:3000:3000",
    ];
    docker.say(&[&run[..], &["demo-web:1.0.0"]].concat());
    wait("it to listen", || docker.get("http://127.0.0.1:3000/health").0 == 200);
    let (status, page) = docker.get("http://127.0.0.1:3000/");
    assert!(status == 200 && page.contains("items 1.0.0 at http://nginx: ok"), "{status} {page}");
    let (_, said) = docker.ask(&["run", "--rm", "demo-web:1.0.0", "ls", "/web/node_modules"]);
    assert!(said.contains("No such file"), "what built it stayed behind: {said}");
    yard.saw("S0-12", &built, "build");
}

#[test]
#[ignore = "minutes: ./test.sh long"]
fn an_image_that_cannot_be_trusted_is_not_pushed_and_a_version_is_never_replaced() {
    let mut yard = Yard::new();
    // Where `docker login` keeps what it was told.
    let home = yard.path("home");
    yard.operator.within.extend(["env".to_owned(), format!("HOME={}", home.display())]);
    let registry = yard.docker.registry(None);
    // A package of the image, of which a folder in it has a newer one when it is told so.
    let packages = "FROM debian:bookworm-slim\n\
        RUN rm /etc/apt/sources.list && mkdir -p /archive/root/DEBIAN && cd /archive \\\n\
        \x20&& make() { printf 'Package: demo-tool\\nVersion: %s\\nArchitecture: all\\nMaintainer: demo\\nDescription: demo\\n' \"$1\" > root/DEBIAN/control \\\n\
        \x20 && dpkg-deb -b root \"demo-tool_$1.deb\"; } \\\n\
        \x20&& make 1.0 && dpkg -i demo-tool_1.0.deb && make 1.1 \\\n\
        \x20&& { cat root/DEBIAN/control; echo \"Filename: ./demo-tool_1.1.deb\"; echo \"Size: $(stat -c %s demo-tool_1.1.deb)\"; echo \"SHA256: $(sha256sum demo-tool_1.1.deb | cut -c 1-64)\"; } > Packages\n";
    let archive = "RUN echo 'deb [trusted=yes] file:/archive ./' > /etc/apt/sources.list\n";
    yard.image("base:1", packages);
    let build = |code: i32, version: &str, dockerfile: &str, more: &[(&str, &str)]| {
        let source = yard.source(version, dockerfile);
        let own = [("source", source.as_str()), ("image", "tool"), ("version", version), ("registry", registry)];
        yard.run(code, "build_images", &[&own[..], more].concat())
    };
    let tags = || yard.docker.get("http://127.0.0.1:5000/v2/tool/tags/list").1;
    let user = "USER 10001\n";

    let root = build(6, "1.0.0", "FROM base:1\n", &[]);
    assert!(root.text.contains("tool:1.0.0 runs as root: USER in"), "{}", root.text);
    let compiler = "FROM base:1\nRUN ln -s /bin/true /usr/bin/gcc\nUSER 10001\n";
    let more = build(6, "1.0.0", compiler, &[("absent", "g++,gcc")]);
    assert!(more.text.contains("tool:1.0.0 has gcc, which no container needs"), "{}", more.text);
    let outdated = build(6, "1.0.0", &format!("FROM base:1\n{archive}{user}"), &[]);
    assert!(outdated.text.contains("demo-tool [1.0] (1.1"), "{}", outdated.text);
    let hungry = ["try", "sh,-c,head -c 200m /dev/zero | tail"];
    let hungry = build(6, "1.0.0", &format!("FROM base:1\n{user}"), &[(hungry[0], hungry[1]), ("memory", "64m")]);
    assert!(hungry.text.contains("it wants more than 64m of memory"), "{}", hungry.text);
    assert_eq!(yard.docker.ask(&["image", "inspect", "tool:1.0.0"]).0, 1, "none of them is left");
    assert!(tags().contains("NAME_UNKNOWN"), "{}", tags());
    for run in [&root, &more, &outdated] {
        yard.saw("S2-38", run, "judge");
    }

    // On a base that was brought up to date it passes, and the registry has it.
    let updated =
        format!("FROM base:1\n{archive}RUN apt-get update -qq && apt-get upgrade -y -qq\n{user}CMD [\"true\"]\n");
    let pushed = build(0, "1.0.0", &updated, &[("try", "id"), ("absent", "gcc")]);
    assert_eq!(yard.docker.say(&["run", "--rm", "tool:1.0.0", "dpkg-query", "-W", "demo-tool"]), "demo-tool\t1.1");
    yard.saw("S2-38", &pushed, "judge");
    assert!(tags().contains(r#""tags":["1.0.0"]"#), "{}", tags());
    // Somebody else gets exactly that.
    yard.docker.say(&["rmi", "--force", "tool:1.0.0"]);
    yard.docker.say(&["pull", "--quiet", "localhost:5000/tool:1.0.0"]);
    let id = yard.docker.say(&["image", "inspect", "--format", "{{.Id}}", "localhost:5000/tool:1.0.0"]);
    assert_eq!(id, pushed.output("build", "id"));
    yard.saw("S2-18", &pushed, "push");

    let taken = build(1, "1.0.0", &updated, &[]);
    assert!(taken.text.contains("has tool:1.0.0 already, and a version is never replaced"), "{}", taken.text);

    // A registry that wants a login tells nobody else what it has, and gets nothing from them. The login and the password are `demo`.
    yard.docker.registry(Some("demo:$2b$04$eDuNdwfuwUXDr.q5lYUsNucEwslTzPLV1V4Ckos9fpmxI/qQzPETi\n"));
    let locked = build(1, "1.0.0", &updated, &[]);
    assert!(locked.text.contains("localhost:5000 does not tell whether it has tool:1.0.0"), "{}", locked.text);
    yard.operator.scene.file("home/.docker/config.json", r#"{"auths": {"localhost:5000": {"auth": "ZGVtbzpkZW1v"}}}"#);
    let taken = build(1, "1.0.0", &updated, &[]);
    assert!(taken.text.contains("has tool:1.0.0 already, and a version is never replaced"), "{}", taken.text);
    build(0, "1.0.1", &updated, &[]);
}

#[test]
#[ignore = "minutes: ./test.sh long"]
fn postgres_and_redis_in_containers_keep_what_they_were_given() {
    let yard = Yard::new();
    let docker = &yard.docker;
    // A folder that everybody could look into.
    fs::create_dir(yard.path("secrets")).unwrap();
    let secrets = yard.path("secrets").display().to_string();
    let start = |code: i32| yard.run(code, "data_containers", &[("secrets", &secrets), ("memory", "256m")]);
    let open = yard.run(1, "data_containers", &[("secrets", &secrets), ("address", "0.0.0.0")]);
    assert!(open.text.contains("would let others at a Redis without a password"), "{}", open.text);
    // A port that is taken leaves nothing behind that a second attempt would stumble over.
    docker.say(&["run", "--detach", "--name", "other", "--publish", "127.0.0.1:6379:1", "redis:7-alpine"]);
    let taken = start(1);
    assert!(taken.text.contains("redis cannot be started"), "{}", taken.text);
    assert_eq!(docker.say(&["ps", "--all", "--format", "{{.Names}}"]), "other");
    docker.say(&["rm", "--force", "other"]);
    let run = start(0);
    let psql = |words: &[&str]| docker.ask(&[&["exec", "postgres", "psql", "-U", "admin", "-Atc"], words].concat()).1;
    assert_eq!(psql(&["select current_setting('server_version_num')::int / 10000", "ai_agent_db"]).trim(), "15");
    // Over the network it takes the password, which is nowhere to be read but in its file.
    let password = fs::read_to_string(yard.path("secrets/postgres_password")).unwrap();
    let over = |password: &str| {
        let mut psql =
            docker.inside(&["psql", "-X", "-h", "127.0.0.1", "-U", "admin", "-w", "-Atc", "select 1", "ai_agent_db"]);
        finish(psql.env("PGPASSWORD", password)).stdout
    };
    assert_eq!((over(&password).as_str(), over("guessed").as_str()), ("1\n", ""));
    assert!(!docker.say(&["inspect", "postgres"]).contains(&password) && !run.show.to_string().contains(&password));
    let mode = fs::metadata(&secrets).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o700, "nobody else gets to the password");
    yard.saw("S3-06", &run, "postgres database");

    docker.say(&["exec", "redis", "redis-cli", "set", "kept", "yes"]);
    docker.say(&["kill", "--signal", "KILL", "redis"]);
    docker.say(&["rm", "redis"]);
    // A second time: what is there is left alone, what is missing is made.
    let again = start(0);
    assert_eq!(docker.say(&["exec", "redis", "redis-cli", "get", "kept"]), "yes");
    yard.saw("S3-07", &again, "redis");

    // A password that the volume was not made with.
    fs::remove_file(yard.path("secrets/postgres_password")).unwrap();
    let other = start(1);
    assert!(other.text.contains("postgres does not take"), "{}", other.text);

    // The limit of memory bites.
    let (code, _) = docker.ask(&["exec", "postgres", "sh", "-c", "head -c 400m /dev/zero | tail"]);
    assert_eq!(code, 137);
    yard.saw("S0-16", &again, "postgres");
}
