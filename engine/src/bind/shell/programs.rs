//! The programs that take code or start other programs, and what their options mean. Only tables.

/// What the first argument that is no option means to a program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum First {
    /// A file with code; all after it is data.
    Script,
    /// Code; all after it is data.
    Program,
    /// Code; after it come data and more options, until `--`.
    ProgramThenOptions,
    /// Data and options, until `--`.
    Data,
}

pub(super) struct Interpreter {
    pub names: &'static [&'static str],
    pub first: First,
    /// Letters of options that take code.
    pub code: &'static str,
    /// Letters of options with an argument in which a value would not be data.
    pub argument: &'static str,
    /// Letters of options with an argument that is data.
    pub data: &'static str,
    /// The letter of the option that names a file (or module) with code in place of the first argument.
    pub file: &'static str,
    /// Standard input is code where nothing else is.
    pub reads: bool,
}

pub(super) const fn script(
    names: &'static [&'static str],
    code: &'static str,
    argument: &'static str,
    file: &'static str,
) -> Interpreter {
    Interpreter { names, first: First::Script, code, argument, data: "", file, reads: true }
}

/// They take arguments after `-c TEXT NAME`, and that reaches them wherever they run.
pub(super) const SHELLS: &[&str] = &["sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "rbash"];

pub(super) const INTERPRETERS: &[Interpreter] = &[
    script(SHELLS, "c", "oO", ""),
    script(&["fish", "csh", "tcsh"], "c", "oO", ""),
    script(&["python", "python2", "python3", "pypy3"], "c", "WX", "m"),
    script(&["perl"], "eE", "", ""),
    script(&["ruby"], "e", "IrC", ""),
    script(&["node", "nodejs", "deno", "bun"], "ep", "r", ""),
    script(&["php"], "rBRE", "cdz", "f"),
    script(&["lua", "tclsh", "Rscript", "R", "expect"], "ec", "l", "f"),
    Interpreter {
        names: &["awk", "gawk", "mawk", "nawk", "original-awk"],
        first: First::Program,
        code: "eEils",
        argument: "Fv",
        data: "",
        file: "f",
        reads: false,
    },
    Interpreter {
        names: &["sed", "gsed"],
        first: First::ProgramThenOptions,
        code: "e",
        argument: "l",
        data: "",
        file: "f",
        reads: false,
    },
    Interpreter {
        names: &["jq", "yq", "gojq"],
        first: First::ProgramThenOptions,
        code: "",
        argument: "L",
        data: "",
        file: "f",
        reads: false,
    },
    Interpreter {
        names: &["psql"],
        first: First::Data,
        code: "c",
        argument: "foLFPRTv",
        data: "dhpU",
        file: "",
        reads: true,
    },
    Interpreter {
        names: &["mysql", "mariadb"],
        first: First::Data,
        code: "e",
        argument: "",
        data: "hPuDS",
        file: "",
        reads: true,
    },
];
pub(super) const CODE_OPTIONS: &[&str] = &[
    "--command",
    "--eval",
    "--print",
    "--execute",
    "--expression",
    "--run",
    "--source",
    "--init-command",
    "--rcfile",
    "--init-file",
    "--process-code",
];
pub(super) const DATA_OPTIONS: &[&str] = &["--dbname", "--host", "--port", "--username", "--user", "--database"];

/// Programs whose every argument, and whose input, may be code.
pub(super) const OPAQUE: &[&str] = &[
    "su",
    "runuser",
    "watch",
    "script",
    "parallel",
    "ed",
    "ex",
    "vi",
    "vim",
    "nvim",
    "emacs",
    "gdb",
    "tmux",
    "screen",
    "make",
    "gmake",
    "at",
    "batch",
    "crontab",
    "bc",
    "dc",
    "m4",
    "sqlite3",
    "mongo",
    "mongosh",
    "entr",
    "rsh",
    "pdsh",
    "osascript",
    "clickhouse-client",
    "sg",
    "setarch",
    "runcon",
    "start-stop-daemon",
    "scriptlive",
    "sem",
    "watchexec",
    "hyperfine",
    "perf",
    "capsh",
    "bwrap",
    "switch_root",
    "mispipe",
    "pee",
    "socat",
    "ld.so",
    "ld-linux.so.2",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
];

/// Programs that start another one, which is found by skipping their own options and operands.
pub(super) struct Wrapper {
    pub names: &'static [&'static str],
    /// Letters of options with an argument.
    pub argument: &'static str,
    /// Letters of options that take or start a shell.
    pub code: &'static str,
    pub operands: usize,
}

const fn wrapper(
    names: &'static [&'static str],
    argument: &'static str,
    code: &'static str,
    operands: usize,
) -> Wrapper {
    Wrapper { names, argument, code, operands }
}

