//! Values reach a program byte for byte and never run, in real bash and real dash.

#![allow(clippy::unwrap_used)]

mod binding_support;

use binding_support::{Rng, adversarial, compile, payloads, run};

/// A context: shell text in which `V` is the value, and what one NUL-terminated field of its output has to be.
type Context = (&'static str, fn(&str) -> String);

const V: &str = "${{ params.v }}";

const COMMON: &[Context] = &[
    ("printf '%s\\0' V", |v| v.into()),
    ("printf '%s\\0' \"V\"", |v| v.into()),
    ("printf '%s\\0' \"a V b\"", |v| format!("a {v} b")),
    ("printf '%s\\0' 'V'", |v| v.into()),
    ("printf '%s\\0' 'a V b'", |v| format!("a {v} b")),
    ("printf '%s\\0' pre'in V'V\"V\"post", |v| format!("prein {v}{v}{v}post")),
    ("printf '%s\\0' --opt=V", |v| format!("--opt={v}")),
    ("printf '%s\\0' ~V", |v| format!("~{v}")),
    ("printf '%s\\0' \"\\\\V\"", |v| format!("\\{v}")),
    ("x=V; printf '%s\\0' \"$x\"", |v| v.into()),
    ("x=\"<V>\"; printf '%s\\0' \"$x\"", |v| format!("<{v}>")),
    ("x=$(printf '%s.' V); printf '%s\\0' \"$x\"", |v| format!("{v}.")),
    ("printf '%s\\0' \"$(printf '%s.' \"V\")\"", |v| format!("{v}.")),
    ("printf '%s\\0' \"$(printf '%s' \"$(printf '%s.' 'V')\")\"", |v| format!("{v}.")),
    ("printf '%s\\0' \"$(case x in x) printf '%s.' V;; esac)\"", |v| format!("{v}.")),
    ("printf '%s\\0' \"$(cat <<EOF\nV.\nEOF\n)\"", |v| format!("{v}.")),
    ("cat <<EOF\n<V>\n'V' \"V\"\nEOF\nprintf '\\0'", |v| format!("<{v}>\n'{v}' \"{v}\"\n")),
    ("{ cat; printf '\\0'; } <<-EOF\n\tV\n\tEOF", |v| format!("{v}\n")),
    ("for x in V two; do printf '%s\\0' \"$x\"; break; done", |v| v.into()),
    ("case V in V) printf 'y\\0';; *) printf 'n\\0';; esac", |_| "y".into()),
    ("case x in (V|x) printf 'y\\0';; esac", |_| "y".into()),
    ("if [ V = \"V\" ]; then printf 'y\\0'; fi", |_| "y".into()),
    ("set -- V b; printf '%s\\0' \"$1\"", |v| v.into()),
    ("f() { printf '%s\\0' \"$1\"; }; f V", |v| v.into()),
    ("export X=V; printf '%s\\0' \"$X\"", |v| v.into()),
    ("A=V sh ./environment.sh", |v| v.into()),
    ("env A=V sh ./environment.sh", |v| v.into()),
    ("sh ./argument.sh V", |v| v.into()),
    ("printf '%s' V | cat; printf '\\0'", |v| v.into()),
    ("# V `V` $(V) '\nprintf 'c\\0'", |_| "c".into()),
    ("( while :; do { printf '%s\\0' V; break; }; done )", |v| v.into()),
    ("printf '%s\\0' $$V >/dev/null; printf '%s\\0' \"$?V\"", |v| format!("0{v}")),
];

const BASH_ONLY: &[Context] = &[
    ("IFS= read -rd '' x <<<V || :; printf '%s\\0' \"$x\"", |v| format!("{v}\n")),
    ("a=(V x); printf '%s\\0' \"${a[0]}\"", |v| v.into()),
    ("a=(); a+=(\"V\"); a[1]=V; printf '%s\\0' \"${a[1]}\"", |v| v.into()),
    ("[[ V == V ]] && printf 'y\\0'", |_| "y".into()),
    ("[[ -n x && x != \"zz\"V ]] && printf 'y\\0'", |_| "y".into()),
    ("cat <(printf '%s' V); printf '\\0'", |v| v.into()),
    ("readonly R=V; printf '%s\\0' \"$R\"", |v| v.into()),
    ("printf '%s\\0' {V,x} >/dev/null; printf '%s\\0' \"${x:-}V\"", |v| format!("{v}\n{v}")),
    ("command printf '%s\\0' V", |v| v.into()),
    ("function g { local l; l=V; printf '%s\\0' \"$l\"; }; g", |v| v.into()),
];

/// Each shell sees 3,040 strings in every context.
fn every_context_is_exact(shell: &str, contexts: &[Context], seed: u64) {
    let source: String = contexts.iter().map(|(text, _)| format!("{}\n", text.replace('V', V))).collect();
    let script = compile(&source, &[]).unwrap();
    let threads = 4;
    let strings_each = 760;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let script = &script;
            scope.spawn(move || {
                let folder = tempfile::tempdir().unwrap();
                std::fs::write(folder.path().join("argument.sh"), "printf '%s\\0' \"$1\"").unwrap();
                std::fs::write(folder.path().join("environment.sh"), "printf '%s\\0' \"$A\"").unwrap();
                let mut rng = Rng(seed + thread);
                for case in 0..strings_each {
                    let value = adversarial(&mut rng);
                    let output = run(shell, folder.path(), script, |_| value.clone());
                    let why = format!("{shell}, seed {seed:#x}+{thread}, case {case}, value {value:?}");
                    assert!(output.status.success(), "{why}: {}", String::from_utf8_lossy(&output.stderr));
                    let mut fields: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
                    assert_eq!(fields.pop(), Some(&b""[..]), "{why}");
                    assert_eq!(fields.len(), contexts.len(), "{why}");
                    for (field, (text, expected)) in fields.iter().zip(contexts) {
                        assert_eq!(*field, expected(&value).as_bytes(), "{why}, in {text}");
                    }
                }
                assert!(!folder.path().join("CANARY").exists(), "{shell}, seed {seed:#x}+{thread}: a value ran");
            });
        }
    });
}

