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

pub(super) const INTERPRETERS: &[Interpreter] = &[
    script(&["sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "rbash", "fish", "csh", "tcsh"], "c", "oO", ""),
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

pub(super) const WRAPPERS: &[Wrapper] = &[
    Wrapper { names: &["exec"], argument: "a", code: "", operands: 0 },
    Wrapper {
        names: &["command", "nohup", "setsid", "busybox", "toybox", "tini", "dumb-init", "catchsegv"],
        argument: "",
        code: "",
        operands: 0,
    },
    Wrapper { names: &["time"], argument: "fo", code: "", operands: 0 },
    Wrapper { names: &["env"], argument: "uC", code: "S", operands: 0 },
    Wrapper { names: &["nice"], argument: "n", code: "", operands: 0 },
    Wrapper { names: &["ionice"], argument: "cnpPu", code: "", operands: 0 },
    Wrapper { names: &["stdbuf"], argument: "ioe", code: "", operands: 0 },
    Wrapper { names: &["sudo"], argument: "ughpCrtTUDR", code: "sie", operands: 0 },
    Wrapper { names: &["doas"], argument: "uC", code: "s", operands: 0 },
    Wrapper { names: &["timeout"], argument: "ks", code: "", operands: 1 },
    Wrapper { names: &["chroot", "gosu", "su-exec", "setuidgid"], argument: "", code: "", operands: 1 },
    Wrapper { names: &["taskset"], argument: "", code: "", operands: 1 },
    Wrapper { names: &["flock"], argument: "wE", code: "c", operands: 1 },
    Wrapper { names: &["xargs"], argument: "InPLdsaE", code: "", operands: 0 },
    Wrapper { names: &["strace", "ltrace"], argument: "eoapsuE", code: "", operands: 0 },
    Wrapper { names: &["unbuffer", "chronic", "ts"], argument: "", code: "", operands: 0 },
];
/// Options of wrappers with an argument that is a word of its own.
pub(super) const WRAPPER_LONG: &[&str] =
    &["--user", "--group", "--signal", "--kill-after", "--adjustment", "--unset", "--chdir"];

/// Programs that start others somewhere else; their options are too many to know, so the interpreter is searched for.
pub(super) const REMOTE: &[&str] = &[
    "docker",
    "podman",
    "nerdctl",
    "crictl",
    "ctr",
    "kubectl",
    "oc",
    "nsenter",
    "unshare",
    "ip",
    "lxc",
    "incus",
    "machinectl",
    "systemd-run",
    "systemd-nspawn",
    "vagrant",
    "setpriv",
    "runcon",
    "numactl",
    "start-stop-daemon",
];