/// From coreutils, util-linux, moreutils, systemd, daemontools and runit, and what is common beside them.
pub(super) const WRAPPERS: &[Wrapper] = &[
    wrapper(&["exec"], "a", "", 0),
    wrapper(&["command", "nohup", "setsid", "busybox", "toybox", "tini", "dumb-init", "catchsegv"], "", "", 0),
    wrapper(&["time"], "fo", "", 0),
    wrapper(&["env"], "uC", "S", 0),
    wrapper(&["nice"], "n", "", 0),
    wrapper(&["ionice"], "cnpPu", "", 0),
    wrapper(&["chrt"], "TPDp", "", 1),
    wrapper(&["uclampset"], "mMp", "", 0),
    wrapper(&["choom"], "np", "", 0),
    wrapper(&["prlimit"], "po", "", 0),
    wrapper(&["cpulimit"], "lepP", "", 0),
    wrapper(&["cgexec"], "g", "", 0),
    wrapper(&["numactl"], "imNCpPw", "", 0),
    wrapper(&["linux32", "linux64", "i386", "i686", "x86_64"], "", "", 0),
    wrapper(&["stdbuf"], "ioe", "", 0),
    wrapper(&["sudo"], "ughpCrtTUDR", "sie", 0),
    wrapper(&["doas"], "uC", "s", 0),
    wrapper(&["pkexec"], "", "", 0),
    wrapper(&["timeout"], "ks", "", 1),
    wrapper(&["chroot", "gosu", "su-exec", "setuidgid", "s6-setuidgid", "envuidgid", "envdir", "setlock"], "", "", 1),
    wrapper(&["chpst"], "uUbe/nlLmdopfcrt", "", 0),
    wrapper(&["softlimit", "s6-softlimit"], "acdflmoprst", "", 0),
    wrapper(&["taskset"], "", "", 1),
    wrapper(&["flock"], "wE", "c", 1),
    wrapper(&["lckdo"], "W", "", 1),
    wrapper(&["xargs"], "InPLdsaE", "", 0),
    wrapper(&["strace", "ltrace"], "eoapsuE", "", 0),
    wrapper(&["valgrind", "firejail", "eatmydata", "fakechroot", "pgrphack", "fghack", "zrun", "run-one"], "", "", 0),
    wrapper(&["unbuffer", "chronic", "ts", "ifne"], "", "", 0),
    wrapper(&["setpriv"], "", "", 0),
    wrapper(&["nsenter"], "tSG", "", 0),
    wrapper(&["unshare"], "SGRwl", "", 0),
    wrapper(&["proot"], "rbqwRSvik", "", 0),
    wrapper(&["fakeroot"], "lsib", "", 0),
    wrapper(&["faketime"], "", "", 1),
    wrapper(&["systemd-run"], "puEMHC", "S", 0),
    wrapper(&["systemd-inhibit"], "", "", 0),
    wrapper(&["systemd-cat"], "tp", "", 0),
    wrapper(&["dbus-run-session", "dbus-launch"], "", "", 0),
    wrapper(&["ssh-agent"], "aEtPO", "", 0),
    wrapper(&["xvfb-run"], "efnpsw", "", 0),
];
/// Wrappers that start a shell, which reads its input, where no program is named.
pub(super) const SHELL_BY_DEFAULT: &[&str] =
    &["chroot", "nsenter", "unshare", "fakeroot", "fakechroot", "proot", "pkexec", "linux32", "linux64", "firejail"];
/// Wrappers whose name is also an ordinary word: looked at only where a command stands.
pub(super) const WORDS_TOO: &[&str] = &["exec", "command", "time", "i386", "i686", "x86_64"];
/// Options of wrappers with an argument that is a word of its own.
pub(super) const WRAPPER_LONG: &[&str] = &[
    "--user",
    "--group",
    "--signal",
    "--kill-after",
    "--adjustment",
    "--unset",
    "--chdir",
    "--pgid",
    "--uid",
    "--gid",
    "--adjust",
    "--class",
    "--classdata",
    "--sched-runtime",
    "--sched-period",
    "--sched-deadline",
    "--target",
    "--setuid",
    "--setgid",
    "--reuid",
    "--regid",
    "--ruid",
    "--euid",
    "--rgid",
    "--egid",
    "--groups",
    "--inh-caps",
    "--ambient-caps",
    "--bounding-set",
    "--securebits",
    "--pdeathsig",
    "--property",
    "--unit",
    "--slice",
    "--setenv",
    "--description",
    "--working-directory",
    "--membind",
    "--cpunodebind",
    "--physcpubind",
    "--interleave",
    "--preferred",
    "--identifier",
    "--priority",
    "--what",
    "--who",
    "--why",
    "--mode",
    "--map-user",
    "--map-group",
    "--propagation",
];

/// Options of wrappers without an argument.
pub(super) const WRAPPER_FLAGS: &[&str] = &[
    "--cgroup",
    "--clear-groups",
    "--collect",
    "--ctty",
    "--fifo",
    "--follow-context",
    "--foreground",
    "--fork",
    "--idle",
    "--ignore-environment",
    "--init-groups",
    "--interactive",
    "--ipc",
    "--keep-groups",
    "--kill-child",
    "--map-auto",
    "--map-current-user",
    "--map-root-user",
    "--mount",
    "--mount-proc",
    "--net",
    "--no-fork",
    "--no-new-privs",
    "--no-run-if-empty",
    "--nonblock",
    "--non-interactive",
    "--null",
    "--open-tty",
    "--other",
    "--pipe",
    "--preserve-env",
    "--preserve-status",
    "--pty",
    "--quiet",
    "--reset-env",
    "--rr",
    "--scope",
    "--shared",
    "--time",
    "--uts",
    "--verbose",
    "--wait",
];

/// Programs that start others in a container or another machine; their options are too many to know, so the interpreter
/// is searched for.
pub(super) const REMOTE: &[&str] = &[
    "docker",
    "podman",
    "nerdctl",
    "crictl",
    "ctr",
    "kubectl",
    "oc",
    "ip",
    "lxc",
    "incus",
    "machinectl",
    "systemd-nspawn",
    "vagrant",
];
/// Programs of other tables that start others as somebody else or elsewhere, in another environment.
const AS_ANOTHER: &[&str] = &["ssh", "rsh", "pdsh", "su", "runuser", "sudo", "doas"];

/// Whether a variable that is set here is empty in what this program starts.
pub(super) fn changes_environment(program: &str) -> bool {
    let another_network_only = program == "ip";
    REMOTE.contains(&program) && !another_network_only || AS_ANOTHER.contains(&program)
}