#[test]
fn values_reach_programs_byte_for_byte_in_bash() {
    let contexts: Vec<Context> = COMMON.iter().chain(BASH_ONLY).copied().collect();
    every_context_is_exact("bash", &contexts, 0x5EED_BA54);
}

#[test]
fn values_reach_programs_byte_for_byte_in_dash() {
    every_context_is_exact("dash", COMMON, 0x5EED_DA54);
}

/// Each of these tries to get a value evaluated. Whatever is accepted is run with payloads and must leave no canary.
#[test]
fn no_trick_gets_a_value_evaluated() {
    let tricks = include_str!("binding_support/tricks.txt").trim_end_matches('\n');
    let (mut accepted, mut count) = (Vec::new(), 0);
    for trick in tricks.split("\n====\n") {
        count += 1;
        let Ok(script) = compile(&trick.replace("<V>", V), &[]) else { continue };
        accepted.push((trick, script));
    }
    assert!(count >= 100, "{count}");
    std::thread::scope(|scope| {
        for part in accepted.chunks(accepted.len().div_ceil(4)) {
            scope.spawn(move || {
                for (trick, script) in part {
                    // bash evaluates in more places than dash, so it gets every payload and dash the general ones.
                    let bash = payloads().map(|payload| ("bash", payload));
                    for (shell, payload) in bash.chain(payloads().take(5).map(|payload| ("dash", payload))) {
                        let folder = tempfile::tempdir().unwrap();
                        run(shell, folder.path(), script, |_| payload.to_owned());
                        assert!(!folder.path().join("CANARY").exists(), "{shell} ran {payload:?} in:\n{trick}");
                    }
                }
            });
        }
    });
    // The rest is refused; whoever changes this list looks at every line of the difference.
    let accepted: Vec<&str> = accepted.iter().map(|(trick, _)| *trick).collect();
    insta::assert_snapshot!("accepted_tricks", accepted.join("\n====\n"));
}

/// For ints and enums the places that are refused otherwise give what the author expects.
#[test]
fn harmless_values_mean_what_they_say_in_every_place_that_has_a_form() {
    for (source, wanted) in [
        ("echo $((V + 1))", "-2"),
        ("echo $((1 - V)) $((1-V))", "4 4"),
        ("((x = V)); echo $x", "-3"),
        ("let x=V; echo $x", "-3"),
        ("for ((i=V; i<0; i++)); do echo $i; done", "-3\n-2\n-1"),
        ("a=(1 2 3); a[V]=9; echo ${a[*]}", "9 2 3"),
        ("x=0123456789; echo ${x: V}", "789"),
        ("echo \"${x:-V}\" ${x:-V}", "-3 -3"),
        ("echo `echo V`", "-3"),
        ("echo $'a\\tV'", "a\t-3"),
        ("echo $\"a V\"", "a -3"),
        ("eval echo V", "-3"),
        ("trap 'echo V' EXIT", "-3"),
        ("declare x=V; echo $x", "-3"),
        ("f() { local x=V; echo $x; }; f", "-3"),
        ("printf -v x %d V; echo $x", "-3"),
        ("[[ -3 -eq V ]] && [[ V -lt 0 ]] && echo y", "y"),
        ("declare -i a; a=V; echo $a", "-3"),
        ("sh -c 'echo V'; sh -c \"echo V\"", "-3\n-3"),
        ("bash <<E\necho V\nE", "-3"),
        ("echo \"echo V\" | sh", "-3"),
        ("awk 'BEGIN{print V}'; awk -v x=V 'BEGIN{print x}'", "-3\n-3"),
        ("find . -maxdepth 0 -exec sh -c 'echo V' \\;", "-3"),
        ("e=echo; $e V", "-3"),
        ("T hi", "hi"),
        ("x=1 T V", "-3"),
        ("command T V | xargs -n1 T", "-3"),
    ] {
        let source = source.replace('V', "${{ params.n }}").replace('T', "${{ params.tool }}");
        let source = source.replace("EXI${{ params.tool }}", "EXIT");
        assert!(compile(&source, &[]).is_err(), "{source}");
        let script = compile(&source, &["n", "tool"]).unwrap_or_else(|errors| panic!("{source}: {errors:?}"));
        let folder = tempfile::tempdir().unwrap();
        let output =
            run(
                "bash",
                folder.path(),
                &script,
                |one| if one.source == "params.n" { "-3".into() } else { "echo".into() },
            );
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), wanted, "{source}\n{}", script.text);
    }
}
